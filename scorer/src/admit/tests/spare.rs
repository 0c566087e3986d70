//! Places for work that no caller waits for.

use std::time::{Duration, Instant};

use super::fixed;
use crate::admit::gate::{Answer, Ask, Gate};
use crate::admit::priority::Priority;
use crate::admit::queue::ConnectionId;
use crate::clock;
use crate::config::OverloadConfig;

fn ask(arrived: Instant) -> Ask {
    Ask {
        arrived,
        until: arrived + Duration::from_secs(60),
        connection: ConnectionId::new(1),
        priority: Priority::Normal,
    }
}

#[test]
fn half_of_the_places_and_nobody_waiting_leave_one_to_spare() {
    let now = clock::instant();
    let mut gate: Gate<()> = Gate::new(&fixed(4, 8));
    assert!(gate.take_spare(now) && gate.take_spare(now));
    assert!(!gate.take_spare(now), "callers have the other half");
    for _ in 0..2 {
        assert_eq!(gate.ask(ask(now), now, || ()).0, Answer::Admitted);
    }
    let (answer, _) = gate.ask(ask(now), now, || ());
    assert!(matches!(answer, Answer::Waits { .. }));
    // Three are left, one of them the caller that waited.
    let mut told = Vec::new();
    for _ in 0..2 {
        gate.leave(None, now, &mut told);
    }
    assert_eq!(told.len(), 1);
    assert!(!gate.take_spare(now));
    gate.leave(None, now, &mut told);
    gate.leave(None, now, &mut told);
    assert!(gate.take_spare(now));
}

#[test]
fn while_requests_are_shed_for_their_age_there_is_nothing_to_spare() {
    let now = clock::instant();
    let config = OverloadConfig {
        target_ms: 1,
        ..fixed(1_000, 8)
    };
    let mut gate: Gate<()> = Gate::new(&config);
    // All of them are old, for longer than an interval.
    let mut at = now;
    for _ in 0..20 {
        at += config.interval() / 10;
        gate.ask(ask(at - Duration::from_secs(1)), at, || ());
    }
    assert!(gate.load(at).sheds_aged && !gate.take_spare(at));
    // Nothing has come for more than an interval.
    let later = at + config.interval() * 2;
    assert!(gate.take_spare(later));
}
