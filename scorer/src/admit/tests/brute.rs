//! The gate beside a list that is searched from end to end.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::fixed;
use crate::admit::gate::{Answer, Ask, Gate, Shed};
use crate::admit::priority::Priority;
use crate::admit::queue::{ConnectionId, Ticket};
use crate::clock;

const CONNECTIONS: u64 = 4;

/// What happens to a gate.
#[derive(Debug, Clone, Copy)]
enum Step {
    Ask {
        priority: Priority,
        connection: u64,
        patience_ms: u64,
    },
    Leave,
    /// One of those that wait does so no more.
    GiveUp(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let priority = prop::sample::select(Priority::ALL.to_vec());
    prop_oneof![
        6 => (priority, 0..CONNECTIONS, 0..40_u64).prop_map(|(priority, connection, patience_ms)| {
            Step::Ask { priority, connection, patience_ms }
        }),
        4 => Just(Step::Leave),
        1 => any::<usize>().prop_map(Step::GiveUp),
        1 => (0..20_u64).prop_map(Step::Pass),
    ]
}

/// One that waits, in the list.
#[derive(Debug, Clone, Copy)]
struct Waits {
    number: u32,
    priority: Priority,
    connection: u64,
    until: Instant,
    ticket: Option<Ticket>,
}

struct Brute {
    limit: usize,
    waiting_max: usize,
    in_progress: usize,
    /// In the order they came.
    waiting: Vec<Waits>,
    /// For each priority, connections in the order of their turns.
    turns: Vec<(Priority, u64)>,
}

impl Brute {
    fn count(&self, priority: Priority, connection: u64) -> usize {
        let same = |other: &&Waits| other.priority == priority && other.connection == connection;
        self.waiting.iter().filter(same).count()
    }

    fn push(&mut self, waits: Waits) {
        if self.count(waits.priority, waits.connection) == 0 {
            self.turns.push((waits.priority, waits.connection));
        }
        self.waiting.push(waits);
    }

    /// Takes one away; whether its connection's turn is over.
    fn take(&mut self, at: usize, turn_is_over: bool) -> Waits {
        let taken = self.waiting.remove(at);
        let turn = (taken.priority, taken.connection);
        let is_last = self.count(taken.priority, taken.connection) == 0;
        if is_last || turn_is_over {
            self.turns.retain(|other| *other != turn);
        }
        if turn_is_over && !is_last {
            self.turns.push(turn);
        }
        taken
    }

    /// The first of the most important by turns.
    fn next(&mut self) -> Option<Waits> {
        let highest = self.waiting.iter().map(|waits| waits.priority).max()?;
        let (_, connection) = *self.turns.iter().find(|(p, _)| *p == highest)?;
        let at = self
            .waiting
            .iter()
            .position(|waits| waits.priority == highest && waits.connection == connection)?;
        Some(self.take(at, true))
    }

    /// Who gives way to a newcomer.
    fn displaced(&mut self, priority: Priority, connection: u64) -> Option<Waits> {
        let lowest = self.waiting.iter().map(|waits| waits.priority).min()?;
        let longest = (0..CONNECTIONS).max_by_key(|other| self.count(lowest, *other))?;
        let more = self.count(lowest, longest) > self.count(lowest, connection) + 1;
        if lowest < priority || (lowest == priority && more) {
            let at = self
                .waiting
                .iter()
                .position(|waits| waits.priority == lowest && waits.connection == longest)?;
            return Some(self.take(at, false));
        }
        None
    }
}

/// Both at once, and what became of everybody.
struct Pair {
    gate: Gate<u32>,
    brute: Brute,
    now: Instant,
    next: u32,
    fates: Vec<Option<Result<(), Shed>>>,
}

impl Pair {
    fn new(limit: u32, waiting_max: usize) -> Self {
        Self {
            gate: Gate::new(&fixed(limit, waiting_max)),
            brute: Brute {
                limit: limit as usize,
                waiting_max,
                in_progress: 0,
                waiting: Vec::new(),
                turns: Vec::new(),
            },
            now: clock::instant(),
            next: 0,
            fates: Vec::new(),
        }
    }

    fn told(&mut self, number: u32, fate: Result<(), Shed>) {
        let place = &mut self.fates[number as usize];
        assert_eq!(*place, None, "{number} was told twice");
        *place = Some(fate);
    }

