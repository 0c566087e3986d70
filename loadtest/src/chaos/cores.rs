//! Keeps the service and the generator on cores of their own, where what is measured is the service at its limit.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Which cores each of the two may use. A thread hands its cores on to the threads and processes that it starts.
pub(super) struct Cores {
    all: CpuSet,
    service: CpuSet,
    generator: CpuSet,
}

impl Cores {
    /// The lower half for the service and the rest for the generator; `None` where there is only one, or the system
    /// does not say.
    pub(super) fn split() -> Option<Self> {
        let all = sched_getaffinity(None).ok()?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|core| all.is_set(*core))
            .collect();
        if cores.len() < 2 {
            return None;
        }
        let (lower, upper) = cores.split_at(cores.len() / 2);
        Some(Self {
            all,
            service: set_of(lower),
            generator: set_of(upper),
        })
    }

    /// What the calling thread starts from now on is the service's.
    pub(super) fn as_service(&self) -> std::io::Result<()> {
        Ok(sched_setaffinity(None, &self.service)?)
    }

    pub(super) fn as_generator(&self) -> std::io::Result<()> {
        Ok(sched_setaffinity(None, &self.generator)?)
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        // The next scenario is on a thread that was started by this one; it only has fewer cores if this fails.
        let _ = sched_setaffinity(None, &self.all);
    }
}

fn set_of(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    set
}
