//! Folders that one process has to itself, and what it takes for a name in them to outlast a power failure.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::clock;

/// The file that is locked while an instance uses the folder. It stays, empty.
const LOCK: &str = "lock";

/// How long to wait for an instance that is ending, and between two looks.
const LOCK_MAX: Duration = Duration::from_secs(10);
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// Makes the folder if it is not there and takes it for this instance alone, until the file that is returned is closed. Waits,
/// bounded, until nobody else has it. Blocks.
pub(crate) fn take(folder: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(LOCK);
    let file = File::create(&path)?;
    let began = clock::instant();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                // Not every file system has locks; without one there is no telling.
                tracing::warn!(%error, path = %path.display(), "the folder cannot be locked");
                return Ok(file);
            }
        }
        if clock::instant().saturating_duration_since(began) > LOCK_MAX {
            return Err(std::io::Error::other(
                "another instance uses it; give each its own",
            ));
        }
        std::thread::sleep(LOCK_LOOK);
    }
}

/// Has the disk keep the names in a folder as they are now: without, a file may be gone after a power failure though its content
/// is not.
pub(crate) fn sync_names(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}
