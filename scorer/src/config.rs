//! `tollgate.yaml`: where to listen, what to connect to, how long to take.
//!
//! Every key can be overridden from the environment: `TOLLGATE_GRPC__LISTEN=0.0.0.0:7070` sets `grpc.listen`.
//! The whole is validated before a port opens.

mod decision_log;
mod grpc;
mod idempotency;
mod kafka;
mod late_verdict;
mod model;
mod overload;
mod snapshot;
mod watch;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_rules::Guard;
use tollgate_types::Span;

pub(crate) use decision_log::DecisionLogConfig;
pub use decision_log::{Durability, WhenUnlogged};
pub(crate) use grpc::GrpcConfig;
pub(crate) use idempotency::{IdempotencyConfig, OnConflict};
pub use kafka::Format;
pub(crate) use kafka::KafkaConfig;
pub(crate) use late_verdict::LateVerdictConfig;
pub(crate) use model::ModelConfig;
pub(crate) use overload::{ChannelPriorities, OverloadConfig};
pub(crate) use snapshot::SnapshotConfig;
pub(crate) use watch::WatchConfig;

/// Longest budget that can be configured: the contract is an answer within 100 ms.
const BUDGET_MS_MAX: u64 = 100;

/// Most threads that read transactions: as many shares as a topic may have.
const READERS_MAX: u64 = crate::ingest::Share::COUNT_MAX as u64;

const ENVIRONMENT_PREFIX: &str = "TOLLGATE_";

/// Tells tests and `cargo xtask` where ONNX Runtime is; no key of the configuration.
const LIBRARY_OF_TESTS: &str = "TOLLGATE_ONNXRUNTIME";

/// The whole configuration. Every key has a default, so an empty file is a valid one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub policy: PolicyConfig,
    pub grpc: GrpcConfig,
    pub admin: AdminConfig,
    pub kafka: KafkaConfig,
    pub decision_log: DecisionLogConfig,
    pub deadline: DeadlineConfig,
    pub overload: OverloadConfig,
    pub features: FeaturesConfig,
    pub idempotency: IdempotencyConfig,
    pub model: ModelConfig,
    pub watch: WatchConfig,
    pub late_verdict: LateVerdictConfig,
    pub snapshot: SnapshotConfig,
}

/// What decisions are made by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// The policy folder.
    pub path: PathBuf,
    /// Loaded policies that are kept, the live one included, so that one can be rolled back to.
    pub versions_max: usize,
    /// How often the folder is looked at where the file system does not tell of changes.
    pub poll_s: u64,
    pub guard: GuardConfig,
}

/// What rules that decline are held to where they do not say it themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// `false`: only rules with a guard of their own are watched.
    pub enabled: bool,
    /// Share of all transactions in a period that one rule may decline, in percent.
    pub share_max_percent: u32,
    pub period_s: u64,
    /// With fewer transactions in the period a share says nothing.
    pub transactions_min: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Address of `/metrics`, `/healthz`, `/readyz` and `/status`; port 0 takes a free one.
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadlineConfig {
    /// Longest time from arrival to answer, 1 to 100 ms.
    pub budget_ms: u64,
    /// Taken off the client's own deadline, for the way back.
    pub margin_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeaturesConfig {
    /// Ingest further behind than this degrades decisions to `STALE_FEATURES`.
    pub stale_after_s: u64,
    /// How long a scored transaction counts without its echo from Kafka.
    pub in_flight_expires_s: u64,
    /// How often events beyond retention are let go.
    pub evict_every_s: u64,
    /// Memory for histories, in MiB; beyond, the entities active least recently are let go. 0 takes half of what
    /// the machine, or the container, has.
    pub memory_mib_max: u64,
    /// Events kept of one entity where the schema does not say; beyond, its oldest are let go.
    pub events_per_entity_max: usize,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            path: "policy".into(),
            versions_max: 10,
            poll_s: 5,
            guard: GuardConfig::default(),
        }
    }
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            share_max_percent: 10,
            period_s: 600,
            transactions_min: 1_000,
        }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7071)),
        }
    }
}

