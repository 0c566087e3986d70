//! The breaker by itself: what it does step by step, and what holds whatever happens to it.
#![expect(
    clippy::disallowed_methods,
    reason = "some moment to begin with; from there on the tests say what time it is"
)]

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const OPTIONS: BreakerOptions = BreakerOptions {
    answers: 4,
    bad_max: 3,
    pause: Duration::from_millis(100),
    pause_max: Duration::from_millis(300),
    probes: 2,
};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Asks and tells what came of it at once; whether it was let through.
fn answer(breaker: &mut Breaker, good: bool, now: Instant) -> bool {
    let permit = breaker.ask(now);
    let asked = permit.is_some();
    if let Some(permit) = permit {
        let _ = breaker.report(&permit, good, now);
    }
    asked
}

fn opened(start: Instant) -> Breaker {
    let mut breaker = Breaker::new(OPTIONS);
    for _ in 0..3 {
        assert!(answer(&mut breaker, false, start));
    }
    assert_eq!(breaker.circuit(), Circuit::Open);
    breaker
}

#[test]
fn as_many_bad_answers_among_the_latest_open_the_circuit() {
    let now = Instant::now();
    let mut breaker = Breaker::new(OPTIONS);
    // Never three among four.
    for good in [false, false, true, true, false, false, true, true] {
        assert!(answer(&mut breaker, good, now));
        assert_eq!(breaker.circuit(), Circuit::Closed);
    }
    for good in [false, true, false] {
        assert!(answer(&mut breaker, good, now));
    }
    assert_eq!(breaker.circuit(), Circuit::Closed);
    let permit = breaker.ask(now).unwrap();
    assert_eq!(breaker.report(&permit, false, now), Some(Circuit::Open));
    assert!(!answer(&mut breaker, true, now));
}

#[test]
fn after_the_pause_probes_go_one_by_one_and_close_it() {
    let start = Instant::now();
    let mut breaker = opened(start);
    assert!(breaker.ask(start + millis(99)).is_none());
    let probe = breaker.ask(start + millis(100)).unwrap();
    assert_eq!(breaker.circuit(), Circuit::Probing);
    assert!(breaker.ask(start + millis(101)).is_none());
    assert_eq!(breaker.report(&probe, true, start + millis(110)), None);
    let probe = breaker.ask(start + millis(110)).unwrap();
    assert!(breaker.ask(start + millis(110)).is_none());
    let closed = breaker.report(&probe, true, start + millis(111));
    assert_eq!(closed, Some(Circuit::Closed));
    // What was bad before it opened is forgotten.
    assert!(answer(&mut breaker, false, start + millis(112)));
    assert!(answer(&mut breaker, false, start + millis(112)));
    assert_eq!(breaker.circuit(), Circuit::Closed);
}

#[test]
fn a_probe_that_nothing_came_of_makes_room_for_the_next() {
    let start = Instant::now();
    let mut breaker = opened(start);
    let at = start + millis(100);
    let lost = breaker.ask(at).unwrap();
    assert!(breaker.ask(at).is_none());
    breaker.give_back(&lost);
    let probe = breaker.ask(at).unwrap();
    breaker.give_back(&lost);
    assert!(
        breaker.ask(at).is_none(),
        "the first one was given back already"
    );
    assert_eq!(breaker.report(&probe, false, at), Some(Circuit::Open));
}

#[test]
fn every_bad_probe_doubles_the_pause_up_to_its_longest() {
    let mut now = Instant::now();
    let mut breaker = opened(now);
    for pause in [100, 200, 300, 300] {
        assert!(breaker.ask(now + millis(pause - 1)).is_none());
        now += millis(pause);
        assert!(answer(&mut breaker, false, now));
        assert_eq!(breaker.circuit(), Circuit::Open);
    }
}

#[test]
fn answers_to_what_was_asked_before_it_opened_count_for_nothing() {
    let now = Instant::now();
    let mut breaker = Breaker::new(OPTIONS);
    let asked: Vec<Permit> = (0..6).map(|_| breaker.ask(now).unwrap()).collect();
    let changes: Vec<_> = asked
        .iter()
        .map(|permit| breaker.report(permit, false, now))
        .collect();
    let open = Some(Circuit::Open);
    assert_eq!(changes, [None, None, open, None, None, None]);
    let probe = breaker.ask(now + millis(100)).unwrap();
    assert_eq!(breaker.report(&asked[0], true, now + millis(101)), None);
    assert_eq!(breaker.report(&probe, false, now + millis(102)), open);
}

#[test]
fn a_probe_that_is_lost_is_followed_by_another() {
    let start = Instant::now();
    let mut breaker = opened(start);
    let lost = breaker.ask(start + millis(100)).unwrap();
    assert!(breaker.ask(start + millis(199)).is_none());
    let probe = breaker.ask(start + millis(200)).unwrap();
    assert_eq!(breaker.report(&lost, false, start + millis(201)), None);
    assert_eq!(breaker.report(&probe, true, start + millis(201)), None);
    assert_eq!(breaker.circuit(), Circuit::Probing);
}

#[test]
fn options_out_of_range_make_a_breaker_all_the_same() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerOptions {
        answers: 0,
        bad_max: 0,
        pause: millis(50),
        pause_max: Duration::ZERO,
        probes: 0,
    });
    assert!(answer(&mut breaker, false, now));
    assert!(!answer(&mut breaker, true, now + millis(49)));
    assert!(answer(&mut breaker, true, now + millis(50)));
    assert_eq!(breaker.circuit(), Circuit::Closed);
    let widest = BreakerOptions {
        answers: u32::MAX,
        bad_max: u32::MAX,
        ..OPTIONS
    };
    let mut breaker = Breaker::new(widest);
    for _ in 0..ANSWERS_MAX {
        assert!(answer(&mut breaker, false, now));
    }
    assert!(!answer(&mut breaker, true, now));
}

