//! What needs to be done from time to time: scored transactions without echo and kept answers expire, old events go, gauges
//! are set.

use std::sync::Arc;
use std::time::Duration;

use tollgate_features::{Store, StoreSize};

use crate::clock;
use crate::config::FeaturesConfig;
use crate::idempotency::Idempotency;
use crate::metrics::Metrics;

/// Between two looks: how late an expiry may be, and how old a gauge.
const TICK: Duration = Duration::from_secs(1);

/// Ticks in which every history is moved together once: five minutes, and a few milliseconds of a core in each at a
/// million cards.
const TICKS_PER_REPACKING: usize = 300;

/// Keeps house until it is aborted.
pub(crate) async fn keep(
    store: Arc<Store>,
    idempotency: Arc<Idempotency>,
    metrics: Metrics,
    config: FeaturesConfig,
) {
    let mut tick = tokio::time::interval(TICK);
    let ticks_per_eviction = config.evict_every_s.max(1);
    let mut known = StoreSize::default();
    for at in 0_u64.. {
        tick.tick().await;
        let (store, metrics) = (Arc::clone(&store), metrics.clone());
        let idempotency = Arc::clone(&idempotency);
        let evict = at % ticks_per_eviction == 0;
        // May visit every entity: too long for a thread that serves requests.
        let visit = tokio::task::spawn_blocking(move || {
            idempotency.expire(clock::instant());
            visit(&store, &metrics, evict, known)
        });
        match visit.await {
            Ok(size) => known = size,
            Err(error) => tracing::error!(%error, "housekeeping failed"),
        }
    }
}

fn visit(store: &Store, metrics: &Metrics, evict: bool, known: StoreSize) -> StoreSize {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let expired = store.expire_in_flight(clock::steady_time());
    metrics.store.in_flight_expired.inc_by(count(expired));
    if evict {
        metrics.store.events_evicted.inc_by(count(store.evict()));
    }
    store.repack(known.entities.div_ceil(TICKS_PER_REPACKING));
    let size = store.size();
    let cut_off = size.events_cut_off - known.events_cut_off;
    metrics.store.events_cut_off.inc_by(count(cut_off));
    let pushed_out = size.entities_pushed_out - known.entities_pushed_out;
    metrics.store.entities_pushed_out.inc_by(count(pushed_out));
    if pushed_out > 0 {
        tracing::warn!(
            pushed_out,
            size.bytes,
            "memory is short, entities were let go"
        );
    }
    let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    metrics.store.entities.set(gauge(size.entities));
    metrics.store.transactions.set(gauge(size.transactions));
    metrics.store.in_flight.set(gauge(size.in_flight));
    metrics.store.pending_labels.set(gauge(size.pending_labels));
    metrics.store.bytes.set(gauge(size.bytes));
    size
}
