//! The folder of snapshots: numbered files, the newest with the greatest number, whatever a clock says.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk;

const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".tollgate";
const UNFINISHED: &str = ".unfinished";

/// A folder that holds the snapshots of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Unlocked by the system when the last copy is gone.
    _lock: Arc<File>,
}

impl Folder {
    /// Makes the folder if it is not there, takes it for this instance alone, and removes what a killed process left unfinished in it.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let lock = disk::take(path)?;
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PREFIX) && name.ends_with(UNFINISHED) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: Arc::new(lock),
        })
    }

    /// The finished snapshots, newest first.
    pub(super) fn snapshots(&self) -> std::io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy());
            let number = name.as_deref().and_then(number);
            found.extend(number.map(|number| (number, path)));
        }
        found.sort_unstable_by(|one, other| other.cmp(one));
        Ok(found)
    }

    /// Has a file written under a name that nobody reads, then gives it its own and removes all but the newest `keep`.
    /// A failure leaves the folder as it was.
    pub(super) fn write<T>(
        &self,
        keep: usize,
        write: impl FnOnce(&Path) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let newest = self.snapshots()?.first().map_or(0, |(number, _)| *number);
        let name = format!("{PREFIX}{:012}", newest + 1);
        let unfinished = self.path.join(format!("{name}{UNFINISHED}"));
        let written = write(&unfinished).and_then(|written| {
            std::fs::rename(&unfinished, self.path.join(format!("{name}{SUFFIX}")))?;
            disk::sync_names(&self.path)?;
            Ok(written)
        });
        if written.is_err() {
            // It may not even be there.
            let _ = std::fs::remove_file(&unfinished);
            return written;
        }
        for (_, old) in self.snapshots()?.into_iter().skip(keep) {
            if let Err(error) = std::fs::remove_file(&old) {
                tracing::warn!(%error, path = %old.display(), "an old snapshot was not removed");
            }
        }
        written
    }
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_what_was_left_unfinished_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below");
        let open = || Folder::open(&path).unwrap();
        let put = |content: &'static str| {
            move |at: &Path| {
                std::fs::write(at, content)?;
                Ok(content.len())
            }
        };
        for content in ["a", "bb", "ccc", "dddd"] {
            assert_eq!(open().write(2, put(content)).unwrap(), content.len());
        }
        let failed = open().write(2, |at| {
            std::fs::write(at, "half")?;
            Err::<(), _>(std::io::Error::other("no space left"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no space left");
        std::fs::write(path.join("snapshot-000000000009.unfinished"), "torn").unwrap();
        std::fs::write(path.join("notes.txt"), "mine").unwrap();
        let snapshots = open().snapshots().unwrap();
        let contents: Vec<(u64, String)> = snapshots
            .into_iter()
            .map(|(number, path)| (number, std::fs::read_to_string(path).unwrap()))
            .collect();
        assert_eq!(contents, [(4, "dddd".to_owned()), (3, "ccc".to_owned())]);
        let names = std::fs::read_dir(&path).unwrap();
        assert_eq!(
            names.count(),
            4,
            "the lock, and notes.txt, which is not ours to remove"
        );
    }
}
