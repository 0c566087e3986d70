//! Requests that wait for a place: by priority, and within one by turns of their connections.
//!
//! When it is full the newcomer takes the place of somebody of lower priority, or of the connection that has more waiting
//! than its own: a connection that floods is full of itself. Whoever gives way is the oldest of its line, which has
//! the least time left to be decided in.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::priority::{PRIORITIES, Priority};

/// Tells connections apart, for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(u64);

impl ConnectionId {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// One that waits; `handle` is how it is told.
#[derive(Debug)]
pub(super) struct Waiter<H> {
    pub(super) ticket: Ticket,
    pub(super) arrived: Instant,
    /// It is of no use to it later.
    pub(super) until: Instant,
    pub(super) handle: H,
}

/// Where somebody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) priority: Priority,
    pub(super) connection: ConnectionId,
}

#[derive(Debug)]
pub(super) struct Queue<H> {
    lanes: [Lane<H>; PRIORITIES],
    waiting: usize,
    waiting_max: usize,
}

/// Those of one priority.
#[derive(Debug)]
struct Lane<H> {
    /// Connections that have somebody waiting, the one whose turn it is first.
    turns: VecDeque<ConnectionId>,
    lines: BTreeMap<ConnectionId, VecDeque<Waiter<H>>>,
}

impl<H> Queue<H> {
    pub(super) fn new(waiting_max: usize) -> Self {
        let lane = || Lane {
            turns: VecDeque::new(),
            lines: BTreeMap::new(),
        };
        Self {
            lanes: std::array::from_fn(|_| lane()),
            waiting: 0,
            waiting_max,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.waiting
    }

    pub(super) const fn is_full(&self) -> bool {
        self.waiting >= self.waiting_max
    }

    /// At the end of its connection's line.
    pub(super) fn push(&mut self, waiter: Waiter<H>) {
        let Ticket {
            priority,
            connection,
            ..
        } = waiter.ticket;
        let lane = &mut self.lanes[priority.place()];
        let line = lane.lines.entry(connection).or_default();
        if line.is_empty() {
            lane.turns.push_back(connection);
        }
        line.push_back(waiter);
        self.waiting += 1;
    }

    /// Who is next.
    pub(super) fn pop(&mut self) -> Option<Waiter<H>> {
        let lane = self.lanes.iter_mut().rev();
        let lane = lane.into_iter().find(|lane| !lane.turns.is_empty())?;
        let connection = lane.turns.pop_front()?;
        let line = lane.lines.get_mut(&connection)?;
        let waiter = line.pop_front()?;
        if line.is_empty() {
            lane.lines.remove(&connection);
        } else {
            lane.turns.push_back(connection);
        }
        self.waiting -= 1;
        Some(waiter)
    }

    /// Who gives way to a newcomer when the queue is full; `None` if it is the newcomer that does not get in.
    pub(super) fn displace(
        &mut self,
        priority: Priority,
        connection: ConnectionId,
    ) -> Option<Waiter<H>> {
        let place = self.lanes.iter().position(|lane| !lane.turns.is_empty())?;
        let lane = &mut self.lanes[place];
        let own = lane.lines.get(&connection).map_or(0, VecDeque::len);
        let (longest, length) = lane.longest()?;
        let gives_way = place < priority.place() || (place == priority.place() && length > own + 1);
        if !gives_way {
            return None;
        }
        let waiter = lane.take(longest, 0)?;
        self.waiting -= 1;
        Some(waiter)
    }

    /// Somebody waits no more. `None` if it does not wait any longer anyway.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiter<H>> {
        let lane = &mut self.lanes[ticket.priority.place()];
        let line = lane.lines.get(&ticket.connection)?;
        let at = line.iter().position(|waiter| waiter.ticket == ticket)?;
        let waiter = lane.take(ticket.connection, at)?;
        self.waiting -= 1;
        Some(waiter)
    }
}

impl<H> Lane<H> {
    /// The connection with most waiting, and how many those are.
    fn longest(&self) -> Option<(ConnectionId, usize)> {
        let lengths = self.lines.iter().map(|(id, line)| (*id, line.len()));
        lengths.max_by_key(|(_, length)| *length)
    }

    /// Takes one out of a line.
    fn take(&mut self, connection: ConnectionId, at: usize) -> Option<Waiter<H>> {
        let line = self.lines.get_mut(&connection)?;
        let waiter = line.remove(at)?;
        if line.is_empty() {
            self.lines.remove(&connection);
            self.turns.retain(|other| *other != connection);
        }
        Some(waiter)
    }
}
