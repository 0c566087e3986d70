//! Looking for a decision's record in the topic of decisions.
//!
//! The topic is keyed by card and not by decision, so what was written since some moment is read, to where the topic ended when
//! the search began.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset};
use tollgate_proto::v1;
use tollgate_types::EventTime;

use super::saved;
use crate::config::KafkaConfig;
use crate::kafka::{self, Next, Reports, Silent};

/// How long to wait for a broker's answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Most records that are read: some minutes of reading, hours of a busy service.
const RECORDS_MAX: u64 = 50_000_000;

/// How long behind the record of an answer that of its late verdict may be, and then some.
const LATE_VERDICT_MAX_MS: i64 = 3_600_000;

/// Which records are looked for.
pub(super) struct Wanted<'w> {
    pub(super) decision: &'w str,
    pub(super) card: Option<&'w str>,
    pub(super) since: EventTime,
}

/// What is found is the answer's record first, then its late verdict's. Blocks.
pub(super) fn find(
    config: &KafkaConfig,
    wanted: &Wanted<'_>,
) -> anyhow::Result<Vec<v1::DecisionRecord>> {
    if config.bootstrap.is_empty() {
        bail!(
            "no Kafka is configured to look for the record in: set kafka.bootstrap, or give the record in a file with --record"
        );
    }
    let config = kafka::settle(config)?;
    let topic = &config.decisions_topic;
    let cannot = || format!("cannot read {topic} from {}", config.bootstrap);
    let mut search = Search::begin(&config, wanted).with_context(cannot)?;
    search.run().with_context(cannot)?;
    let Search {
        mut found, read, ..
    } = search;
    if found.is_empty() {
        let of_card = wanted.card.map(|card| format!(" of card `{card}`"));
        bail!(
            "no record of decision `{}`{} is among the {read} that {topic} has since {}; say with --since when it was made, \
             such as --since 2026-11-30 or --since 30d",
            wanted.decision,
            of_card.unwrap_or_default(),
            wanted.since,
        );
    }
    found.sort_by_key(|record| record.late_verdict);
    Ok(found)
}

/// A search and how far it is.
struct Search<'w> {
    consumer: BaseConsumer<Reports>,
    wanted: &'w Wanted<'w>,
    /// Partitions that are still read, and where each ended.
    ends: BTreeMap<i32, i64>,
    read: u64,
    found: Vec<v1::DecisionRecord>,
    /// In milliseconds since 1970: what was written later is of no interest.
    until_ms: i64,
}

