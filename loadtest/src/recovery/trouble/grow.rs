//! The topics get more partitions while they are read and written.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};
use tollgate_report::{Goal, Row};

use super::{PATIENCE, SHAPE};
use crate::figures::count;
use crate::recovery::Stage;
use crate::recovery::held::Held;
use crate::recovery::log::{LABELS, TRANSACTIONS};

const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(50);

pub(super) async fn grow(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let held = Held::begin(stage, "partitions", SHAPE, &[]).await?;
    let service = held.start().await?;
    let more = 2 * SHAPE.partitions;
    let course = async {
        sleep(BEFORE).await;
        for topic in [TRANSACTIONS, LABELS] {
            held.log.grow(topic, usize::try_from(more)?).await?;
        }
        let grown = Instant::now();
        // Both topics are told of in the same number.
        while service.admin.sum("tollgate_ingest_partitions").await? < 2 * u64::try_from(more)? {
            if grown.elapsed() > PATIENCE {
                bail!("the service does not notice new partitions");
            }
            sleep(POLL).await;
        }
        let noticed = grown.elapsed();
        // By now the producer knows of them, too.
        sleep(AFTER).await;
        Ok(noticed)
    };
    let (seen, noticed) = held.load(&service, course).await?;
    held.traffic.producer.flush().await?;
    let log = held.log.clone();
    let ends = tokio::task::spawn_blocking(move || log.ends(TRANSACTIONS)).await??;
    let added = ends.range(SHAPE.partitions..);
    let used = added.filter(|(_, (begin, end))| end > begin).count();
    let mut rows = vec![
        Row::new("noticed", "s", noticed.as_secs_f64()).goal(Goal::AtMost(10.0)),
        Row::new("added_with_events", "count", count(used)).goal(Goal::AtLeast(1.0)),
    ];
    held.named(&mut rows);
    rows.extend(held.went_on(&seen));
    rows.extend(held.end(stage, &service).await?);
    Ok(rows)
}
