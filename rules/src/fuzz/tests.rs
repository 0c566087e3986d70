//! What fuzzing found worth keeping, replayed, and a short run of random changes to it.

use std::path::PathBuf;

use tollgate_expr::fuzz::{Mutator, words};

use super::*;
use crate::Scene;

/// As many as take some seconds; `cargo xtask fuzz` runs for longer, and knows what it has reached.
const CHANGED: usize = 500;

/// Most bytes of a file that is made up here: far below the limit, so that many are made.
const BYTES_MAX: usize = 16_000;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn corpus(target: &str) -> Vec<String> {
    let files = fs::read_dir(fuzz_folder().join("corpus").join(target)).unwrap();
    let mut texts: Vec<String> = files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert!(texts.len() >= 20, "{target}: {}", texts.len());
    texts.sort_unstable();
    texts
}

/// The store is not at hand here, so every aggregate is how much happened before.
fn fill(scene: &Scene<'_>, frame: &mut Frame<'_>) {
    let before = u16::try_from(scene.history.len()).unwrap();
    for (_, slot) in &scene.layout.aggregates {
        frame.set(*slot, Cell::number(f64::from(before)));
    }
}

fn replay_and_change(target: &str, check: impl Fn(&str)) {
    let corpus = corpus(target);
    corpus.iter().for_each(|text| check(text));
    let words = words(&fs::read_to_string(fuzz_folder().join("words.dict")).unwrap());
    let mut mutator = Mutator::new(1, &corpus, &words, BYTES_MAX);
    for _ in 0..CHANGED {
        check(&mutator.text());
    }
}

#[test]
fn the_corpus_of_lists_and_changes_to_it_are_read_or_refused() {
    replay_and_change("list_file", check_list);
}

#[test]
fn the_corpus_of_rule_files_and_changes_to_it_are_loaded_or_refused() {
    replay_and_change("rule_file", |text| check_rules(text, &mut fill));
}

#[test]
fn the_corpus_of_policy_folders_and_changes_to_it_are_loaded_or_refused() {
    replay_and_change("policy_folder", |text| check_folder(text, &mut fill));
}

#[test]
fn the_policy_that_rules_are_put_into_has_no_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in SAMPLE {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let (logic, _) = load(folder.path()).unwrap();
    assert_eq!(logic.layout.features.len(), 4);
}

#[test]
fn made_up_paths_stay_inside_of_the_folder() {
    for path in ["schema.yaml", "rules/a.yaml", "rules/.hidden"] {
        assert!(is_inside(path), "{path}");
    }
    for path in [
        "",
        "/etc/x",
        "../x",
        "rules/../x",
        "a/b/c",
        "rules/",
        "a\u{0}b",
        "./x",
        "a//b",
    ] {
        assert!(!is_inside(path), "{path}");
    }
}
