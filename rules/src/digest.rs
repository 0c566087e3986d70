//! One name for the exact contents of a policy.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

/// Collects the files of a policy, in any order; equal files under equal names give an equal digest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    files: BTreeMap<String, [u8; 32]>,
}

/// Hex digits of a digest that are shown as the policy's version: 64 bits, more than any number of policies.
const VERSION_DIGITS: usize = 16;

impl Digest {
    /// Adds a file by its path relative to the policy folder, with `/` between its parts.
    pub fn add(&mut self, path: &str, content: &[u8]) {
        self.files
            .insert(path.to_owned(), Sha256::digest(content).into());
    }

    /// Some of its files, by their paths.
    #[must_use]
    pub fn of_those(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let those = self.files.iter().filter(|(path, _)| wanted(path));
        Self {
            files: those
                .map(|(path, content)| (path.clone(), *content))
                .collect(),
        }
    }

    /// The files that are in one of the two only or differ between them, by name.
    pub fn changed_since(&self, before: &Self) -> Vec<FileChange> {
        let mut changes: Vec<FileChange> = Vec::new();
        for (path, content) in &self.files {
            let change = match before.files.get(path) {
                None => Change::Added,
                Some(earlier) if earlier != content => Change::Changed,
                Some(_) => continue,
            };
            changes.push(FileChange::new(path, change));
        }
        let gone = before
            .files
            .keys()
            .filter(|path| !self.files.contains_key(*path));
        changes.extend(gone.map(|path| FileChange::new(path, Change::Removed)));
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        changes
    }

    /// SHA-256 over the paths in order and the SHA-256 of each content, as 64 hex digits.
    pub fn hex(&self) -> String {
        let mut hasher = Sha256::new();
        for (path, content) in &self.files {
            // No path has a zero byte, so no two lists of files give the same bytes.
            hasher.update(path.as_bytes());
            hasher.update([0]);
            hasher.update(content);
        }
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Added,
    Changed,
    Removed,
}

/// A file that differs between two versions of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileChange {
    /// Relative to the policy folder.
    pub path: String,
    pub change: Change,
}

impl FileChange {
    fn new(path: &str, change: Change) -> Self {
        Self {
            path: path.to_owned(),
            change,
        }
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.change {
            Change::Added => write!(f, "{} (new)", self.path),
            Change::Changed => write!(f, "{}", self.path),
            Change::Removed => write!(f, "{} (removed)", self.path),
        }
    }
}

/// The part of a digest that is shown as the policy's version.
pub fn version_of(digest: &str) -> &str {
    digest.get(..VERSION_DIGITS).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(files: &[(&str, &str)]) -> String {
        let mut digest = Digest::default();
        for (path, content) in files {
            digest.add(path, content.as_bytes());
        }
        digest.hex()
    }

    #[test]
    fn order_does_not_matter_and_every_name_and_byte_does() {
        let both = digest(&[("a", "1"), ("b", "2")]);
        assert_eq!(both, digest(&[("b", "2"), ("a", "1")]));
        let others = [
            [("a", "1"), ("b", "3")],
            [("a", "2"), ("b", "1")],
            [("a", "1"), ("c", "2")],
        ];
        for other in others {
            assert_ne!(both, digest(&other), "{other:?}");
        }
        assert_ne!(both, digest(&[("a", "1")]));
        assert_eq!(both.len(), 64);
        assert_eq!(version_of(&both), &both[..16]);
    }

    #[test]
    fn what_changed_is_told_by_file() {
        let digest = |files: &[(&str, &str)]| {
            let mut digest = Digest::default();
            for (path, content) in files {
                digest.add(path, content.as_bytes());
            }
            digest
        };
        let before = digest(&[("a", "1"), ("b", "2"), ("d", "4")]);
        let now = digest(&[("a", "1"), ("b", "3"), ("c", "2")]);
        let told: Vec<String> = now
            .changed_since(&before)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(told, ["b", "c (new)", "d (removed)"]);
        assert_eq!(now.changed_since(&now), []);
    }

    #[test]
    fn a_part_has_the_digest_of_its_files_alone() {
        let mut whole = Digest::default();
        for (path, content) in [("a", "1"), ("b", "2")] {
            whole.add(path, content.as_bytes());
        }
        let part = whole.of_those(|path| path == "b");
        assert_eq!(part.hex(), digest(&[("b", "2")]));
        assert_ne!(part.hex(), whole.hex());
    }

    #[test]
    fn the_digest_is_the_one_the_standard_defines() {
        // SHA-256 of nothing (FIPS 180-4 example values).
        assert!(digest(&[]).starts_with("e3b0c44298fc1c149afbf4c8996fb924"));
    }
}
