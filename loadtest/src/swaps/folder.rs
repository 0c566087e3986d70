//! The policy folder of a running service, changed as people, tools and accidents change it.
//!
//! Each good change is two rule files that carry its number, so that a decision shows which change it was made by, from
//! either file. `rules` is a link through `..data`, as Kubernetes mounts a ConfigMap.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

/// What the ids of the rules begin with; behind it is the number of the change.
pub(crate) const DECIDING: &str = "swap-deciding-";
pub(crate) const REPORTED: &str = "swap-reported-";

/// How long half of a file lies there before the rest comes.
const PAUSE: Duration = Duration::from_millis(120);

/// Ways to change a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Both files written beside and renamed over, as editors do it.
    Good,
    /// A mistake in one file.
    Bad,
    /// A file that is truncated, half written, and finished a while later.
    HalfWritten,
    /// Another folder behind the link.
    ConfigMap,
}

impl Change {
    /// The kinds in turn.
    pub(crate) const fn of(number: usize) -> Self {
        match number % 4 {
            0 => Self::Good,
            1 => Self::Bad,
            2 => Self::HalfWritten,
            _ => Self::ConfigMap,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Takes over a policy folder whose `rules` is a plain folder and makes that a link, before it is served.
    pub(crate) fn prepare(root: &Path) -> Result<Self> {
        let folder = Self {
            root: root.to_owned(),
        };
        let first = root.join("..v0");
        let rename = || {
            fs::create_dir(&first)?;
            fs::rename(root.join("rules"), first.join("rules"))?;
            symlink("..v0", root.join("..data"))?;
            symlink("..data/rules", root.join("rules"))
        };
        rename().with_context(|| format!("cannot prepare {}", root.display()))?;
        Ok(folder)
    }

    /// A folder that was prepared.
    pub(crate) fn open(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Makes a change. When this returns, its last file has been saved.
    pub(crate) fn change(&self, change: Change, number: usize) -> Result<()> {
        let rules = self.root.join("rules");
        let made = match change {
            Change::Good => save(&rules, number),
            Change::Bad => replace(&rules, "swap-deciding.yaml", &bad(number)),
            Change::HalfWritten => half_written(&rules, number),
            Change::ConfigMap => self.config_map(number),
        };
        made.with_context(|| format!("cannot change {}", self.root.display()))
    }

    fn config_map(&self, number: usize) -> std::io::Result<()> {
        let link = self.root.join("..data");
        let before = self.root.join(fs::read_link(&link)?);
        let name = format!("..v{number}");
        let after = self.root.join(&name).join("rules");
        fs::create_dir_all(&after)?;
        for file in fs::read_dir(before.join("rules"))? {
            let file = file?;
            fs::copy(file.path(), after.join(file.file_name()))?;
        }
        save(&after, number)?;
        let beside = self.root.join("..data_tmp");
        symlink(name, &beside)?;
        fs::rename(beside, link)?;
        fs::remove_dir_all(before)
    }
}

fn save(rules: &Path, number: usize) -> std::io::Result<()> {
    replace(rules, "swap-deciding.yaml", &deciding(number))?;
    replace(rules, "swap-reported.yaml", &reported(number))
}

fn replace(rules: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let beside = rules.join(format!(".{name}.new"));
    fs::write(&beside, text)?;
    fs::rename(beside, rules.join(name))
}

fn half_written(rules: &Path, number: usize) -> std::io::Result<()> {
    replace(rules, "swap-reported.yaml", &reported(number))?;
    let text = deciding(number);
    let (first, rest) = text.as_bytes().split_at(text.len() / 2);
    let mut file = fs::File::create(rules.join("swap-deciding.yaml"))?;
    file.write_all(first)?;
    std::thread::sleep(PAUSE);
    file.write_all(rest)
}

/// A rule that flags everything.
fn deciding(number: usize) -> String {
    format!(
        "rules:\n  - id: {DECIDING}{number}\n    description: Carries the number of a change.\n    \
         when: transaction.amount > 0\n    then: flag\n    reason: SWAP\n"
    )
}

/// A shadow rule that matches everything.
fn reported(number: usize) -> String {
    deciding(number).replace(DECIDING, REPORTED) + "    mode: shadow\n"
}

fn bad(number: usize) -> String {
    deciding(number).replace("amount", "amuont")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_change_leaves_the_files_of_its_number() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("rules")).unwrap();
        fs::write(root.path().join("rules/own.yaml"), "rules: []\n").unwrap();
        let folder = Folder::prepare(root.path()).unwrap();
        let read = |name: &str| fs::read_to_string(root.path().join("rules").join(name)).unwrap();
        for number in 0..8 {
            let change = Change::of(number);
            folder.change(change, number).unwrap();
            let deciding = read("swap-deciding.yaml");
            assert!(deciding.contains(&format!("{DECIDING}{number}\n")));
            assert_eq!(deciding.contains("amuont"), change == Change::Bad);
            if change != Change::Bad {
                assert!(read("swap-reported.yaml").contains(&format!("{REPORTED}{number}\n")));
            }
            assert_eq!(read("own.yaml"), "rules: []\n");
        }
        let folders = fs::read_dir(root.path()).unwrap().count();
        assert_eq!(folders, 3, "the folder behind the link, the two links");
    }
}