impl Default for DeadlineConfig {
    fn default() -> Self {
        Self {
            budget_ms: 80,
            margin_ms: 5,
        }
    }
}

impl Default for FeaturesConfig {
    fn default() -> Self {
        Self {
            stale_after_s: 30,
            in_flight_expires_s: 600,
            evict_every_s: 60,
            memory_mib_max: 0,
            events_per_entity_max: 100_000,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}", .0.render())]
    File(tollgate_source::Diagnostics),
    #[error("{variable}: {error}")]
    Environment { variable: String, error: String },
    #[error("{0}")]
    Values(String),
}

impl Config {
    /// Reads the file, if one is named, and what the environment overrides.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut config = match file {
            Some(path) => Self::read(path).map_err(ConfigError::File)?,
            None => Self::default(),
        };
        for (variable, value) in environment {
            let Some(key) = variable.strip_prefix(ENVIRONMENT_PREFIX) else {
                continue;
            };
            if variable == LIBRARY_OF_TESTS {
                continue;
            }
            config = config
                .overridden(&key.to_ascii_lowercase(), &value)
                .map_err(|error| ConfigError::Environment { variable, error })?;
        }
        config.validate()?;
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self, tollgate_source::Diagnostics> {
        let file = tollgate_source::read(path, &path.display().to_string())?;
        Ok(tollgate_source::from_str(&file)?)
    }

    /// The configuration with one key set; `key` is its path joined by `__`.
    fn overridden(&self, key: &str, value: &str) -> Result<Self, String> {
        if !key.contains("__") {
            return Err(
                "is no key; write section and key with two underscores between them, such as \
                 TOLLGATE_GRPC__LISTEN"
                    .to_owned(),
            );
        }
        let mut root = serde_json::to_value(self).map_err(|error| error.to_string())?;
        let mut place = &mut root;
        for (depth, name) in key.split("__").enumerate() {
            let open = ["kafka__properties__", "kafka__secret_files__"];
            let is_property = depth == 2 && open.iter().any(|section| key.starts_with(section));
            let map = place
                .as_object_mut()
                .ok_or_else(|| format!("`{name}` is in no section"))?;
            place = if is_property {
                // An open map, whose names have dots, which no variable can.
                map.entry(name.replace('_', ".")).or_insert(Value::Null)
            } else {
                let known = map.keys().cloned().collect::<Vec<_>>().join(", ");
                map.get_mut(name)
                    .ok_or_else(|| format!("no key is named `{name}`; there are {known}"))?
            };
        }
        if place.is_object() {
            // Said here: an error about the whole section would show what was set, and that may be a secret.
            return Err("is a section; set each of its keys by a variable of its own".to_owned());
        }
        let text = Value::String(value.to_owned());
        *place = match place {
            Value::Number(_) | Value::Bool(_) => serde_json::from_str(value).unwrap_or(text),
            _ => text,
        };
        serde_json::from_value(root).map_err(|error| error.to_string())
    }

