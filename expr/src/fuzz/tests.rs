//! What fuzzing found worth keeping, replayed, and a short run of random changes to it.

use std::fs;
use std::path::Path;

use super::*;

/// As many as take some seconds; `cargo xtask fuzz` runs for longer, and knows what it has reached.
const CHANGED: usize = 3_000;

/// Longer conditions are refused before they are read.
const BYTES_MAX: usize = 4_500;

fn fuzz_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn corpus() -> Vec<String> {
    let folder = fuzz_folder().join("corpus/expression");
    let files = fs::read_dir(folder).unwrap();
    let mut texts: Vec<String> = files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    texts.sort_unstable();
    texts
}

#[test]
fn the_corpus_of_expressions_is_refused_with_a_reason_or_compiles() {
    let corpus = corpus();
    let schema = schema();
    let compiles = |source: &&String| compiler(&schema).condition(source).is_ok();
    let compiled = corpus.iter().filter(compiles).count();
    // A corpus of nothing but refusals would leave the interpreter out.
    assert!(
        compiled >= 20 && corpus.len() - compiled >= 20,
        "{compiled}"
    );
    corpus.iter().for_each(|source| check_condition(source));
}

#[test]
fn changed_expressions_are_refused_with_a_reason_or_compile() {
    let corpus = corpus();
    let words = words(&fs::read_to_string(fuzz_folder().join("words.dict")).unwrap());
    assert!(words.len() > 50, "{}", words.len());
    let mut mutator = Mutator::new(1, &corpus, &words, BYTES_MAX);
    for _ in 0..CHANGED {
        check_condition(&mutator.text());
    }
}

#[test]
fn the_same_seed_makes_the_same_texts() {
    let corpus = ["transaction.amount > 5".to_owned(), "é == 1".to_owned()];
    let words = words("# remark\n\"card\"\n\"\\\"7d\\\"\"\n\"\\x0A\"\n");
    assert_eq!(words, ["card", "\"7d\"", "\n"]);
    let texts = |seed| {
        let mut mutator = Mutator::new(seed, &corpus, &words, 100);
        (0..200).map(|_| mutator.text()).collect::<Vec<_>>()
    };
    assert_eq!(texts(7), texts(7));
    assert_ne!(texts(7), texts(8));
    assert!(texts(7).iter().all(|text| text.len() <= 100));
}
