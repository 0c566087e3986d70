//! Line 2: brokers are killed under load, one of three and all three.

use anyhow::{Result, bail};
use tollgate_report::Row;

use super::Stage;

pub(super) async fn run(_stage: &Stage<'_>) -> Result<Vec<Row>> {
    bail!("not written yet")
}