    /// What a service on brokers of its own should have and has not, each with what comes of it.
    pub(crate) fn lacks(&self) -> impl Iterator<Item = &'static str> {
        let spool = (!self.decision_log.has_spool()).then_some(
            "decision_log.spool_path is empty: decisions are lost if Kafka is away for longer than memory has room, or when the \
             service stops; set it to a folder of this instance alone",
        );
        let snapshot = (!self.snapshot.is_on()).then_some(
            "snapshot.path is empty: each start reads the log as far back as anything is retained; set it to a folder of this \
             instance alone",
        );
        spool.into_iter().chain(snapshot)
    }

    /// Everything that is wrong with the values, in one error.
    fn validate(&self) -> Result<(), ConfigError> {
        let mut wrong = Vec::new();
        let mut range = |key: &str, value: u64, allowed: RangeInclusive<u64>| {
            if !allowed.contains(&value) {
                let (from, to) = allowed.into_inner();
                wrong.push(format!("{key}: {value} is not between {from} and {to}"));
            }
        };
        range(
            "deadline.budget_ms",
            self.deadline.budget_ms,
            1..=BUDGET_MS_MAX,
        );
        range(
            "deadline.margin_ms",
            self.deadline.margin_ms,
            0..=BUDGET_MS_MAX,
        );
        self.model.ranges(&mut range);
        self.watch.ranges(&mut range);
        self.snapshot.ranges(&mut range);
        self.decision_log.ranges(&mut range);
        self.policy.ranges(&mut range);
        self.features.ranges(&mut range);
        let expires_s = self.features.in_flight_expires_s;
        self.late_verdict.ranges(expires_s, &mut range);
        self.grpc.ranges(&mut range);
        self.idempotency.ranges(&mut range);
        self.overload.ranges(&mut range);
        let partitions = u64::try_from(self.kafka.embedded_partitions).unwrap_or(0);
        range("kafka.embedded_partitions", partitions, 1..=1000);
        let readers = u64::try_from(self.kafka.readers).unwrap_or(u64::MAX);
        range("kafka.readers", readers, 1..=READERS_MAX);
        self.kafka.check(&mut wrong);
        self.decision_log.check(&self.snapshot.path, &mut wrong);
        if self.grpc.listen == self.admin.listen && self.grpc.listen.port() != 0 {
            let address = self.grpc.listen;
            wrong.push(format!(
                "admin.listen: {address} is already grpc.listen; give it another port"
            ));
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Values(wrong.join("\n")))
        }
    }
}

impl PolicyConfig {
    /// Holds each value against the range it may have.
    fn ranges(&self, range: &mut impl FnMut(&str, u64, RangeInclusive<u64>)) {
        let versions_max = u64::try_from(self.versions_max).unwrap_or(u64::MAX);
        range("policy.versions_max", versions_max, 1..=1_000);
        range("policy.poll_s", self.poll_s, 1..=3_600);
        let guard = &self.guard;
        let share_max = guard.share_max_percent.into();
        range("policy.guard.share_max_percent", share_max, 1..=100);
        range("policy.guard.period_s", guard.period_s, 60..=86_400);
        let transactions_min = guard.transactions_min.into();
        range(
            "policy.guard.transactions_min",
            transactions_min,
            10..=10_000_000,
        );
    }
}

impl GuardConfig {
    /// The guard of rules that say nothing; `None` if they have none.
    pub(crate) fn guard(&self) -> Option<Guard> {
        self.enabled.then(|| Guard {
            share_max_per_million: self.share_max_percent.saturating_mul(10_000),
            period: Span::from_seconds(i64::try_from(self.period_s).unwrap_or(i64::MAX)),
            transactions_min: self.transactions_min,
        })
    }
}

impl FeaturesConfig {
    /// Holds each value against the range it may have.
    fn ranges(&self, range: &mut impl FnMut(&str, u64, RangeInclusive<u64>)) {
        range("features.stale_after_s", self.stale_after_s, 1..=86_400);
        range(
            "features.in_flight_expires_s",
            self.in_flight_expires_s,
            1..=86_400,
        );
        range("features.evict_every_s", self.evict_every_s, 1..=86_400);
        range(
            "features.events_per_entity_max",
            u64::try_from(self.events_per_entity_max).unwrap_or(u64::MAX),
            256..=100_000_000,
        );
        if self.memory_mib_max != 0 {
            range("features.memory_mib_max", self.memory_mib_max, 64..=1 << 24);
        }
    }
}

impl DeadlineConfig {
    pub const fn budget(&self) -> Duration {
        Duration::from_millis(self.budget_ms)
    }

