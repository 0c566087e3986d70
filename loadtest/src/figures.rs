//! The figures of a load run, in the form that every report of measurements has.

use std::path::Path;

use anyhow::{Result, bail};
use tollgate_report::Row;

/// Writes and shows the figures; an error if a goal was missed.
pub(crate) fn report(path: &Path, rows: &[Row]) -> Result<()> {
    tollgate_report::write(path, rows)?;
    tollgate_report::print(&mut std::io::stdout().lock(), rows)?;
    println!("\nReport      {}", path.display());
    if rows.iter().any(Row::is_missed) {
        bail!("not every goal was reached");
    }
    Ok(())
}

/// A figure of what may never have happened.
pub(crate) fn figure(id: &str, unit: &str, value: Option<f64>) -> Row {
    value.map_or_else(
        || Row::skipped(id, unit, None),
        |value| Row::new(id, unit, value),
    )
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn count(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}