    fn ask(&mut self, priority: Priority, connection: u64, patience_ms: u64) {
        let number = self.next;
        self.next += 1;
        self.fates.push(None);
        let until = self.now + Duration::from_millis(patience_ms);
        let ask = Ask {
            arrived: self.now,
            until,
            connection: ConnectionId::new(connection),
            priority,
        };
        let (answer, displaced) = self.gate.ask(ask, self.now, || number);
        let brute = &mut self.brute;
        if brute.in_progress < brute.limit {
            brute.in_progress += 1;
            assert_eq!(answer, Answer::Admitted);
            return self.told(number, Ok(()));
        }
        if until <= self.now {
            assert_eq!(answer, Answer::Shed(Shed::TimedOut));
            return self.told(number, Err(Shed::TimedOut));
        }
        let mut gave_way = None;
        if brute.waiting.len() >= brute.waiting_max {
            gave_way = brute.displaced(priority, connection);
            if gave_way.is_none() {
                assert_eq!(answer, Answer::Shed(Shed::QueueFull));
                return self.told(number, Err(Shed::QueueFull));
            }
        }
        let Answer::Waits { ticket, .. } = answer else {
            unreachable!("it waits, and was told {answer:?}");
        };
        brute.push(Waits {
            number,
            priority,
            connection,
            until,
            ticket: Some(ticket),
        });
        let handle = displaced.map(|told| told.handle);
        assert_eq!(handle, gave_way.map(|waits| waits.number));
        if let Some(handle) = handle {
            self.told(handle, Err(Shed::Displaced));
        }
    }

    fn leave(&mut self) {
        if self.brute.in_progress == 0 {
            return;
        }
        let mut told = Vec::new();
        self.gate.leave(None, self.now, &mut told);
        let mut expected = Vec::new();
        self.brute.in_progress -= 1;
        while self.brute.in_progress < self.brute.limit {
            let Some(waits) = self.brute.next() else {
                break;
            };
            let fate = if waits.until <= self.now {
                Err(Shed::TimedOut)
            } else {
                self.brute.in_progress += 1;
                Ok(())
            };
            expected.push((waits.number, fate));
        }
        let told: Vec<_> = told
            .into_iter()
            .map(|one| (one.handle, one.result))
            .collect();
        assert_eq!(told, expected);
        for (number, fate) in told {
            self.told(number, fate);
        }
    }

    fn give_up(&mut self, chosen: usize) {
        if self.brute.waiting.is_empty() {
            return;
        }
        let at = chosen % self.brute.waiting.len();
        let waits = self.brute.take(at, false);
        let ticket = waits.ticket.unwrap();
        assert!(self.gate.time_out(ticket, self.now));
        assert!(!self.gate.time_out(ticket, self.now), "only once");
        self.gate.give_up(ticket);
        self.told(waits.number, Err(Shed::TimedOut));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask {
                priority,
                connection,
                patience_ms,
            } => self.ask(priority, connection, patience_ms),
            Step::Leave => self.leave(),
            Step::GiveUp(chosen) => self.give_up(chosen),
            Step::Pass(milliseconds) => self.now += Duration::from_millis(milliseconds),
        }
        let load = self.gate.load(self.now);
        assert!(load.in_progress <= load.limit);
        assert_eq!(load.in_progress, self.brute.in_progress);
        assert_eq!(load.waiting, self.brute.waiting.len());
        assert!(load.waiting <= self.brute.waiting_max);
        let places_left = load.in_progress < load.limit;
        assert!(!(places_left && load.waiting > 0), "somebody is forgotten");
    }
}

proptest! {
    #[test]
    fn it_does_what_a_list_would(
        limit in 1..4_u32,
        waiting_max in 0..8_usize,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut pair = Pair::new(limit, waiting_max);
        for step in steps {
            pair.step(step);
        }
        while pair.brute.in_progress > 0 {
            pair.step(Step::Leave);
        }
        prop_assert!(pair.fates.iter().all(Option::is_some), "everybody was told");
    }
}

#[test]
fn a_connection_that_floods_takes_its_turn_like_any_other() {
    let mut pair = Pair::new(1, 12);
    pair.ask(Priority::Normal, 0, 1000);
    for _ in 0..20 {
        pair.ask(Priority::Normal, 0, 1000);
    }
    for connection in 1..4 {
        pair.ask(Priority::Normal, connection, 1000);
    }
    let behaving: Vec<_> = pair.fates[21..24].to_vec();
    assert_eq!(behaving, [None; 3], "the flood gave way");
    for _ in 0..4 {
        pair.leave();
    }
    let behaving: Vec<_> = pair.fates[21..24].to_vec();
    assert_eq!(behaving, [Some(Ok(())); 3], "one turn of each");
}

#[test]
fn the_less_important_give_way_and_retries_first() {
    let mut pair = Pair::new(1, 4);
    pair.ask(Priority::Normal, 0, 1000);
    for priority in Priority::ALL {
        pair.ask(priority, 0, 1000);
    }
    for _ in 0..3 {
        pair.ask(Priority::High, 1, 1000);
    }
    let displaced = Some(Err(Shed::Displaced));
    assert_eq!(pair.fates[1..5], [displaced, displaced, displaced, None]);
    pair.ask(Priority::Low, 1, 1000);
    assert_eq!(pair.fates[8], Some(Err(Shed::QueueFull)));
}
