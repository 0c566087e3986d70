//! Every way to say to a real Apache Kafka who one is, and to have what is said encrypted, where `cargo xtask test` has
//! started brokers that ask.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod brokers;
mod common;
mod tokens;

use std::path::PathBuf;

use brokers::{Brokers, event, must_not_skip, start_unready, until, until_read};
use common::{POLICY, PUBLISHED, transaction};
use tokens::Issuer;
use tollgate_scorer::Config;

/// As in `xtask/src/kafka/security.rs`.
const USER: &str = "toll";
const PASSWORD: &str = "toll-of-tests";

/// How a client gets in, and by which of the brokers' listeners.
struct Way {
    listener: &'static str,
    mechanism: &'static str,
}

const WAYS: [Way; 7] = [
    Way {
        listener: "tls",
        mechanism: "",
    },
    Way {
        listener: "sasl",
        mechanism: "PLAIN",
    },
    Way {
        listener: "sasl",
        mechanism: "SCRAM-SHA-256",
    },
    Way {
        listener: "sasl",
        mechanism: "SCRAM-SHA-512",
    },
    Way {
        listener: "sasl",
        mechanism: "OAUTHBEARER",
    },
    Way {
        listener: "sasl-tls",
        mechanism: "PLAIN",
    },
    Way {
        listener: "sasl-tls",
        mechanism: "SCRAM-SHA-512",
    },
];

impl Way {
    fn configure(&self, config: &mut Config, password: &str, secrets: &tempfile::TempDir) {
        let protocol = match self.listener {
            "tls" => "ssl",
            "sasl" => "sasl_plaintext",
            _ => "sasl_ssl",
        };
        let mut set = |name: &str, value: &str| {
            let properties = &mut config.kafka.properties;
            properties.insert(name.to_owned(), value.to_owned());
        };
        set("security.protocol", protocol);
        let certificate = folder().unwrap().join("ca.pem");
        set("ssl.ca.location", certificate.to_str().unwrap());
        if self.mechanism.is_empty() {
            return;
        }
        set("sasl.mechanism", self.mechanism);
        if self.mechanism == "OAUTHBEARER" {
            set("enable.sasl.oauthbearer.unsecure.jwt", "true");
            set("sasl.oauthbearer.config", &format!("principal={USER}"));
            return;
        }
        set("sasl.username", USER);
        let file = secrets.path().join("password");
        std::fs::write(&file, format!("{password}\n")).unwrap();
        config
            .kafka
            .secret_files
            .insert("sasl.password".to_owned(), file);
    }
}

fn folder() -> Option<PathBuf> {
    std::env::var_os("KAFKA_FOLDER").map(PathBuf::from)
}

/// The same brokers by one of their listeners.
fn by(brokers: &Brokers, listener: &str) -> Option<Brokers> {
    let Some(folder) = folder() else {
        must_not_skip("security");
        eprintln!("skipped: security: needs the brokers that `cargo xtask test` starts");
        return None;
    };
    let addresses = std::fs::read_to_string(folder.join(format!("bootstrap-{listener}")));
    Some(brokers.by(&addresses.unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_leads_to_the_topics() {
    let Some(brokers) = Brokers::named("security") else {
        return;
    };
    brokers.create_topics().await;
    brokers.publish(
        "transactions",
        &[event(transaction("h1", "card-1", 0, 1000), true)],
    );
    for way in &WAYS {
        let Some(secured) = by(&brokers, way.listener) else {
            return;
        };
        let secrets = tempfile::tempdir().unwrap();
        let mut running = secured
            .start_with(&POLICY, |config| way.configure(config, PASSWORD, &secrets))
            .await;
        until_read(&running, "transactions", 1).await;
        let answer = running.score(transaction("s1", "card-1", 30, 500)).await;
        let name = (way.listener, way.mechanism);
        assert_eq!(answer.features["card_count"], 2.0, "{name:?}");
        // Decisions get out that way too.
        until(&running, PUBLISHED, 1.0).await;
        running.service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_leaves_the_service_unready_and_answering() {
    let Some(brokers) = Brokers::named("wrong-password") else {
        return;
    };
    brokers.create_topics().await;
    let way = &WAYS[2];
    let Some(secured) = by(&brokers, way.listener) else {
        return;
    };
    let secrets = tempfile::tempdir().unwrap();
    let mut running = start_unready(&secured, |config| {
        way.configure(config, "open sesame", &secrets);
    })
    .await;
    until(
        &running,
        "tollgate_ingest_waiting{topic=\"transactions\"}",
        1.0,
    )
    .await;
    running.score(transaction("s1", "card-1", 0, 500)).await;
    running.service.stop().await;
}

/// Has the service fetch its tokens, over both kinds of listener that take some.
fn with_tokens(
    config: &mut Config,
    listener: &str,
    issuer: &Issuer,
    secret: &str,
    secrets: &tempfile::TempDir,
) {
    let protocol = if listener == "sasl" {
        "sasl_plaintext"
    } else {
        "sasl_ssl"
    };
    let certificate = folder().unwrap().join("ca.pem");
    let endpoint = format!("http://{}/token", issuer.address);
    for (name, value) in [
        ("security.protocol", protocol),
        ("ssl.ca.location", certificate.to_str().unwrap()),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.client.id", tokens::CLIENT),
        ("sasl.oauthbearer.token.endpoint.url", &endpoint),
    ] {
        let properties = &mut config.kafka.properties;
        properties.insert(name.to_owned(), value.to_owned());
    }
    let file = secrets.path().join("client-secret");
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let name = "sasl.oauthbearer.client.secret".to_owned();
    config.kafka.secret_files.insert(name, file);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_fetched_from_their_issuer() {
    let Some(brokers) = Brokers::named("tokens") else {
        return;
    };
    brokers.create_topics().await;
    brokers.publish(
        "transactions",
        &[event(transaction("h1", "card-1", 0, 1000), true)],
    );
    for listener in ["sasl", "sasl-tls"] {
        let Some(secured) = by(&brokers, listener) else {
            return;
        };
        let (issuer, secrets) = (Issuer::start(USER), tempfile::tempdir().unwrap());
        let mut running = secured
            .start_with(&POLICY, |config| {
                with_tokens(config, listener, &issuer, tokens::SECRET, &secrets);
            })
            .await;
        until_read(&running, "transactions", 1).await;
        let answer = running.score(transaction("s1", "card-1", 30, 500)).await;
        assert_eq!(answer.features["card_count"], 2.0, "{listener}");
        // Decisions get out that way too.
        until(&running, PUBLISHED, 1.0).await;
        assert!(issuer.issued() > 0, "nobody asked for a token");
        assert_eq!(issuer.refused(), 0);
        running.service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_refuses_leaves_the_service_unready_and_answering() {
    let Some(brokers) = Brokers::named("no-tokens") else {
        return;
    };
    brokers.create_topics().await;
    let Some(secured) = by(&brokers, "sasl") else {
        return;
    };
    let (issuer, secrets) = (Issuer::start(USER), tempfile::tempdir().unwrap());
    let mut running = start_unready(&secured, |config| {
        with_tokens(config, "sasl", &issuer, "open sesame", &secrets);
    })
    .await;
    until(
        &running,
        "tollgate_ingest_waiting{topic=\"transactions\"}",
        1.0,
    )
    .await;
    running.score(transaction("s1", "card-1", 0, 500)).await;
    assert!(issuer.refused() > 0, "nobody asked for a token");
    assert_eq!(issuer.issued(), 0);
    running.service.stop().await;
}
