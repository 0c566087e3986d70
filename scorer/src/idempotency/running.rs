//! A transaction that is being decided, and the requests that wait for it: who leads, and which answer was first.
//!
//! Every step is taken under one lock and waits for nothing, so the tests can try all orders of steps. Waiting
//! is done outside, on [`Running::changed`].

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The bytes of an answer, shared by all who are given it.
pub(super) type Bytes = Arc<[u8]>;

/// One decision in progress.
#[derive(Debug)]
pub(super) struct Running {
    /// Digest of the request that is being decided.
    pub(super) content: u128,
    steps: Mutex<Steps>,
    /// Tells those who wait to [`Running::look`] again.
    pub(super) changed: Notify,
}

#[derive(Debug)]
struct Steps {
    state: State,
    /// Requests that have neither left nor been answered, the leader among them.
    requests: usize,
}

#[derive(Debug)]
enum State {
    /// One request is deciding.
    Led,
    /// The one that was deciding has left; whoever looks next leads.
    Leaderless,
    Answered(Bytes),
    /// All have left without an answer.
    Abandoned,
}

/// What a request is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Lead,
    Wait,
    Take(Bytes),
}

/// What became of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// It is the answer now. `others` wait for it.
    First { others: bool },
    /// Another one was before it and counts.
    Before(Bytes),
}

/// What is to be done after a request has left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// Those who wait must look: nobody leads.
    Wake,
    /// Nobody is left and there is no answer: it may be forgotten.
    Forget,
}

impl Running {
    /// Begins with one request, which leads.
    pub(super) fn new(content: u128) -> Self {
        Self {
            content,
            steps: Mutex::new(Steps {
                state: State::Led,
                requests: 1,
            }),
            changed: Notify::new(),
        }
    }

    /// One more request for the same decision; `None` if it was abandoned and must begin anew.
    pub(super) fn join(&self) -> Option<Part> {
        self.step(|steps| {
            if matches!(steps.state, State::Abandoned) {
                return None;
            }
            steps.requests += 1;
            Some(steps.part())
        })
    }

    /// Whether all have left without an answer.
    pub(super) fn is_abandoned(&self) -> bool {
        self.step(|steps| matches!(steps.state, State::Abandoned))
    }

    /// One that waits looks what it is to do now.
    pub(super) fn look(&self) -> Part {
        self.step(Steps::part)
    }

    /// Whoever answers first answers for all.
    pub(super) fn answer(&self, bytes: &Bytes) -> Given {
        self.step(|steps| match &steps.state {
            State::Answered(first) => Given::Before(Arc::clone(first)),
            State::Led | State::Leaderless | State::Abandoned => {
                steps.state = State::Answered(Arc::clone(bytes));
                Given::First {
                    others: steps.requests > 1,
                }
            }
        })
    }

    /// A request ends without having given or taken an answer. `leads` as the last [`Part`] said.
    pub(super) fn leave(&self, leads: bool) -> Left {
        self.step(|steps| {
            steps.requests = steps.requests.saturating_sub(1);
            match steps.state {
                State::Answered(_) | State::Abandoned => Left::Nothing,
                State::Led | State::Leaderless if steps.requests == 0 => {
                    steps.state = State::Abandoned;
                    Left::Forget
                }
                State::Led if leads => {
                    steps.state = State::Leaderless;
                    Left::Wake
                }
                // Its wake-up may have been the only one.
                State::Leaderless => Left::Wake,
                State::Led => Left::Nothing,
            }
        })
    }

    fn step<T>(&self, step: impl FnOnce(&mut Steps) -> T) -> T {
        // No step panics half-way, so what a poisoned lock holds is whole.
        step(&mut self.steps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Steps {
    fn part(&mut self) -> Part {
        match &self.state {
            State::Answered(bytes) => Part::Take(Arc::clone(bytes)),
            State::Leaderless => {
                self.state = State::Led;
                Part::Lead
            }
            // Nobody who has not left can see it abandoned.
            State::Led | State::Abandoned => Part::Wait,
        }
    }
}