impl<'w> Search<'w> {
    fn begin(config: &KafkaConfig, wanted: &'w Wanted<'w>) -> anyhow::Result<Self> {
        let consumer: BaseConsumer<Reports> = kafka::consumer_config(config, &config.bootstrap)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .create_with_context(Reports)?;
        let topic = &config.decisions_topic;
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER_MAX)?;
        let found = metadata.topics().iter();
        let partitions: Vec<i32> = found
            .flat_map(|topic| topic.partitions())
            .map(|partition| partition.id())
            .collect();
        if partitions.is_empty() {
            bail!("there is no such topic; kafka.decisions_topic names it");
        }
        let mut ends = BTreeMap::new();
        for partition in partitions {
            let (begin, end) = consumer.fetch_watermarks(topic, partition, ANSWER_MAX)?;
            if begin < end {
                ends.insert(partition, end);
            }
        }
        let since_ms = (wanted.since.micros() / 1_000).max(0);
        let since = at_time(&consumer, topic, ends.keys(), since_ms)?;
        // Of a partition in which nothing was written since, a broker names no offset; one that names none for the beginning of
        // time either cannot look times up, and all is read then.
        let looks_up = !since.is_empty() || !at_time(&consumer, topic, ends.keys(), 0)?.is_empty();
        ends.retain(|partition, _| !looks_up || since.contains_key(partition));
        let at = ends.keys().map(|&partition| {
            let offset = since.get(&partition).copied();
            let offset = offset.map_or(Offset::Beginning, Offset::Offset);
            (partition, offset)
        });
        consumer.assign(&kafka::places(topic, at)?)?;
        Ok(Self {
            consumer,
            wanted,
            ends,
            read: 0,
            found: Vec::new(),
            until_ms: i64::MAX,
        })
    }

    /// Reads every partition to where it ended, or until all is found.
    fn run(&mut self) -> anyhow::Result<()> {
        // Messages borrow the consumer, and the rest of the search changes meanwhile.
        let Self {
            consumer,
            wanted,
            ends,
            read,
            found,
            until_ms,
        } = self;
        while !ends.is_empty() {
            let message = match next(consumer)? {
                Next::Record(message) => message,
                Next::End(partition) => {
                    ends.remove(&partition);
                    continue;
                }
                Next::Cut => bail!("the topic was cut while it was read; try again"),
            };
            let partition = message.partition();
            if is_past(&message, ends.get(&partition).copied(), *until_ms) {
                ends.remove(&partition);
            }
            *read += 1;
            if let Some(record) = wanted.record(&message)? {
                // Its late verdict has the same key, and so is in the same partition, behind it.
                ends.retain(|other, _| *other == partition);
                let written = message.timestamp().to_millis().unwrap_or(i64::MAX);
                *until_ms = written.saturating_add(LATE_VERDICT_MAX_MS);
                // A producer may write a record twice, though it tries not to.
                if !found.contains(&record) {
                    found.push(record);
                }
            }
            if *read == RECORDS_MAX {
                bail!(
                    "{RECORDS_MAX} records were read without an end; narrow the search down with --since and --card"
                );
            }
        }
        Ok(())
    }
}

fn next(consumer: &BaseConsumer<Reports>) -> anyhow::Result<Next<'_>> {
    kafka::next(consumer).map_err(|Silent { waited, last }| {
        let why = last.map_or_else(String::new, |error| format!("; the last error is: {error}"));
        anyhow!("no record came for {} s{why}", waited.as_secs())
    })
}

/// The first offset that was written at or after a moment, where there is one.
fn at_time<'p>(
    consumer: &BaseConsumer<Reports>,
    topic: &str,
    partitions: impl Iterator<Item = &'p i32>,
    at_ms: i64,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let at = partitions.map(|&partition| (partition, Offset::Offset(at_ms)));
    let asked = kafka::places(topic, at)?;
    if asked.count() == 0 {
        return Ok(BTreeMap::new());
    }
    let answers = consumer.offsets_for_times(asked, ANSWER_MAX)?;
    let answers = answers.elements();
    let found = answers.iter().filter_map(|answer| match answer.offset() {
        Offset::Offset(offset) if offset >= 0 => Some((answer.partition(), offset)),
        _ => None,
    });
    Ok(found.collect())
}

/// Whether nothing behind this message is of interest in its partition.
fn is_past(message: &BorrowedMessage<'_>, end: Option<i64>, until_ms: i64) -> bool {
    let is_last = end.is_none_or(|end| message.offset() + 1 >= end);
    is_last || message.timestamp().to_millis() > Some(until_ms)
}

impl Wanted<'_> {
    fn record(&self, message: &BorrowedMessage<'_>) -> anyhow::Result<Option<v1::DecisionRecord>> {
        if self
            .card
            .is_some_and(|card| message.key() != Some(card.as_bytes()))
        {
            return Ok(None);
        }
        let bytes = message.payload().unwrap_or_default();
        // An id stands in both forms as it is, which is looked for sooner than a record is decoded.
        let id = self.decision.as_bytes();
        if id.is_empty() || !bytes.windows(id.len()).any(|window| window == id) {
            return Ok(None);
        }
        let record = saved::decode(bytes).with_context(|| {
            let (partition, offset) = (message.partition(), message.offset());
            format!("the record at partition {partition}, offset {offset}")
        })?;
        let response = record.response.as_ref();
        let is_wanted = response.is_some_and(|response| response.decision_id == self.decision);
        Ok(is_wanted.then_some(record))
    }
}
