//! `kafka`: where the log is, which topics, and in which form their records are.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// `host:port,host:port`. Empty starts the embedded broker, which keeps nothing.
    pub bootstrap: String,
    pub transactions_topic: String,
    pub labels_topic: String,
    pub decisions_topic: String,
    pub dead_letters_topic: String,
    pub formats: FormatsConfig,
    /// Threads that read transactions, each a share of the partitions. More read a long log sooner, where there are cores for them.
    pub readers: usize,
    /// Partitions of each topic of the embedded broker.
    pub embedded_partitions: i32,
    /// Further settings, handed to librdkafka as they are. Those that readers and writers need as they are cannot be given.
    pub properties: Properties,
    /// Settings like these whose values are in files, such as `sasl.password`.
    pub secret_files: BTreeMap<String, PathBuf>,
}

/// Settings by name. Shown without their values, of which some are secret.
#[derive(Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Properties(BTreeMap<String, String>);

impl Deref for Properties {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Properties {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Debug for Properties {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// In which form the records of each topic are. Dead letters are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct FormatsConfig {
    pub transactions: Format,
    pub labels: Format,
    pub decisions: Format,
}

/// A form of records: the messages of `proto/tollgate/v1/events.proto`, written in one of three ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The message in protobuf form, and nothing else.
    #[default]
    Protobuf,
    /// The message in proto3's JSON form.
    Json,
    /// The message in protobuf form behind what Confluent's serializers write: a zero, the schema's id in a registry, and
    /// which message of the schema it is.
    ConfluentProtobuf,
}

impl Format {
    /// The word in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "protobuf",
            Self::Json => "json",
            Self::ConfluentProtobuf => "confluent_protobuf",
        }
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            bootstrap: String::new(),
            transactions_topic: "tollgate.transactions".to_owned(),
            labels_topic: "tollgate.labels".to_owned(),
            decisions_topic: "tollgate.decisions".to_owned(),
            dead_letters_topic: "tollgate.dead-letters".to_owned(),
            formats: FormatsConfig::default(),
            readers: 2,
            embedded_partitions: 6,
            properties: Properties::default(),
            secret_files: BTreeMap::new(),
        }
    }
}

impl KafkaConfig {
    /// Says what is wrong with the topics and their formats.
    pub(super) fn check(&self, wrong: &mut Vec<String>) {
        let topics = [
            ("kafka.transactions_topic", &self.transactions_topic),
            ("kafka.labels_topic", &self.labels_topic),
            ("kafka.decisions_topic", &self.decisions_topic),
            ("kafka.dead_letters_topic", &self.dead_letters_topic),
        ];
        for (at, (key, topic)) in topics.into_iter().enumerate() {
            if topic.is_empty() {
                wrong.push(format!("{key}: is empty; write the topic's name"));
            } else if let Some((other, _)) = topics[..at].iter().find(|(_, name)| *name == topic) {
                wrong.push(format!(
                    "{key}: `{topic}` is already {other}; each needs its own"
                ));
            }
        }
        if self.formats.decisions == Format::ConfluentProtobuf {
            wrong.push(
                "kafka.formats.decisions: `confluent_protobuf` needs a schema registry, which the service does not talk to; \
                 write protobuf or json"
                    .to_owned(),
            );
        }
    }
}
