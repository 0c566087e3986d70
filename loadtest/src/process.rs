//! What the system says of the service's process.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Threads that run models, or watch them, begin with this.
const MODEL_THREADS: &str = "model-";

pub(crate) struct Process {
    pub(crate) resident_bytes: u64,
    pub(crate) model_threads: u64,
    /// Sockets and pipes included.
    pub(crate) open_files: u64,
}

impl Process {
    pub(crate) fn look(pid: u32) -> Result<Self> {
        let folder = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(folder.join("status"))
            .with_context(|| format!("cannot look at process {pid}"))?;
        let mut model_threads = 0;
        for task in fs::read_dir(folder.join("task"))? {
            // A thread may end between the two.
            let name = fs::read_to_string(task?.path().join("comm")).unwrap_or_default();
            model_threads += u64::from(name.starts_with(MODEL_THREADS));
        }
        Ok(Self {
            resident_bytes: resident_bytes(&status).context("the system says nothing of memory")?,
            model_threads,
            open_files: u64::try_from(fs::read_dir(folder.join("fd"))?.count())?,
        })
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_of_what_the_system_says() {
        let status = "Name:\ttollgate\nVmHWM:\t  900 kB\nVmRSS:\t  123456 kB\nThreads:\t12\n";
        assert_eq!(resident_bytes(status), Some(123_456 * 1_024));
        assert_eq!(resident_bytes("Name:\ttollgate\n"), None);
    }
}
