//! Tells probes and load balancers whether to send traffic here, each time that changes.
//!
//! The service is ready once the log has been read to where it ended at start. It stops being so when it drains, when a thread
//! that reads fails, and while what a cut log still has is read again.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::grpc::Health;
use crate::ingest::IngestState;

/// Between two looks at how far the log has been read.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a cut of the log is told, at least: so short a log may be read again before anyone who watches has heard of it.
const CUT_TOLD_MIN: Duration = Duration::from_millis(500);

/// The task that tells; it ends when this is dropped.
pub(crate) struct Readiness {
    told: watch::Receiver<bool>,
    task: JoinHandle<()>,
    health: Health,
    metric: IntGauge,
}

impl Readiness {
    pub(crate) fn follow(ingest: Arc<IngestState>, health: Health, metric: IntGauge) -> Self {
        let (sender, told) = watch::channel(false);
        let mut telling = Telling {
            health: health.clone(),
            metric: metric.clone(),
            told: sender,
            was_ready: false,
        };
        let task = tokio::spawn(async move {
            loop {
                if ingest.is_cut() {
                    telling.tell(false).await;
                    tokio::time::sleep(CUT_TOLD_MIN).await;
                    ingest.cut_was_told();
                }
                telling.tell(ingest.is_ready()).await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self {
            told,
            task,
            health,
            metric,
        }
    }

    /// Waits until probes have been told that traffic may come.
    pub(crate) async fn wait(&self) {
        // The task never ends by itself.
        let _ = self.told.clone().wait_for(|ready| *ready).await;
    }

    /// Tells, for good, that the service is not ready.
    pub(crate) async fn withdraw(mut self) {
        self.task.abort();
        // It may be telling something else right now.
        let _ = (&mut self.task).await;
        self.metric.set(0);
        self.health.set_ready(false).await;
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Telling {
    health: Health,
    metric: IntGauge,
    told: watch::Sender<bool>,
    was_ready: bool,
}

impl Telling {
    async fn tell(&mut self, is_ready: bool) {
        if *self.told.borrow() == is_ready {
            return;
        }
        self.metric.set(i64::from(is_ready));
        self.health.set_ready(is_ready).await;
        match (is_ready, self.was_ready) {
            // Whoever started the service says so.
            (true, false) => self.was_ready = true,
            (true, true) => tracing::info!("ready again"),
            (false, _) => tracing::warn!("not ready any more"),
        }
        self.told.send_replace(is_ready);
    }
}
