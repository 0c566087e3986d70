//! The open connections: how many, how busy each is, and which one goes when there are too many.
//!
//! Beyond the bound it is the connection idle for longest that is sent away (GOAWAY; its client opens another when it
//! has something to ask), not the new one: a client that forgets its connections would otherwise keep everybody
//! else out. Only while none is idle is the new one closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::Notify;

use crate::admit::ConnectionId;
use crate::clock;

/// A connection that did nothing for less than this is not idle: its client is between two requests.
const IDLE_MIN: Duration = Duration::from_secs(1);

/// Connections that have been sent away and are still open, beyond which no further one is: they are held besides
/// `connections_max`.
const LEAVING_MAX: usize = 64;

pub(super) struct Connections {
    open: Mutex<HashMap<ConnectionId, Arc<Connection>>>,
    open_max: usize,
    leaving: AtomicUsize,
    /// Scoring calls in progress on all of them.
    calls: AtomicUsize,
    next: AtomicU64,
    began: Instant,
    gauge: IntGauge,
}

/// One open connection.
pub(super) struct Connection {
    id: ConnectionId,
    /// Scoring calls in progress on it.
    calls: AtomicUsize,
    /// Milliseconds after `Connections::began` at which its last scoring call ended, or it was opened.
    idle_since_ms: AtomicU64,
    /// Tells its task that it is to go.
    leave: Notify,
}

impl Connections {
    pub(super) fn new(open_max: usize, gauge: IntGauge) -> Self {
        Self {
            open: Mutex::new(HashMap::new()),
            open_max,
            leaving: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            next: AtomicU64::new(1),
            began: clock::instant(),
            gauge,
        }
    }

    /// Takes in a new connection; `None` if there are too many and none of them is idle.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Entered> {
        let now_ms = self.now_ms();
        let mut open = self.open.lock();
        let mut sent_away = false;
        if open.len() >= self.open_max {
            if self.leaving.load(Ordering::Relaxed) >= LEAVING_MAX {
                return None;
            }
            let idle = Self::idle_for_longest(&open, now_ms)?;
            // From now on it counts as leaving, so it makes room once.
            open.remove(&idle.id);
            self.leaving.fetch_add(1, Ordering::Relaxed);
            idle.leave.notify_one();
            sent_away = true;
        }
        let connection = Arc::new(Connection {
            id: ConnectionId::new(self.next.fetch_add(1, Ordering::Relaxed)),
            calls: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(now_ms),
            leave: Notify::new(),
        });
        open.insert(connection.id, Arc::clone(&connection));
        self.gauge.inc();
        Some(Entered {
            connections: Arc::clone(self),
            connection,
            sent_away,
        })
    }

    /// A pass over all of them, tens of microseconds for ten thousand, for each connection that is opened beyond the bound.
    fn idle_for_longest(
        open: &HashMap<ConnectionId, Arc<Connection>>,
        now_ms: u64,
    ) -> Option<Arc<Connection>> {
        let idle_min = u64::try_from(IDLE_MIN.as_millis()).unwrap_or(u64::MAX);
        open.values()
            .filter(|connection| connection.calls.load(Ordering::Relaxed) == 0)
            .map(|connection| {
                let since = connection.idle_since_ms.load(Ordering::Relaxed);
                (since, connection)
            })
            .filter(|(since, _)| now_ms.saturating_sub(*since) >= idle_min)
            .min_by_key(|(since, connection)| (*since, connection.id))
            .map(|(_, connection)| Arc::clone(connection))
    }

    /// Scoring calls in progress on all connections.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Connections that are open, leaving ones included.
    pub(super) fn count(&self) -> usize {
        self.open.lock().len() + self.leaving.load(Ordering::Relaxed)
    }

    fn now_ms(&self) -> u64 {
        let passed = clock::instant().saturating_duration_since(self.began);
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Connection {
    pub(super) const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Waits until it is this connection that goes.
    pub(super) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

/// A connection's place among the open ones, given up when this is dropped.
pub(super) struct Entered {
    pub(super) connections: Arc<Connections>,
    pub(super) connection: Arc<Connection>,
    /// Another one was sent away for it.
    pub(super) sent_away: bool,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.connections.gauge.dec();
        let was_open = self.connections.open.lock().remove(&self.connection.id);
        if was_open.is_none() {
            self.connections.leaving.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One scoring call in progress, until this is dropped: when its answer is known, or its stream ends. Health watches are none,
/// as clients hold one for as long as they run, and neither are answers that their client is slow to read.
pub(super) struct Counted {
    connections: Arc<Connections>,
    connection: Arc<Connection>,
}

impl Counted {
    pub(super) fn new(connections: &Arc<Connections>, connection: &Arc<Connection>) -> Self {
        connection.calls.fetch_add(1, Ordering::Relaxed);
        connections.calls.fetch_add(1, Ordering::Relaxed);
        Self {
            connections: Arc::clone(connections),
            connection: Arc::clone(connection),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Self {
            connections,
            connection,
        } = self;
        connections.calls.fetch_sub(1, Ordering::Relaxed);
        if connection.calls.fetch_sub(1, Ordering::Relaxed) == 1 {
            let now_ms = connections.now_ms();
            connection.idle_since_ms.store(now_ms, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle_since(entered: &Entered, milliseconds: u64) {
        let idle = &entered.connection.idle_since_ms;
        idle.store(milliseconds, Ordering::Relaxed);
    }

    /// A start that lies back far enough for every connection to have been idle.
    fn connections(open_max: usize) -> Arc<Connections> {
        let gauge = IntGauge::new("connections", "Open ones.").unwrap();
        let mut connections = Connections::new(open_max, gauge);
        connections.began = clock::instant()
            .checked_sub(Duration::from_secs(10))
            .unwrap();
        Arc::new(connections)
    }

    #[tokio::test]
    async fn the_connection_idle_for_longest_makes_room() {
        let connections = connections(3);
        let entered: Vec<_> = (0..3).map(|_| connections.enter().unwrap()).collect();
        for (entered, since) in entered.iter().zip([20, 10, 30]) {
            idle_since(entered, since);
        }
        let fourth = connections.enter().unwrap();
        assert!(fourth.sent_away);
        entered[1].connection.told_to_leave().await;
        assert_eq!(connections.count(), 4, "it has not gone yet");
        drop(entered);
        assert_eq!(connections.count(), 1);
        drop(fourth);
        assert_eq!(connections.count(), 0);
    }

    #[test]
    fn a_busy_connection_stays_and_the_new_one_is_refused() {
        let connections = connections(1);
        let busy = connections.enter().unwrap();
        idle_since(&busy, 0);
        let call = Counted::new(&connections, &busy.connection);
        assert_eq!(connections.calls(), 1);
        assert!(connections.enter().is_none());
        drop(call);
        assert_eq!(connections.calls(), 0);
        assert!(connections.enter().is_none(), "it was busy just now");
        idle_since(&busy, 0);
        assert!(connections.enter().is_some());
    }

    #[test]
    fn those_sent_away_are_bounded_while_they_have_not_gone() {
        let connections = connections(LEAVING_MAX + 1);
        let entered: Vec<_> = (0..=LEAVING_MAX)
            .map(|_| connections.enter().unwrap())
            .collect();
        for entered in &entered {
            idle_since(entered, 0);
        }
        let more: Vec<_> = (0..LEAVING_MAX)
            .map(|_| connections.enter().unwrap())
            .collect();
        assert!(connections.enter().is_none());
        drop(entered);
        assert!(connections.enter().is_some(), "their places are free again");
        drop(more);
    }
}
