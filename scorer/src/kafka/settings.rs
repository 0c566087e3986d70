//! Settings that go to librdkafka as they are: read from where they are kept, and checked before anything is started.
//!
//! Some are secret. Errors name such a setting and say nothing of its value, of which librdkafka's own words may have a part.

use std::io;
use std::path::PathBuf;

use rdkafka::error::KafkaError;

use super::client_config;
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
    match client_config(&settled, &settled.bootstrap).create_native_config() {
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

fn is_secret(config: &KafkaConfig, name: &str) -> bool {
    config.secret_files.contains_key(name) || SECRET.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
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
}
