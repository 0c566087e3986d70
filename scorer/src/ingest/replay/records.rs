//! Reads single records of a partition, as many of them in one go as stand close together.

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;

use super::ReplayError;
use super::log::Log;
use crate::kafka::Next;

/// How many records are read over rather than asked for anew: about as many as come with one answer of a broker, which is as long
/// on its way.
const READ_OVER_MAX: i64 = 2_000;

/// How often a partition may be cut while it is read before that is no accident.
const CUTS_MAX: usize = 5;

/// Why a record is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Removed,
    BeyondEnd,
    Partition,
}

impl Gone {
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Removed => "retention or compaction has removed the record",
            Self::BeyondEnd => {
                "the log ends before the record: the topic was made anew, or is another cluster's"
            }
            Self::Partition => "there is no such topic or partition any more",
        }
    }
}

/// Reads the records of one partition at these offsets, which go up, and hands over each of them, or why it is not there. `ends` are
/// where the partition begins and ends.
pub(super) fn read<K: Copy>(
    log: &Log,
    (topic, partition, ends): (&str, i32, Option<(i64, i64)>),
    wanted: &[(i64, K)],
    mut each: impl FnMut((i64, K), Result<&BorrowedMessage<'_>, Gone>) -> Result<(), ReplayError>,
) -> Result<(), ReplayError> {
    let mut begin = ends.map_or(0, |(begin, _)| begin);
    let mut wanted = wanted.iter().copied().peekable();
    // The offset that comes next; unknown until something was asked for.
    let mut next: Option<i64> = None;
    let mut cuts = 0;
    while let Some(&(offset, known)) = wanted.peek() {
        let gone = match ends {
            None => Some(Gone::Partition),
            Some(_) if offset < begin => Some(Gone::Removed),
            Some((_, end)) if offset >= end => Some(Gone::BeyondEnd),
            Some(_) => None,
        };
        if let Some(gone) = gone {
            each((offset, known), Err(gone))?;
            wanted.next();
            continue;
        }
        if next.is_none_or(|next| offset - next > READ_OVER_MAX) {
            log.read_at(topic, std::iter::once((partition, offset)))?;
            next = Some(offset);
        }
        match log.next()? {
            Next::Record(message) => {
                let at = message.offset();
                // Of what was read over before.
                if message.partition() != partition || next.is_some_and(|next| at < next) {
                    continue;
                }
                while let Some((passed, known)) = wanted.next_if(|(offset, _)| *offset < at) {
                    each((passed, known), Err(Gone::Removed))?;
                }
                if let Some((offset, known)) = wanted.next_if(|(offset, _)| *offset == at) {
                    each((offset, known), Ok(&message))?;
                }
                next = Some(at + 1);
            }
            // The last offsets of a log may hold no record.
            Next::End(ended) if ended == partition => {
                for (offset, known) in wanted.by_ref() {
                    each((offset, known), Err(Gone::Removed))?;
                }
            }
            Next::End(_) => {}
            Next::Cut => {
                cuts += 1;
                let now = log.ends(topic)?.get(&partition).copied();
                begin = now.map_or(i64::MAX, |(begin, _)| begin);
                next = None;
                if cuts > CUTS_MAX {
                    let topic = topic.to_owned();
                    return Err(ReplayError::Cut { topic });
                }
            }
        }
    }
    Ok(())
}
