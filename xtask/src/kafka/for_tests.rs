//! The Kafka that `cargo xtask test` gives to tests, and `cargo xtask recovery` to its runs.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use super::{BOOTSTRAP, Cluster, cluster, maven};

/// Has a missing Kafka fail the tests instead of leaving some out: set where everything must be tested.
const REQUIRED: &str = "KAFKA_REQUIRED";

/// Tells tests which program ends and starts single brokers.
const CONTROL: &str = "KAFKA_CONTROL";

/// Tells tests where the addresses of listeners with security are, and the brokers' certificate.
const FOLDER: &str = "KAFKA_FOLDER";

/// As many as let one be killed while the others go on.
const BROKERS: u8 = 3;

/// Brokers that tests may use. Those that were started for them end when this is dropped, or this process ends.
pub(crate) struct ForTests {
    bootstrap: String,
    cluster: Option<Cluster>,
    _ending: Option<Ending>,
}

/// A shell that ends the brokers once its input ends, which it does when this process is killed, too.
struct Ending(Child);

impl Ending {
    fn start() -> anyhow::Result<Self> {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "cat >/dev/null; exec \"$0\" kafka down"])
            .arg(std::env::current_exe()?)
            .stdin(Stdio::piped())
            // Of a group of its own, so that it outlives a Ctrl-C.
            .process_group(0);
        let child = shell.spawn().context("cannot run sh, which ends brokers")?;
        Ok(Self(child))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if !self.0.wait().is_ok_and(|ended| ended.success()) {
            println!("brokers are left; end them with `cargo xtask kafka down`");
        }
    }
}

impl ForTests {
    /// The Kafka that the environment names, or brokers that run already, or new ones; `None` if there can be none.
    pub(crate) fn start() -> anyhow::Result<Option<Self>> {
        if let Ok(bootstrap) = std::env::var(BOOTSTRAP) {
            return Ok(Some(Self {
                bootstrap,
                cluster: None,
                _ending: None,
            }));
        }
        let running = Cluster::found().ok().filter(Cluster::is_whole);
        let (cluster, ending) = match (running, maven::missing()) {
            (Some(running), _) => (running, None),
            (None, None) => {
                if let Ok(left_over) = Cluster::found() {
                    left_over.down()?;
                }
                let ending = Ending::start()?;
                (Cluster::up(BROKERS)?, Some(ending))
            }
            (None, Some(missing)) if std::env::var_os(REQUIRED).is_some() => bail!("{missing}"),
            (None, Some(missing)) => {
                println!("skipped: tests on real Kafka: {missing}");
                return Ok(None);
            }
        };
        Ok(Some(Self {
            bootstrap: cluster.bootstrap(),
            cluster: Some(cluster),
            _ending: ending,
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
