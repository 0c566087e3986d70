//! What a run leaves behind: files for programs, words for people.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Writes a file, and the folders above it if they are missing.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, content)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a report as JSON and says where it is.
pub(crate) fn write_report(path: &Path, report: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_string_pretty(report)?;
    json.push('\n');
    write_file(path, json.as_bytes())?;
    println!("\nReport      {}", path.display());
    Ok(())
}

/// Counts in one line.
pub(crate) fn show_counts<K: Display>(counts: &BTreeMap<K, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<_> = counts
        .iter()
        .map(|(key, count)| format!("{key} {count}"))
        .collect();
    shown.join(" · ")
}

/// A latency in the unit that fits.
#[expect(clippy::cast_precision_loss, reason = "latencies are minutes at most")]
pub(crate) fn show_latency(latency_us: u64) -> String {
    if latency_us < 1_000 {
        format!("{latency_us} µs")
    } else {
        format!("{:.1} ms", latency_us as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_written_below_folders_that_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/report.json");
        write_report(&path, &BTreeMap::from([("late", 3)])).unwrap();
        let json = std::fs::read_to_string(&path).unwrap();
        assert_eq!(json, "{\n  \"late\": 3\n}\n");
    }

    #[test]
    fn counts_are_shown_in_one_line() {
        let counts = BTreeMap::from([("unavailable", 2), ("internal", 1)]);
        assert_eq!(show_counts(&counts), "internal 1 · unavailable 2");
        assert_eq!(show_counts::<&str>(&BTreeMap::new()), "none");
    }

    #[test]
    fn latencies_are_shown_in_the_unit_that_fits() {
        assert_eq!(show_latency(250), "250 µs");
        assert_eq!(show_latency(1_250), "1.2 ms");
    }
}
