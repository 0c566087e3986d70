//! What the system says of the service's process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Threads that run models, or watch them, begin with this.
const MODEL_THREADS: &str = "model-";

/// The system counts CPU time in hundredths of a second, whatever the machine.
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Process {
    pub(crate) resident_bytes: u64,
    pub(crate) model_threads: u64,
    /// Sockets and pipes included.
    pub(crate) open_files: u64,
    /// CPU time that all its threads have used.
    pub(crate) cpu: Duration,
}

/// CPU time that everything on the machine has used since it was started.
pub(crate) fn machine_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("cannot look at the machine")?;
    busy(&stat).context("the system says nothing of the time of its cores")
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
            cpu: cpu(&fs::read_to_string(folder.join("stat"))?)
                .context("the system says nothing of CPU time")?,
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

/// Time in user and in kernel mode: the 14th and 15th words, of which the second, the name in brackets, may have blanks.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut words = behind_name.split_whitespace().skip(11);
    Some(ticks(words.next()?)? + ticks(words.next()?)?)
}

/// All of the first line but what was spent waiting, the fourth and fifth figure, and what guests used, which is in the first two.
fn busy(stat: &str) -> Option<Duration> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Vec<Duration> = line.split_whitespace().map(ticks).collect::<Option<_>>()?;
    let working = [0, 1, 2, 5, 6];
    working.iter().map(|at| times.get(*at)).sum()
}

fn ticks(word: &str) -> Option<Duration> {
    Some(TICK * word.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_of_what_the_system_says() {
        let stat = "77 (toll gate) S 1 77 77 0 -1 4194560 9 0 0 0 250 50 7 7 20 0 12 0 100";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu("77 (toll gate) S 1"), None);
        let stat = "cpu  100 50 30 9000 400 15 5 0 7 0\ncpu0 1 1 1 1 1 1 1 0 0 0\n";
        assert_eq!(busy(stat), Some(Duration::from_secs(2)));
    }

    #[test]
    fn resident_memory_is_read_of_what_the_system_says() {
        let status = "Name:\ttollgate\nVmHWM:\t  900 kB\nVmRSS:\t  123456 kB\nThreads:\t12\n";
        assert_eq!(resident_bytes(status), Some(123_456 * 1_024));
        assert_eq!(resident_bytes("Name:\ttollgate\n"), None);
    }
}
