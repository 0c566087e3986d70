//! Settings that go to librdkafka as they are: read from where they are kept, and checked before anything is started.
//!
//! Some are secret. Errors name such a setting and say nothing of its value, of which librdkafka's own words may have a part.

use std::io;
use std::path::PathBuf;

use rdkafka::error::KafkaError;

use super::consumer_config;
use crate::config::KafkaConfig;

/// Parts of names of settings whose value nobody else may see.
const SECRET: [&str; 6] = [
    "password",
    "secret",
    "pem",
    "key",
    "token",
    "oauthbearer.config",
];

/// Settings that readers and writers need as they are, under each of their names, so that whatever was given would be passed over.
const OURS: [&str; 11] = [
    "acks",
    "auto.offset.reset",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "enable.partition.eof",
    "linger.ms",
    "message.timeout.ms",
    "partitioner",
    "queue.buffering.max.ms",
    "request.required.acks",
];

/// Those that say where Kafka is.
const BOOTSTRAP: [&str; 2] = ["bootstrap.servers", "metadata.broker.list"];

/// Largest file of a secret: certificates have a few thousand bytes.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("kafka.secret_files.{name}: cannot read {}: {error}", .file.display())]
    File {
        name: String,
        file: PathBuf,
        error: io::Error,
    },
    #[error("kafka.secret_files.{name}: {} is larger than {FILE_BYTES_MAX} bytes", .file.display())]
    TooLarge { name: String, file: PathBuf },
    #[error("kafka.properties.{name}: {why}")]
    Property { name: String, why: String },
    #[error("kafka: {0}")]
    Other(KafkaError),
}

/// The configuration with what its files hold, if a client can be made with it.
pub(crate) fn settle(config: &KafkaConfig) -> Result<KafkaConfig, SettingsError> {
    let mut settled = config.clone();
    for (name, file) in &config.secret_files {
        let at = || (name.clone(), file.clone());
        let text = std::fs::read_to_string(file).map_err(|error| {
            let (name, file) = at();
            SettingsError::File { name, file, error }
        })?;
        if text.len() > FILE_BYTES_MAX {
            let (name, file) = at();
            return Err(SettingsError::TooLarge { name, file });
        }
        // Editors end a file with a line's end, which no password has.
        let value = text.trim_end_matches(['\r', '\n']).to_owned();
        settled.properties.insert(name.clone(), value);
    }
    if let Some((name, why)) = settled.properties.keys().find_map(|name| not_yours(name)) {
        let (name, why) = (name.to_owned(), why.to_owned());
        return Err(SettingsError::Property { name, why });
    }
    match consumer_config(&settled, &settled.bootstrap).create_native_config() {
        Ok(_) => Ok(settled),
        Err(KafkaError::ClientConfig(_, why, name, _)) => {
            let why = match is_secret(config, &name) {
                true => "is no value that librdkafka takes for it".to_owned(),
                false => why,
            };
            Err(SettingsError::Property { name, why })
        }
        Err(error) => Err(SettingsError::Other(error)),
    }
}

/// Why a setting may not be given.
fn not_yours(name: &str) -> Option<(&str, &'static str)> {
    let why = if OURS.contains(&name) {
        "is set by Tollgate; leave it out"
    } else if BOOTSTRAP.contains(&name) {
        "is set by Tollgate, to kafka.bootstrap; leave it out"
    } else if name == "transactional.id" {
        "Tollgate writes without transactions; leave it out"
    } else {
        return None;
    };
    Some((name, why))
}

fn is_secret(config: &KafkaConfig, name: &str) -> bool {
    config.secret_files.contains_key(name) || SECRET.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::super::{client_config, producer_config};
    use super::*;

    fn with(properties: &[(&str, &str)]) -> KafkaConfig {
        let mut config = KafkaConfig::default();
        for (name, value) in properties {
            let (name, value) = ((*name).to_owned(), (*value).to_owned());
            config.properties.insert(name, value);
        }
        config
    }

    #[test]
    fn a_secret_comes_from_its_file_without_the_end_of_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "open sesame\r\n").unwrap();
        let mut config = KafkaConfig::default();
        config.secret_files.insert("sasl.password".to_owned(), file);
        let settled = settle(&config).unwrap();
        assert_eq!(settled.properties["sasl.password"], "open sesame");
    }

    #[test]
    fn values_are_not_shown() {
        let config = with(&[("sasl.password", "open sesame"), ("sasl.username", "ali")]);
        let shown = format!("{config:?}");
        assert!(
            shown.contains("sasl.password") && !shown.contains("sesame"),
            "{shown}"
        );
    }

    #[test]
    fn what_librdkafka_does_not_take_is_refused_by_name() {
        let cases = [
            (
                with(&[("sasl.pasword", "open sesame")]),
                "No such configuration property",
            ),
            (
                with(&[("security.protocol", "tls")]),
                "kafka.properties.security.protocol",
            ),
        ];
        for (config, expected) in cases {
            let shown = settle(&config).unwrap_err().to_string();
            assert!(
                shown.contains(expected) && !shown.contains("sesame"),
                "{shown}"
            );
        }
        let mut config = KafkaConfig::default();
        let file = PathBuf::from("no/such/file");
        config.secret_files.insert("sasl.password".to_owned(), file);
        let shown = settle(&config).unwrap_err().to_string();
        assert!(
            shown.contains("kafka.secret_files.sasl.password"),
            "{shown}"
        );
    }

    #[test]
    fn what_tollgate_sets_itself_is_refused_by_name() {
        for name in OURS.into_iter().chain(BOOTSTRAP) {
            let shown = settle(&with(&[(name, "1")])).unwrap_err().to_string();
            let begins = format!("kafka.properties.{name}: is set by Tollgate");
            assert!(shown.starts_with(&begins), "{shown}");
            assert!(shown.ends_with("; leave it out"), "{shown}");
        }
        let shown = settle(&with(&[("transactional.id", "t")])).unwrap_err();
        assert_eq!(
            shown.to_string(),
            "kafka.properties.transactional.id: Tollgate writes without transactions; leave it out"
        );
    }

    #[test]
    fn the_group_may_be_given_and_is_that_of_consumers_alone() {
        let group = |config: &KafkaConfig| {
            let client = consumer_config(config, "");
            client.get("group.id").map(str::to_owned)
        };
        assert_eq!(group(&with(&[])).as_deref(), Some("tollgate"));
        let given = with(&[("group.id", "risk-scoring")]);
        assert!(settle(&given).is_ok());
        assert_eq!(group(&given).as_deref(), Some("risk-scoring"));
        assert_eq!(producer_config(&given, "").get("group.id"), None);
        assert_eq!(client_config(&given, "").get("group.id"), None);
    }

    #[test]
    fn every_codec_of_kafka_is_there() {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let settled = settle(&with(&[("compression.codec", codec)]));
            assert!(settled.is_ok(), "{codec}: {:?}", settled.err());
        }
    }
}
