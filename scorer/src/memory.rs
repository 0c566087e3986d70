//! How much memory histories may take.

use tollgate_features::Limits;

use crate::config::FeaturesConfig;

/// What the kernel says of the machine, and of the container if there is one (cgroup v2, then v1).
const MACHINE: &str = "/proc/meminfo";
const CONTAINER: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// Taken where nothing says how much memory there is.
const UNKNOWN_BYTES: usize = 1 << 30;

/// The limits of the store: as configured, or half of the memory there is. The other half is for the model, for what is on
/// its way, and for what an allocator adds to what it is asked for.
pub(crate) fn limits(config: &FeaturesConfig) -> Limits {
    let bytes_max = match usize::try_from(config.memory_mib_max).unwrap_or(usize::MAX) {
        0 => available() / 2,
        mebibytes => mebibytes.saturating_mul(1 << 20),
    };
    Limits {
        bytes_max,
        events_per_entity_max: config.events_per_entity_max,
    }
}

fn available() -> usize {
    let container = CONTAINER.iter().filter_map(|path| {
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().parse().ok()
    });
    let machine = std::fs::read_to_string(MACHINE).ok();
    let machine = machine.as_deref().and_then(total_bytes);
    container.chain(machine).min().unwrap_or(UNKNOWN_BYTES)
}

/// The total of `MemTotal:       24576 kB`.
fn total_bytes(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_how_much_memory_there_is() {
        let text = "MemFree:  1 kB\nMemTotal:       24576 kB\nBuffers: 3 kB\n";
        assert_eq!(total_bytes(text), Some(24_576 * 1024));
        assert_eq!(total_bytes("nothing"), None);
    }

    #[test]
    fn a_configured_limit_counts_and_otherwise_half_of_what_there_is() {
        let mut config = FeaturesConfig::default();
        assert_eq!(limits(&config).bytes_max, available() / 2);
        config.memory_mib_max = 64;
        assert_eq!(limits(&config).bytes_max, 64 << 20);
    }
}
