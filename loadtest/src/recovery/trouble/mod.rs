//! Line 6: a full disk, a full spool, a clock that jumps, a log that is cut, and more partitions.

mod clock;
mod cut;
mod disk;
mod full;
mod grow;

use std::time::Duration;

use anyhow::Result;
use tollgate_report::Row;

use super::Stage;
use super::log::Shape;

const SHAPE: Shape = Shape {
    partitions: 6,
    replicas: 1,
};

/// How long anything may take that comes by itself.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let mut rows = Box::pin(disk::snapshot(stage)).await?;
    rows.extend(Box::pin(disk::spool(stage)).await?);
    rows.extend(Box::pin(full::spool(stage)).await?);
    rows.extend(Box::pin(clock::jumps(stage)).await?);
    rows.extend(Box::pin(cut::cut(stage)).await?);
    rows.extend(Box::pin(grow::grow(stage)).await?);
    Ok(rows)
}
