//! Every order in which the steps of a few requests for one transaction can come.
//!
//! A step is what happens under one lock. The search tries each request's next step in turn, from every state that can be
//! reached, and replays the steps from the beginning for each. Whatever the order: all are given the same answer, one of
//! them gave it, and nobody waits for what does not come.

use std::sync::Arc;

use super::super::running::{Bytes, Given, Left, Part, Running};
use super::super::shard::{Bounds, Entered, Shard};
use super::super::{Identity, OnConflict};
use crate::clock;

const OF: Identity = Identity { id: 7, content: 70 };

/// What a request does when it may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Decides if it leads, and waits as long as it takes.
    Patient,
    /// May be out of time at any moment, and then answers by itself.
    Hasty,
    /// May leave at any moment: its client goes away, or its code fails.
    Fickle,
}

#[derive(Clone, Debug)]
enum At {
    Start,
    Leads(Arc<Running>),
    /// `woken` since it last looked.
    Waits {
        running: Arc<Running>,
        woken: bool,
    },
    /// Has given the first answer and is to hand it to the shard.
    Keeps(Arc<Running>, Bytes),
    /// Was the last to leave and is to have it forgotten.
    Forgets(Arc<Running>),
    Answered(Bytes),
    Gone,
}

/// One choice of one request.
#[derive(Clone, Copy, Debug)]
enum Step {
    Enter,
    Look,
    Answer,
    Leave,
    Keep,
    Forget,
}

struct World {
    shard: Shard,
    requests: Vec<(Habit, At)>,
    /// Who gave a first answer.
    firsts: Vec<usize>,
}

impl World {
    fn new(habits: &[Habit]) -> Self {
        Self {
            shard: Shard::default(),
            requests: habits.iter().map(|habit| (*habit, At::Start)).collect(),
            firsts: Vec::new(),
        }
    }

    fn steps(&self) -> Vec<(usize, Step)> {
        let mut steps = Vec::new();
        for (who, (habit, at)) in self.requests.iter().enumerate() {
            let mut may = |step| steps.push((who, step));
            match at {
                At::Start => may(Step::Enter),
                At::Leads(_) => {
                    may(Step::Answer);
                    if *habit == Habit::Fickle {
                        may(Step::Leave);
                    }
                }
                At::Waits { woken, .. } => {
                    if *woken {
                        may(Step::Look);
                    }
                    match habit {
                        Habit::Patient => {}
                        Habit::Hasty => may(Step::Answer),
                        Habit::Fickle => may(Step::Leave),
                    }
                }
                At::Keeps(..) => may(Step::Keep),
                At::Forgets(_) => may(Step::Forget),
                At::Answered(_) | At::Gone => {}
            }
        }
        steps
    }

    fn take(&mut self, (who, step): (usize, Step)) {
        let bounds = bounds();
        let now = clock::instant();
        let at = self.requests[who].1.clone();
        let next = match (step, at) {
            (Step::Enter, _) => match self.shard.enter(OF, &bounds, now) {
                Entered::Lead { running, .. } => At::Leads(running),
                // Looks once before it waits.
                Entered::Wait(running) => At::Waits {
                    running,
                    woken: true,
                },
                Entered::Take(bytes) => At::Answered(bytes),
                Entered::Refuse => panic!("the content is the same"),
            },
            (Step::Look, At::Waits { running, .. }) => match running.look() {
                Part::Lead => At::Leads(running),
                Part::Wait => At::Waits {
                    running,
                    woken: false,
                },
                Part::Take(bytes) => At::Answered(bytes),
            },
            (Step::Answer, At::Leads(running) | At::Waits { running, .. }) => {
                let bytes: Bytes = vec![u8::try_from(who).unwrap()].into();
                match running.answer(&bytes) {
                    Given::First { others } => {
                        self.firsts.push(who);
                        if others {
                            self.wake(&running);
                        }
                        At::Keeps(running, bytes)
                    }
                    Given::Before(first) => At::Answered(first),
                }
            }
            (Step::Leave, at) => {
                let leads = matches!(at, At::Leads(_));
                let (At::Leads(running) | At::Waits { running, .. }) = at else {
                    panic!("{at:?} cannot leave");
                };
                match running.leave(leads) {
                    Left::Nothing => At::Gone,
                    Left::Wake => {
                        self.wake(&running);
                        At::Gone
                    }
                    Left::Forget => At::Forgets(running),
                }
            }
            (Step::Keep, At::Keeps(running, bytes)) => {
                let kept = Arc::clone(&bytes);
                self.shard.keep(OF.id, &running, kept, &bounds, now);
                At::Answered(bytes)
            }
            (Step::Forget, At::Forgets(running)) => {
                self.shard.forget(OF.id, &running);
                At::Gone
            }
            (step, at) => panic!("{step:?} at {at:?}"),
        };
        self.requests[who].1 = next;
    }

