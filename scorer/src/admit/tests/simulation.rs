//! A service of which only admission is real: requests come as they like, cores and a model take their time, event by event.
//!
//! Requests wait for a core in the order in which they, or what they waited for, came: the run queue that their age tells
//! of. The model does one at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::admit::gate::{Answer, Ask, Gate, Told};
use crate::admit::limit::Sample;
use crate::admit::priority::Priority;
use crate::admit::queue::{ConnectionId, Ticket};
use crate::clock;
use crate::config::OverloadConfig;

/// What things cost, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    pub(super) cores: usize,
    /// Of a core: reading the request, histories and rules.
    pub(super) begin: u64,
    /// Of the model.
    pub(super) model: u64,
    /// Of a core: what is left once the model has answered.
    pub(super) finish: u64,
    /// Of a core: reading the request and answering it without histories.
    pub(super) shed: u64,
}

/// Answers due within this, as by default.
const BUDGET: Duration = Duration::from_millis(80);
const PATIENCE: Duration = Duration::from_millis(75);
const CONNECTIONS: u64 = 8;

/// What became of the requests that arrived in a second of the run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) full: u64,
    pub(super) shed: u64,
    /// Answered after the budget.
    pub(super) late: u64,
    /// Refused unread.
    pub(super) refused: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    /// A core has done a piece of work.
    CoreFree(usize, Work),
    ModelFree(usize),
    GivesUp(usize),
    /// Cores and model begin to work again.
    Resume,
}

/// What a core does for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    First,
    Begin,
    Finish,
    Shed,
    /// Of reading one that then waits.
    Park,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    arrived: u64,
    admitted: u64,
    /// Time without waiting for a core.
    served_from: u64,
    waited: u64,
    ready: u64,
    ticket: Option<Ticket>,
}

pub(super) struct Simulation {
    costs: Costs,
    gate: Gate<usize>,
    requests_max: usize,
    origin: Instant,
    now: u64,
    rate: f64,
    random: ChaCha8Rng,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    requests: Vec<Request>,
    run_queue: VecDeque<(usize, Work)>,
    cores_free: usize,
    model_queue: VecDeque<usize>,
    model_busy: bool,
    paused: bool,
    in_progress: usize,
    tallies: BTreeMap<u64, Tally>,
}

impl Simulation {
    pub(super) fn new(costs: Costs, config: &OverloadConfig) -> Self {
        let mut simulation = Self {
            costs,
            gate: Gate::new(config),
            requests_max: config.requests_max,
            origin: clock::instant(),
            now: 0,
            rate: 1.0,
            random: ChaCha8Rng::seed_from_u64(6),
            events: BinaryHeap::new(),
            sequence: 0,
            requests: Vec::new(),
            run_queue: VecDeque::new(),
            cores_free: costs.cores,
            model_queue: VecDeque::new(),
            model_busy: false,
            paused: false,
            in_progress: 0,
            tallies: BTreeMap::new(),
        };
        simulation.after(0, Event::Arrival);
        simulation
    }

