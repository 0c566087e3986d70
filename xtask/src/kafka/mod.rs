//! `cargo xtask kafka up|down`: real Apache Kafka on this machine, for tests and for trying things out.
//!
//! Brokers come out of Kafka's Maven artifacts, run on Java, listen on 127.0.0.1 only and keep everything under `target/kafka`.
//! What they hold is thrown away with the next `up`. Where `KAFKA_BOOTSTRAP` names a Kafka, that one is used.

mod broker;
mod cluster;
mod for_tests;
mod maven;
mod security;

use clap::Subcommand;

pub(crate) use cluster::Cluster;
pub(crate) use for_tests::ForTests;

/// Names the brokers that are to be used instead of our own, and tells tests of whichever there are.
const BOOTSTRAP: &str = "KAFKA_BOOTSTRAP";

/// Most brokers: each takes some 400 MB.
const BROKERS_MAX: i64 = 9;

/// What to do with Kafka.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Start brokers, wait until they answer, and print how to reach them
    Up {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=BROKERS_MAX))]
        brokers: u8,
    },
    /// End the brokers that `up` started
    Down,
    /// End one of them at once, as a crash would
    Kill {
        /// Which, counted from 1
        broker: u8,
    },
    /// Start one of them again on what it had stored, and wait until it answers
    Start {
        /// Which, counted from 1
        broker: u8,
    },
}

pub(crate) fn run(verb: &Verb) -> anyhow::Result<()> {
    if let (Ok(bootstrap), Verb::Up { .. }) = (std::env::var(BOOTSTRAP), verb) {
        println!("{BOOTSTRAP} names a Kafka already; nothing was started");
        println!("export {BOOTSTRAP}={bootstrap}");
        return Ok(());
    }
    match *verb {
        Verb::Up { brokers } => {
            let cluster = Cluster::up(brokers)?;
            println!("export {BOOTSTRAP}={}", cluster.bootstrap());
            Ok(())
        }
        Verb::Down => Cluster::found()?.down(),
        Verb::Kill { broker } => Cluster::found()?.broker(broker)?.kill(),
        Verb::Start { broker } => Cluster::found()?.broker(broker)?.start(),
    }
}