    /// As `notify_waiters` does: whoever waits when it is called.
    fn wake(&mut self, of: &Arc<Running>) {
        for (_, at) in &mut self.requests {
            if let At::Waits { running, woken } = at
                && Arc::ptr_eq(running, of)
            {
                *woken = true;
            }
        }
    }

    /// What must hold when nobody has a step left.
    fn check_end(&mut self, path: &[(usize, Step)]) {
        let mut answers = Vec::new();
        for (habit, at) in &self.requests {
            match at {
                At::Answered(bytes) => answers.push(Arc::clone(bytes)),
                At::Gone => assert_eq!(*habit, Habit::Fickle, "{path:?}"),
                at => panic!("left at {at:?} after {path:?}"),
            }
        }
        assert!(answers.windows(2).all(|two| two[0] == two[1]), "{path:?}");
        // One record for one answer, and none without.
        let expected = usize::from(!answers.is_empty());
        assert_eq!(self.firsts.len(), expected, "{path:?}");
        assert_eq!(self.shard.answers(), expected, "{path:?}");
        // One more is given the same, or begins anew where nobody was answered.
        match (
            self.shard.enter(OF, &bounds(), clock::instant()),
            answers.first(),
        ) {
            (Entered::Take(bytes), Some(answer)) => assert_eq!(&bytes, answer),
            (Entered::Lead { .. }, None) => {}
            _ => panic!("one more finds something else after {path:?}"),
        }
    }
}

fn bounds() -> Bounds {
    Bounds {
        keep: std::time::Duration::from_secs(3_600),
        entries_max: 10,
        bytes_max: 10_000,
        on_conflict: OnConflict::Refuse,
    }
}

/// Tries everything that can come after `path`; how many orders there were.
fn try_all(habits: &[Habit], path: &mut Vec<(usize, Step)>) -> usize {
    let mut world = World::new(habits);
    for step in path.iter() {
        world.take(*step);
    }
    let steps = world.steps();
    if steps.is_empty() {
        world.check_end(path);
        return 1;
    }
    let mut orders = 0;
    for step in steps {
        path.push(step);
        orders += try_all(habits, path);
        path.pop();
    }
    orders
}

#[test]
fn whatever_the_order_of_steps_there_is_one_answer_and_nobody_is_left_waiting() {
    use Habit::{Fickle, Hasty, Patient};
    let mut orders = 0;
    for habits in [
        &[Patient, Patient, Patient][..],
        &[Patient, Hasty, Fickle],
        &[Fickle, Hasty, Hasty],
        &[Fickle, Fickle, Patient],
        &[Fickle, Fickle, Fickle],
        &[Fickle, Patient, Hasty],
        &[Fickle, Patient, Patient, Hasty],
    ] {
        orders += try_all(habits, &mut Vec::new());
    }
    assert!(orders > 10_000, "{orders} orders are too few to be all");
}