    /// Runs for so many seconds at `rate` requests a second. What became of those sent in each.
    pub(super) fn run(&mut self, rate: f64, seconds: u64) -> Vec<Tally> {
        self.rate = rate;
        let from = self.now / SECOND;
        let until = (from + seconds) * SECOND;
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at >= until {
                self.events.push(Reverse((at, 0, event)));
                break;
            }
            self.now = at;
            self.happen(event);
        }
        self.now = until;
        (from..from + seconds)
            .map(|second| self.tallies.get(&second).copied().unwrap_or_default())
            .collect()
    }

    /// Nothing is done for so long, though requests come.
    pub(super) fn stall(&mut self, span: Duration) {
        self.paused = true;
        self.after(u64::try_from(span.as_nanos()).unwrap(), Event::Resume);
    }

    fn after(&mut self, nanos: u64, event: Event) {
        self.sequence += 1;
        let at = self.now + nanos;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn instant(&self, nanos: u64) -> Instant {
        self.origin + Duration::from_nanos(nanos)
    }

    fn tally(&mut self, request: usize) -> &mut Tally {
        let second = self.requests[request].arrived / SECOND;
        self.tallies.entry(second).or_default()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => self.arrive(),
            Event::CoreFree(request, work) => {
                self.cores_free += 1;
                self.done(request, work);
            }
            Event::ModelFree(request) => {
                self.model_busy = false;
                self.requests[request].ready = self.now;
                self.run_queue.push_back((request, Work::Finish));
            }
            Event::GivesUp(request) => {
                let ticket = self.requests[request].ticket.unwrap();
                let now = self.instant(self.now);
                if self.gate.time_out(ticket, now) {
                    self.run_queue.push_back((request, Work::Shed));
                }
            }
            Event::Resume => self.paused = false,
        }
        self.work();
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "nanoseconds until the next request: small and positive"
    )]
    fn arrive(&mut self) {
        let uniform: f64 = self.random.random_range(f64::EPSILON..1.0);
        let gap = -uniform.ln() / self.rate * SECOND as f64;
        self.after(gap as u64, Event::Arrival);
        let request = self.requests.len();
        self.requests.push(Request {
            arrived: self.now,
            admitted: 0,
            served_from: 0,
            waited: 0,
            ready: self.now,
            ticket: None,
        });
        self.tally(request).sent += 1;
        if self.in_progress >= self.requests_max {
            self.tally(request).refused += 1;
            return;
        }
        self.in_progress += 1;
        self.run_queue.push_back((request, Work::First));
    }

    /// Cores and model take up what they can.
    fn work(&mut self) {
        if self.paused {
            return;
        }
        while self.cores_free > 0 {
            let Some((request, work)) = self.run_queue.pop_front() else {
                break;
            };
            self.cores_free -= 1;
            let (work, cost) = self.take_up(request, work);
            self.after(cost, Event::CoreFree(request, work));
        }
        if !self.model_busy
            && let Some(request) = self.model_queue.pop_front()
        {
            self.model_busy = true;
            self.after(self.costs.model, Event::ModelFree(request));
        }
    }

    fn take_up(&mut self, request: usize, work: Work) -> (Work, u64) {
        let now = self.now;
        match work {
            Work::First => match self.ask(request) {
                Answer::Admitted => {
                    self.requests[request].admitted = now;
                    self.requests[request].served_from = now;
                    (Work::Begin, self.costs.begin)
                }
                Answer::Waits { .. } => (Work::Park, self.costs.shed / 2),
                Answer::Shed(_) => (Work::Shed, self.costs.shed),
            },
            Work::Begin => {
                self.requests[request].served_from = now;
                (work, self.costs.begin)
            }
            Work::Finish => {
                let request = &mut self.requests[request];
                request.waited += now - request.ready;
                (work, self.costs.finish)
            }
            Work::Shed => (work, self.costs.shed),
            Work::Park => (work, 0),
        }
    }

    fn ask(&mut self, request: usize) -> Answer {
        let arrived = self.instant(self.requests[request].arrived);
        let connection = u64::try_from(request).unwrap() % CONNECTIONS;
        let ask = Ask {
            arrived,
            until: arrived + PATIENCE,
            connection: ConnectionId::new(connection),
            priority: Priority::Normal,
        };
        let now = self.instant(self.now);
        let (answer, displaced) = self.gate.ask(ask, now, || request);
        if let Answer::Waits { ticket, until } = answer {
            self.requests[request].ticket = Some(ticket);
            let nanos = until.saturating_duration_since(now).as_nanos();
            self.after(u64::try_from(nanos).unwrap(), Event::GivesUp(request));
        }
        self.tell(displaced);
        answer
    }

    fn tell(&mut self, told: impl IntoIterator<Item = Told<usize>>) {
        for Told { handle, result } in told {
            let work = if result.is_ok() {
                self.requests[handle].admitted = self.now;
                Work::Begin
            } else {
                Work::Shed
            };
            self.run_queue.push_back((handle, work));
        }
    }

    fn done(&mut self, request: usize, work: Work) {
        match work {
            Work::First | Work::Park => {}
            Work::Begin => self.model_queue.push_back(request),
            Work::Finish => {
                let Request {
                    admitted,
                    served_from,
                    waited,
                    ..
                } = self.requests[request];
                let sample = Sample {
                    served: Duration::from_nanos(self.now - served_from - waited),
                    held: Duration::from_nanos(self.now - admitted),
                };
                let mut told = Vec::new();
                let now = self.instant(self.now);
                self.gate.leave(Some(sample), now, &mut told);
                self.tell(told);
                self.tally(request).full += 1;
                self.answered(request);
            }
            Work::Shed => {
                self.tally(request).shed += 1;
                self.answered(request);
            }
        }
    }

    fn answered(&mut self, request: usize) {
        self.in_progress -= 1;
        let took = Duration::from_nanos(self.now - self.requests[request].arrived);
        if took > BUDGET {
            self.tally(request).late += 1;
        }
    }
}

const SECOND: u64 = 1_000_000_000;

/// Sums over seconds.
pub(super) fn total(tallies: &[Tally], of: impl Fn(&Tally) -> u64) -> u64 {
    tallies.iter().map(of).sum()
}