/// What can happen to a breaker.
#[derive(Clone, Debug)]
enum Step {
    Ask,
    /// One of those that were let through reports: which, and what.
    Report(usize, bool),
    /// One of those goes away without a word.
    Lose(usize),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Ask),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, good)| Step::Report(which, good)),
        1 => any::<usize>().prop_map(Step::Lose),
        2 => (0_u64..200).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..300)
}

fn options() -> impl Strategy<Value = BreakerOptions> {
    (1_u32..=12, 1_u32..=12, 1_u64..=150, 1_u64..=400, 1_u32..=4).prop_map(
        |(answers, bad_max, pause, pause_max, probes)| BreakerOptions {
            answers,
            bad_max: bad_max.min(answers),
            pause: millis(pause),
            pause_max: millis(pause_max.max(pause)),
            probes,
        },
    )
}

/// Plays the steps and holds each against what is known by plain book-keeping.
fn play(options: BreakerOptions, steps: &[Step]) -> Result<(Breaker, Instant), TestCaseError> {
    let mut breaker = Breaker::new(options);
    let mut now = Instant::now();
    let mut on_their_way: Vec<Permit> = Vec::new();
    // Of a closed circuit: the answers that count. Of an open one: since when.
    let mut latest: VecDeque<bool> = VecDeque::new();
    let mut opened_at = now;
    let mut probed_at: Option<Instant> = None;
    for step in steps {
        let before = breaker.circuit();
        match step {
            Step::Pass(passed) => now += millis(*passed),
            Step::Lose(which) if !on_their_way.is_empty() => {
                let _ = on_their_way.swap_remove(which % on_their_way.len());
            }
            Step::Lose(_) => {}
            Step::Ask => match breaker.ask(now) {
                None => {
                    prop_assert_ne!(before, Circuit::Closed, "a closed circuit refuses nobody");
                    let since = probed_at.map_or(opened_at, |at| at.max(opened_at));
                    prop_assert!(now - since < options.pause_max, "refused for too long");
                }
                Some(permit) => {
                    if before == Circuit::Open {
                        prop_assert!(now - opened_at >= options.pause, "probed within the pause");
                    }
                    if before != Circuit::Closed {
                        prop_assert_eq!(breaker.circuit(), Circuit::Probing);
                        probed_at = Some(now);
                    }
                    on_their_way.push(permit);
                }
            },
            Step::Report(..) if on_their_way.is_empty() => {}
            Step::Report(which, good) => {
                let permit = on_their_way.swap_remove(which % on_their_way.len());
                let counts = permit.generation == breaker.generation;
                let change = breaker.report(&permit, *good, now);
                let after = breaker.circuit();
                prop_assert_eq!(change, (after != before).then_some(after));
                if !counts {
                    prop_assert_eq!(change, None, "an old answer changes nothing");
                    continue;
                }
                if before == Circuit::Closed {
                    latest.push_back(!good);
                    if latest.len() > options.answers as usize {
                        latest.pop_front();
                    }
                    let bad = latest.iter().filter(|bad| **bad).count();
                    prop_assert_eq!(after == Circuit::Open, bad >= options.bad_max as usize);
                } else {
                    prop_assert!(*good || after == Circuit::Open, "a bad probe opens it");
                }
                if after == Circuit::Open {
                    opened_at = now;
                    probed_at = None;
                }
                if after != before {
                    latest.clear();
                }
            }
        }
    }
    Ok((breaker, now))
}

proptest! {
    #[test]
    fn it_opens_refuses_and_probes_as_its_options_say(options in options(), steps in steps()) {
        play(options, &steps)?;
    }

    /// Whatever was before, a model that has recovered is asked by everybody again soon.
    #[test]
    fn a_model_that_recovers_is_asked_again(options in options(), steps in steps()) {
        let (mut breaker, mut now) = play(options, &steps)?;
        // The longest pause, and then probes that are answered at once.
        now += options.pause_max;
        for _ in 0..options.probes {
            answer(&mut breaker, true, now);
        }
        // Bad answers from before may still be remembered, but good ones open nothing.
        prop_assert_eq!(breaker.circuit(), Circuit::Closed);
    }

    /// And one that has not is asked no more often than once a pause.
    #[test]
    fn a_model_that_stays_bad_is_hardly_asked(options in options(), gaps in prop::collection::vec(0_u64..5, 1..500)) {
        let mut breaker = Breaker::new(options);
        let start = Instant::now();
        let mut now = start;
        let mut asked = 0;
        for gap in gaps {
            now += millis(gap);
            asked += u128::from(answer(&mut breaker, false, now));
        }
        let pauses = (now - start).as_millis() / options.pause.as_millis();
        prop_assert!(asked <= u128::from(options.bad_max) + pauses);
    }
}

#[test]
fn it_knows_whether_others_were_answered_meanwhile() {
    let start = Instant::now();
    let mut breaker = Breaker::new(OPTIONS);
    assert!(!breaker.has_answered_since(start));
    answer(&mut breaker, false, start + millis(1));
    assert!(!breaker.has_answered_since(start));
    answer(&mut breaker, true, start + millis(2));
    assert!(breaker.has_answered_since(start + millis(2)));
    assert!(!breaker.has_answered_since(start + millis(3)));
}
