//! The circuit breaker before a model: a model that keeps missing its deadline, or failing, is not asked any more.
//!
//! Every decision that waits for such a model takes as long as it may, for nothing, and holds memory and a place in the
//! queue meanwhile. Once too many of the latest answers were no good the circuit opens, and decisions go on without the
//! model at once. After a pause one decision at a time asks it again, as a probe; enough good answers in a row close the
//! circuit, a bad one opens it for twice as long.
//!
//! A plain state machine: no thread, no lock, no clock. Whoever asks says what time it is.

use std::time::{Duration, Instant};

/// How many of the latest answers can be remembered: one bit each.
pub const ANSWERS_MAX: u32 = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOptions {
    /// How many of the latest answers are looked at, 1 to [`ANSWERS_MAX`].
    pub answers: u32,
    /// With so many bad ones among them the circuit opens.
    pub bad_max: u32,
    /// From opening to the first probe. Doubled with every probe that finds the model as it was.
    pub pause: Duration,
    /// Longest pause between probes.
    pub pause_max: Duration,
    /// So many good answers in a row, of one probe after the other, close the circuit.
    pub probes: u32,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            answers: 20,
            bad_max: 10,
            pause: Duration::from_millis(500),
            pause_max: Duration::from_secs(10),
            probes: 3,
        }
    }
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// The model is asked.
    Closed,
    /// Nobody asks it.
    Open,
    /// One decision at a time asks it, to see whether it has recovered.
    Probing,
}

/// Leave to ask the model once. What came of it is to be reported; one that never is (a caller went away) does no harm.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what came of asking is to be reported"]
pub struct Permit {
    generation: u64,
}

#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    state: State,
    /// Counts changes: an answer to what was asked before the last one says nothing any more.
    generation: u64,
    /// How long the circuit stays open this time, or the next.
    pause: Duration,
    /// The latest good answer to whatever was asked.
    good_at: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Closed(Latest),
    Open {
        until: Instant,
    },
    Probing {
        good: u32,
        /// When the probe that is on its way was sent.
        asked: Option<Instant>,
    },
}

impl Breaker {
    /// A closed circuit. Options out of their range are taken to its nearest end.
    pub fn new(options: BreakerOptions) -> Self {
        let answers = options.answers.clamp(1, ANSWERS_MAX);
        let options = BreakerOptions {
            answers,
            bad_max: options.bad_max.clamp(1, answers),
            pause_max: options.pause_max.max(options.pause),
            probes: options.probes.max(1),
            ..options
        };
        Self {
            options,
            state: State::Closed(Latest::default()),
            generation: 0,
            pause: options.pause,
            good_at: None,
        }
    }

    /// Whether the model may be asked now.
    pub fn ask(&mut self, now: Instant) -> Option<Permit> {
        match &mut self.state {
            State::Closed(_) => {}
            State::Open { until } if now < *until => return None,
            State::Open { .. } => {
                self.change(State::Probing {
                    good: 0,
                    asked: Some(now),
                });
            }
            State::Probing { asked, .. } => {
                if let Some(at) = asked
                    && now.saturating_duration_since(*at) < self.pause
                {
                    return None;
                }
                // None is on its way, or it was lost: what comes of that one no longer counts.
                *asked = Some(now);
                self.generation += 1;
            }
        }
        Some(Permit {
            generation: self.generation,
        })
    }

    /// Tells what came of asking: a good answer in time, or none. Returns how the circuit stands if that has changed.
    pub fn report(&mut self, permit: &Permit, good: bool, now: Instant) -> Option<Circuit> {
        if good {
            self.good_at = Some(now);
        }
        if permit.generation != self.generation {
            return None;
        }
        match &mut self.state {
            State::Closed(latest) => {
                latest.push(!good, self.options.answers);
                if latest.bad() < self.options.bad_max {
                    return None;
                }
                self.pause = self.options.pause;
                self.open(now);
            }
            // Whoever was let through before has an older permit.
            State::Open { .. } => return None,
            State::Probing {
                good: so_far,
                asked,
            } => {
                if !good {
                    self.pause = (self.pause * 2).min(self.options.pause_max);
                    self.open(now);
                    return Some(Circuit::Open);
                }
                *so_far += 1;
                *asked = None;
                if *so_far < self.options.probes {
                    return None;
                }
                self.change(State::Closed(Latest::default()));
            }
        }
        Some(self.circuit())
    }

    /// Whether the model has given a good answer since then. What waited from `asked` on in vain then waited behind others: there is
    /// too much to do for the model, and nothing wrong with it.
    pub fn has_answered_since(&self, asked: Instant) -> bool {
        self.good_at.is_some_and(|good_at| good_at >= asked)
    }

    /// Takes a permit back that nothing came of, so that the next decision may probe at once.
    pub fn give_back(&mut self, permit: &Permit) {
        if let State::Probing { asked, .. } = &mut self.state
            && permit.generation == self.generation
        {
            *asked = None;
        }
    }

    pub const fn circuit(&self) -> Circuit {
        match self.state {
            State::Closed(_) => Circuit::Closed,
            State::Open { .. } => Circuit::Open,
            State::Probing { .. } => Circuit::Probing,
        }
    }

    fn open(&mut self, now: Instant) {
        let until = now + self.pause;
        self.change(State::Open { until });
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

impl Circuit {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probing => "probing",
        }
    }
}

/// The latest answers, a bit each: set for a bad one, the newest lowest.
#[derive(Debug, Default)]
struct Latest(u128);

impl Latest {
    fn push(&mut self, bad: bool, answers: u32) {
        let kept = u128::MAX >> (ANSWERS_MAX - answers);
        self.0 = (self.0 << 1 | u128::from(bad)) & kept;
    }

    const fn bad(&self) -> u32 {
        self.0.count_ones()
    }
}

#[cfg(test)]
mod tests;
