//! How much memory this process holds and the machine has left, as the kernel says.

use anyhow::Context;

/// Left to the rest of the machine: a bench that meets it stops before the kernel ends something.
const RESERVE_BYTES: u64 = 768 << 20;

/// Bytes of a page of `/proc/self/statm`. Every platform we build for has pages of this size.
const PAGE_BYTES: u64 = 4_096;

/// Bytes of physical memory this process holds.
pub fn resident_bytes() -> anyhow::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").context("/proc/self/statm")?;
    let pages = statm
        .split_whitespace()
        .nth(1)
        .context("/proc/self/statm")?;
    Ok(pages.parse::<u64>().context("/proc/self/statm")? * PAGE_BYTES)
}

/// Bytes the machine could give without swapping.
pub fn available_bytes() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("/proc/meminfo has no line MemAvailable")? << 10)
}

/// Whether `bytes` more fit beside everything else on the machine.
pub fn fits(bytes: u64) -> anyhow::Result<bool> {
    Ok(available_bytes()? > bytes.saturating_add(RESERVE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_written_becomes_resident() {
        let before = resident_bytes().unwrap();
        let block = vec![1_u8; 64 << 20];
        let after = resident_bytes().unwrap();
        assert!(after - before >= 60 << 20, "{before} {after} {}", block[5]);
        assert!(!fits(u64::MAX).unwrap());
    }
}
