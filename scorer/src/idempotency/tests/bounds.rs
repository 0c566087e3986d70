//! What is kept, beside a model of it that is too simple to be wrong: a list of all answers ever given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::running::{Bytes, Running};
use super::super::shard::{Bounds, Entered, OVERHEAD_BYTES, Shard};
use super::super::{Identity, OnConflict};
use crate::clock;

const KEEP_S: u64 = 5;
const ENTRIES_MAX: usize = 4;
const BYTES_MAX: usize = 4 * OVERHEAD_BYTES;

#[derive(Clone, Debug)]
enum Act {
    /// A request for an id with a content; a leader answers at once, with so many bytes.
    Ask(u8, u8, u8),
    Pass(u8),
    Expire,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..7_u8, 0..2_u8, 0..200_u8).prop_map(|(id, content, size)| Act::Ask(id, content, size)),
        2 => (0..4_u8).prop_map(Act::Pass),
        1 => Just(Act::Expire),
    ];
    vec(act, 0..120)
}

/// An answer that was given: to whom, what, and whether another one for the id came since.
struct GivenAnswer {
    id: u8,
    content: u8,
    bytes: Bytes,
    expires_at: Instant,
    replaced: bool,
}

#[derive(Default)]
struct Model {
    given: Vec<GivenAnswer>,
    /// Those before are let go.
    first: usize,
}

impl Model {
    fn find(&self, id: u8, now: Instant) -> Option<&GivenAnswer> {
        let kept = self.given[self.first..].iter();
        kept.rev()
            .find(|given| given.id == id && !given.replaced)
            .filter(|given| now < given.expires_at)
    }

    fn replace(&mut self, id: u8) {
        for given in self.given.iter_mut().filter(|given| given.id == id) {
            given.replaced = true;
        }
    }

    fn bytes(&self) -> usize {
        let kept = self.given[self.first..]
            .iter()
            .filter(|given| !given.replaced);
        kept.map(|given| OVERHEAD_BYTES + given.bytes.len()).sum()
    }

    fn answers(&self) -> usize {
        let kept = self.given[self.first..].iter();
        kept.filter(|given| !given.replaced).count()
    }

    /// Lets the oldest go until the rest fits; how many of them could still be asked for.
    fn make_room(&mut self) -> usize {
        let mut gone = 0;
        while self.given.len() - self.first > ENTRIES_MAX || self.bytes() > BYTES_MAX {
            gone += usize::from(!self.given[self.first].replaced);
            self.first += 1;
        }
        gone
    }

    fn expire(&mut self, now: Instant) {
        while self
            .given
            .get(self.first)
            .is_some_and(|given| given.expires_at <= now)
        {
            self.first += 1;
        }
    }
}

/// One request against both; what is decided is told apart by its number.
fn ask(
    (shard, model): (&mut Shard, &mut Model),
    bounds: &Bounds,
    (id, content, size): (u8, u8, u8),
    now: Instant,
) -> Result<(), TestCaseError> {
    let of = Identity {
        id: id.into(),
        content: content.into(),
    };
    let known = model.find(id, now);
    match shard.enter(of, bounds, now) {
        Entered::Take(bytes) => {
            let known = known.expect("answered what is not kept");
            prop_assert_eq!(known.content, content);
            prop_assert_eq!(&known.bytes, &bytes);
        }
        Entered::Refuse => {
            prop_assert_eq!(bounds.on_conflict, OnConflict::Refuse);
            prop_assert!(known.is_some_and(|known| known.content != content));
        }
        Entered::Wait(_) => prop_assert!(false, "nothing is in progress"),
        Entered::Lead {
            running,
            conflicting,
        } => {
            prop_assert_eq!(known.is_some(), conflicting);
            prop_assert!(known.is_none_or(|known| known.content != content));
            model.replace(id);
            // A decision that was never kept changes nothing.
            let stranger = Arc::new(Running::new(of.content));
            let nothing: Bytes = Vec::new().into();
            prop_assert_eq!(shard.keep(of.id, &stranger, nothing, bounds, now), 0);
            let bytes: Bytes = vec![size; usize::from(size)].into();
            let gone = shard.keep(of.id, &running, Arc::clone(&bytes), bounds, now);
            let expires_at = now + bounds.keep;
            model.given.push(GivenAnswer {
                id,
                content,
                bytes,
                expires_at,
                replaced: false,
            });
            prop_assert_eq!(gone, model.make_room());
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_kept_equals_the_list_of_all_answers(acts in acts(), decide in any::<bool>()) {
        let on_conflict = if decide { OnConflict::Decide } else { OnConflict::Refuse };
        let keep = Duration::from_secs(KEEP_S);
        let bounds = Bounds { keep, entries_max: ENTRIES_MAX, bytes_max: BYTES_MAX, on_conflict };
        let (mut shard, mut model) = (Shard::default(), Model::default());
        let mut now = clock::instant();
        for act in acts {
            match act {
                Act::Ask(id, content, size) => {
                    ask((&mut shard, &mut model), &bounds, (id, content, size), now)?;
                }
                Act::Pass(seconds) => now += Duration::from_secs(seconds.into()),
                Act::Expire => {
                    shard.expire(now);
                    model.expire(now);
                }
            }
            prop_assert_eq!(shard.answers(), model.answers());
            prop_assert_eq!(shard.bytes(), model.bytes());
            prop_assert!(shard.answers() <= ENTRIES_MAX && shard.bytes() <= BYTES_MAX);
        }
    }
}
