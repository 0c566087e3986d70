//! Reads the topic of dead letters, up to where it ends now: which records they are about, and which of those were sent again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use tollgate_types::EventTime;

use super::groups::Groups;
use super::log::Log;
use super::{ReplayError, Step, Window};
use crate::config::KafkaConfig;
use crate::ingest::letter::{Letter, Place, Says, written_at};
use crate::ingest::start;
use crate::kafka::Next;

/// Records that letters may be about: some 100 MB of memory.
const RECORDS_MAX: usize = 1_000_000;

/// What letters say of a topic's records, by partition and offset.
pub(super) type Places = BTreeMap<(i32, i64), Known>;

/// What letters say of one record. Each instance of the service writes its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// The group of its error; `None` if no letter says why it was refused, or none that is looked at.
    group: Option<usize>,
    replayed: bool,
    /// In which partition of the topic of letters its letter is, and since when.
    pub(super) letter_partition: i32,
    pub(super) written_at: EventTime,
}

impl Known {
    /// Whether it was refused and nobody has sent it again.
    pub(super) const fn is_open(&self) -> bool {
        self.group.is_some() && !self.replayed
    }
}

pub(super) struct Letters {
    topics: BTreeMap<String, Places>,
    /// Records in all of them.
    count: usize,
    errors: Groups,
    /// Records in the topic that are no letters of ours.
    pub(super) foreign: u64,
}

impl Letters {
    pub(super) fn read(
        log: &Log,
        config: &KafkaConfig,
        window: Window,
        tell: &dyn Fn(Step),
    ) -> Result<Self, ReplayError> {
        let topic = config.dead_letters_topic.as_str();
        let known = window
            .since
            .map_or(start::Known::Nothing, start::Known::Retention);
        let starts = log.starts(topic, &known)?;
        if starts.is_empty() {
            let topic = topic.to_owned();
            return Err(ReplayError::NoTopic { topic });
        }
        let mut letters = Self {
            topics: BTreeMap::new(),
            count: 0,
            errors: Groups::default(),
            foreign: 0,
        };
        let with_letters = starts.iter().filter(|start| start.offset < start.end);
        let mut left: BTreeMap<i32, i64> = with_letters
            .map(|start| (start.partition, start.end))
            .collect();
        let of: i64 = starts
            .iter()
            .map(|start| (start.end - start.offset).max(0))
            .sum();
        let of = u64::try_from(of).unwrap_or(0);
        let all = starts
            .iter()
            .filter(|start| left.contains_key(&start.partition));
        log.read_at(topic, all.map(|start| (start.partition, start.offset)))?;
        let mut done = 0;
        while !left.is_empty() {
            let message = match log.next()? {
                Next::Record(message) => message,
                Next::End(partition) => {
                    left.remove(&partition);
                    continue;
                }
                Next::Cut => {
                    return Err(ReplayError::Cut {
                        topic: topic.to_owned(),
                    });
                }
            };
            let partition = message.partition();
            // What comes behind the end is for the next replay.
            let Some(&end) = left.get(&partition).filter(|&&end| message.offset() < end) else {
                continue;
            };
            letters.add(&message, window)?;
            if message.offset() + 1 >= end {
                left.remove(&partition);
            }
            done += 1;
            let doing = "reading letters";
            tell(Step { doing, done, of });
        }
        Ok(letters)
    }

    fn add(&mut self, message: &BorrowedMessage<'_>, window: Window) -> Result<(), ReplayError> {
        let written_at = written_at(message).unwrap_or(EventTime::MIN);
        let Some(Letter { place, says }) = Letter::read(message) else {
            self.foreign += u64::from(window.has(written_at));
            return Ok(());
        };
        let error = match says {
            // Whenever that was.
            Says::Replayed => None,
            Says::Refused { error } if window.has(written_at) => Some(error),
            Says::Refused { .. } => return Ok(()),
        };
        let group = error.map(|error| self.errors.group(error));
        let known = self.known(place)?;
        match group {
            None => known.replayed = true,
            Some(_) => {
                known.group = group;
                known.letter_partition = message.partition();
                known.written_at = written_at;
            }
        }
        Ok(())
    }

    fn known(&mut self, place: Place<'_>) -> Result<&mut Known, ReplayError> {
        let places = self.topics.entry(place.topic.to_owned()).or_default();
        match places.entry((place.partition, place.offset)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(_) if self.count >= RECORDS_MAX => {
                Err(ReplayError::TooMany { max: RECORDS_MAX })
            }
            Entry::Vacant(unknown) => {
                self.count += 1;
                Ok(unknown.insert(Known {
                    group: None,
                    replayed: false,
                    letter_partition: 0,
                    written_at: EventTime::MIN,
                }))
            }
        }
    }

    /// Records that were refused.
    pub(super) fn records(&self) -> u64 {
        self.count_of(|known| known.group.is_some())
    }

    /// Those of them that were sent again.
    pub(super) fn replayed(&self) -> u64 {
        self.count_of(|known| known.group.is_some() && known.replayed)
    }

    fn count_of(&self, is: impl Fn(&Known) -> bool) -> u64 {
        let all = self.topics.values().flat_map(Places::values);
        all.map(|known| u64::from(is(known))).sum()
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, &Places)> {
        let topics = self.topics.iter();
        topics.map(|(topic, places)| (topic.as_str(), places))
    }

    /// What was wrong with those that were not sent again.
    pub(super) fn into_errors(mut self) -> Groups {
        for (topic, places) in &self.topics {
            for (&(partition, offset), known) in places {
                let place = Place {
                    topic,
                    partition,
                    offset,
                };
                if let Some(group) = known.group.filter(|_| !known.replayed) {
                    self.errors.add_to(group, place, known.written_at);
                }
            }
        }
        self.errors
    }
}