    pub const fn margin(&self) -> Duration {
        Duration::from_millis(self.margin_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(None, owned)
    }

    #[test]
    fn what_is_missing_is_told_until_it_is_set() {
        let (spool, snapshots) = (
            "TOLLGATE_DECISION_LOG__SPOOL_PATH",
            "TOLLGATE_SNAPSHOT__PATH",
        );
        let lacks = |variables: &[(&str, &str)]| load(variables).unwrap().lacks().count();
        assert_eq!(lacks(&[]), 2);
        assert_eq!(lacks(&[(spool, "/a")]), 1);
        assert_eq!(lacks(&[(spool, "/a"), (snapshots, "/b")]), 0);
    }

    #[test]
    fn the_environment_overrides_any_key() {
        let config = load(&[
            ("TOLLGATE_GRPC__LISTEN", "0.0.0.0:9000"),
            ("TOLLGATE_DEADLINE__BUDGET_MS", "40"),
            ("TOLLGATE_KAFKA__BOOTSTRAP", "a:9092"),
            ("TOLLGATE_POLICY__GUARD__ENABLED", "false"),
            ("TOLLGATE_KAFKA__PROPERTIES__SECURITY_PROTOCOL", "ssl"),
            ("TOLLGATE_KAFKA__SECRET_FILES__SASL_PASSWORD", "/run/it"),
            ("HOME", "/root"),
        ])
        .unwrap();
        assert_eq!(config.grpc.listen.port(), 9000);
        assert_eq!(config.deadline.budget_ms, 40);
        assert_eq!(config.kafka.bootstrap, "a:9092");
        assert_eq!(config.policy.guard.guard(), None);
        assert_eq!(config.kafka.properties["security.protocol"], "ssl");
        let file = &config.kafka.secret_files["sasl.password"];
        assert_eq!(file, Path::new("/run/it"));
    }

    #[test]
    fn a_section_that_is_set_as_a_whole_is_refused_without_showing_what_it_was_set_to() {
        let value = r#"{"sasl.password": "hunter2"}"#;
        for section in ["TOLLGATE_KAFKA__PROPERTIES", "TOLLGATE_KAFKA__SECRET_FILES"] {
            let error = load(&[(section, value)]).unwrap_err().to_string();
            assert!(
                error.contains(section) && error.contains("is a section"),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_wrong_override_names_its_variable_and_what_there_is() {
        let cases = [
            ("TOLLGATE_GRPC__LISTN", "x", "listen"),
            ("TOLLGATE_GRPC__LISTEN", "nowhere", "TOLLGATE_GRPC__LISTEN"),
            (
                "TOLLGATE_DEADLINE__BUDGET_MS",
                "fast",
                "TOLLGATE_DEADLINE__BUDGET_MS",
            ),
            ("TOLLGATE_DEADLINE__BUDGET_MS", "200", "between 1 and 100"),
            ("TOLLGATE_MODEL__THREADS", "0", "between 1 and 256"),
            (
                "TOLLGATE_KAFKA__LABELS_TOPIC",
                "tollgate.decisions",
                "kafka.decisions_topic",
            ),
            ("TOLLGATE_KAFKA__FORMATS__LABELS", "avro", "json"),
            (
                "TOLLGATE_DECISION_LOG__DURABILITY",
                "spool-first",
                "set decision_log.spool_path",
            ),
            (
                "TOLLGATE_KAFKA__FORMATS__DECISIONS",
                "confluent_protobuf",
                "schema registry",
            ),
            (
                "TOLLGATE_ADMIN__LISTEN",
                "127.0.0.1:7070",
                "already grpc.listen; give it another port",
            ),
            (
                "TOLLGATE_GRPC_LISTEN",
                "127.0.0.1:1",
                "TOLLGATE_GRPC__LISTEN",
            ),
        ];
        for (variable, value, expected) in cases {
            let error = load(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.contains(expected), "{variable}={value}: {error}");
        }
    }
}
