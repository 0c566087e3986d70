//! The Kafka that `cargo xtask test` gives to tests.

use std::process::Command;

use anyhow::bail;

use super::{BOOTSTRAP, Cluster, cluster, maven};

/// Has a missing Kafka fail the tests instead of leaving some out: set where everything must be tested.
const REQUIRED: &str = "KAFKA_REQUIRED";

/// Tells tests which program ends and starts single brokers.
const CONTROL: &str = "KAFKA_CONTROL";

/// Tells tests where the addresses of listeners with security are, and the brokers' certificate.
const FOLDER: &str = "KAFKA_FOLDER";

/// As many as let one be killed while the others go on.
const BROKERS: u8 = 3;

/// Brokers that tests may use. Those that were started for them end when this is dropped.
pub(crate) struct ForTests {
    bootstrap: String,
    cluster: Option<Cluster>,
    started_here: bool,
}

impl ForTests {
    /// The Kafka that the environment names, or brokers that run already, or new ones; `None` if there can be none.
    pub(crate) fn start() -> anyhow::Result<Option<Self>> {
        if let Ok(bootstrap) = std::env::var(BOOTSTRAP) {
            return Ok(Some(Self {
                bootstrap,
                cluster: None,
                started_here: false,
            }));
        }
        let running = Cluster::found().ok().filter(Cluster::is_running);
        let started_here = running.is_none();
        let cluster = match (running, maven::missing()) {
            (Some(running), _) => running,
            (None, None) => Cluster::up(BROKERS)?,
            (None, Some(missing)) if std::env::var_os(REQUIRED).is_some() => bail!("{missing}"),
            (None, Some(missing)) => {
                println!("skipped: tests on real Kafka: {missing}");
                return Ok(None);
            }
        };
        Ok(Some(Self {
            bootstrap: cluster.bootstrap(),
            cluster: Some(cluster),
            started_here,
        }))
    }

    /// Tells a program that runs tests.
    pub(crate) fn tell(&self, tests: &mut Command) -> anyhow::Result<()> {
        tests.env(BOOTSTRAP, &self.bootstrap);
        if self.cluster.is_some() {
            tests.env(CONTROL, std::env::current_exe()?);
            tests.env(FOLDER, cluster::folder()?);
        }
        Ok(())
    }
}

impl Drop for ForTests {
    fn drop(&mut self) {
        if let Some(cluster) = self.cluster.as_ref().filter(|_| self.started_here)
            && let Err(error) = cluster.down()
        {
            println!("brokers are left: {error:#}");
        }
    }
}
