//! One name for the exact contents of a policy.

use std::collections::BTreeMap;

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
    fn the_digest_is_the_one_the_standard_defines() {
        // SHA-256 of nothing (FIPS 180-4 example values).
        assert!(digest(&[]).starts_with("e3b0c44298fc1c149afbf4c8996fb924"));
    }
}
