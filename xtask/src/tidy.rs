//! What a reviewer should not have to look for: formatting, lints, and the rules of the house.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::tools;

/// Longest source file: one that grows beyond should have been split before.
const FILE_LINES_MAX: usize = 500;

/// Which of our packages each may depend on; ARCHITECTURE.md says why.
const MAY_DEPEND_ON: [(&str, &[&str]); 13] = [
    ("types", &[]),
    ("source", &[]),
    ("proto", &[]),
    ("expr", &["types"]),
    ("features", &["types", "expr"]),
    ("rules", &["types", "source", "expr"]),
    ("models", &["types", "source"]),
    (
        "scorer",
        &[
            "types", "source", "expr", "features", "rules", "models", "proto",
        ],
    ),
    ("report", &[]),
    ("loadtest", &["types", "proto", "report"]),
    (
        "benches",
        &[
            "types", "source", "expr", "features", "rules", "models", "proto", "scorer", "report",
        ],
    ),
    ("xtask", &[]),
    ("fuzz", &["types", "expr", "features", "rules"]),
];

/// Libraries that only the named packages may use.
const ONLY_IN: [(&str, &[&str]); 8] = [
    ("rdkafka", &["scorer", "loadtest"]),
    ("tonic", &["scorer", "proto", "loadtest"]),
    ("ort", &["models"]),
    ("parquet", &["scorer"]),
    ("notify", &["scorer"]),
    ("notify-debouncer-full", &["scorer"]),
    ("zen-expression", &["benches"]),
    ("tokio", &["scorer", "models", "loadtest"]),
];

pub(crate) fn check() -> anyhow::Result<()> {
    let cargo = |arguments: &[&str]| tools::run(Command::new(env!("CARGO")).args(arguments));
    cargo(&["fmt", "--all", "--check"]).context("run `cargo fmt --all`")?;
    let fuzz = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
    cargo(&fuzz).context("run `cargo fmt --manifest-path fuzz/Cargo.toml`")?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ])?;
    let mut wrong = Vec::new();
    check_sources(&mut wrong)?;
    check_dependencies(&mut wrong)?;
    check_invariants(&mut wrong)?;
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"))
}

/// Every source file begins by saying what it is, and is short enough to be read.
fn check_sources(wrong: &mut Vec<String>) -> anyhow::Result<()> {
    for path in sources()? {
        let text = std::fs::read_to_string(&path)?;
        if !text.starts_with("//!") {
            wrong.push(format!(
                "{}: begin with a line `//!` that says what it is",
                path.display()
            ));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines; split it", path.display()));
        }
    }
    Ok(())
}

/// The dependencies between our packages, and of them on the libraries that must stay at the edge.
fn check_dependencies(wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let allowed: BTreeMap<_, _> = MAY_DEPEND_ON.into();
    for folder in members()? {
        let Some(allowed) = allowed.get(folder.as_str()) else {
            wrong.push(format!(
                "{folder}: not in the table of dependencies in xtask/src/tidy.rs"
            ));
            continue;
        };
        for dependency in dependencies(&folder)? {
            if let Some(ours) = dependency.strip_prefix("tollgate-")
                && !allowed.contains(&ours)
            {
                wrong.push(format!("{folder}: may not depend on {ours}"));
            }
            let edge = ONLY_IN.iter().find(|(library, _)| *library == dependency);
            if edge.is_some_and(|(_, only_in)| !only_in.contains(&folder.as_str())) {
                wrong.push(format!("{folder}: may not use {dependency}"));
            }
        }
    }
    Ok(())
}

/// Every invariant that ARCHITECTURE.md lists as held is cited by a source file.
fn check_invariants(wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let architecture = std::fs::read_to_string("ARCHITECTURE.md").context("ARCHITECTURE.md")?;
    let listed: BTreeSet<&str> = architecture
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|row| row.split_whitespace().next())
        .filter(|word| is_invariant(word))
        .collect();
    if listed.is_empty() {
        wrong.push("ARCHITECTURE.md: no table of invariants".to_owned());
    }
    // This file names some, which is no citation.
    let citing = sources()?
        .into_iter()
        .filter(|path| !path.starts_with("./xtask") && !path.starts_with("xtask"));
    let texts: Vec<String> = citing
        .map(std::fs::read_to_string)
        .collect::<Result<_, _>>()?;
    for invariant in listed {
        if !texts.iter().any(|text| text.contains(invariant)) {
            wrong.push(format!(
                "{invariant}: listed in ARCHITECTURE.md, cited nowhere in the code"
            ));
        }
    }
    Ok(())
}

/// `FS-1`, `DE-4`, …
fn is_invariant(word: &str) -> bool {
    word.split_once('-').is_some_and(|(area, number)| {
        ["FS", "EX", "MO", "DE"].contains(&area) && number.parse::<u8>().is_ok()
    })
}

fn members() -> anyhow::Result<Vec<String>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(".")? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").exists() {
            folders.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    folders.sort();
    Ok(folders)
}

/// Names under `[dependencies]` of a member; what only tests use may be anything.
fn dependencies(folder: &str) -> anyhow::Result<Vec<String>> {
    let manifest = std::fs::read_to_string(Path::new(folder).join("Cargo.toml"))?;
    let section = manifest
        .split("[dependencies]\n")
        .nth(1)
        .unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next());
    Ok(names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Every Rust source of the members.
fn sources() -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = members()?.into_iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invariants_are_told_from_other_words() {
        assert!(is_invariant("FS-1") && is_invariant("DE-4"));
        assert!(!is_invariant("ISO-4217") && !is_invariant("FS-x") && !is_invariant("id"));
    }
}
