//! Line 6: a full disk, a clock that jumps, a log that is cut, and more partitions.

use anyhow::{Result, bail};
use tollgate_report::Row;

use super::Stage;

pub(super) async fn run(_stage: &Stage<'_>) -> Result<Vec<Row>> {
    bail!("not written yet")
}
