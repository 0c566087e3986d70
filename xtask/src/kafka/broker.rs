//! One broker: its folder, its process, and whether it answers.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::{maven, security};
use crate::tools;

/// How long a broker may take until it answers: some seconds, more on a busy machine.
const START_MAX: Duration = Duration::from_secs(120);

/// How long a broker's process may take to be gone once it was killed.
const END_MAX: Duration = Duration::from_secs(20);

/// How long a broker may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Heap, and compilation that suits a process of minutes rather than months.
const JAVA_OPTIONS: [&str; 3] = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// A request that any broker answers to anyone, by Kafka's protocol: 14 bytes follow, ApiVersions (18) in version 0, number
/// 1, from a client called `toll`.
const API_VERSIONS: [u8; 18] = *b"\0\0\0\x0e\0\x12\0\0\0\0\0\x01\0\x04toll";

/// Where one broker listens on 127.0.0.1.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) clients: u16,
    pub(super) controllers: u16,
    /// For clients that say who they are.
    pub(super) sasl: u16,
    /// For clients that say who they are, encrypted.
    pub(super) sasl_tls: u16,
    /// For any client, encrypted.
    pub(super) tls: u16,
}

/// One broker and its folder, which holds `server.properties`, `address`, `pid`, `log` and `data/`.
pub(crate) struct Broker {
    number: u8,
    folder: PathBuf,
}

impl Broker {
    pub(super) fn at(root: &Path, number: u8) -> Self {
        let folder = root.join(format!("broker-{number}"));
        Self { number, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn is_prepared(&self) -> bool {
        self.file("address").exists()
    }

    pub(super) fn remove(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_dir_all(&self.folder)?)
    }

    pub(super) fn address(&self) -> String {
        std::fs::read_to_string(self.file("address")).unwrap_or_default()
    }

    /// Makes its folder anew, with empty, formatted storage.
    pub(super) fn prepare(
        &self,
        ports: &[Ports],
        libraries: &Path,
        cluster: &str,
    ) -> anyhow::Result<()> {
        if self.folder.exists() {
            self.remove()?;
        }
        std::fs::create_dir_all(&self.folder)?;
        let own = ports[usize::from(self.number) - 1];
        let root = self.folder.parent().context("the folder has a parent")?;
        let properties = self.file("server.properties");
        let text = self.properties(ports) + &security::properties(root);
        std::fs::write(&properties, text)?;
        let mut tool = maven::java(libraries, &[], "kafka.tools.StorageTool");
        tool.args(["format", "--cluster-id", cluster, "--config"])
            .arg(&properties)
            .args(security::scram_users())
            .stdout(Stdio::null());
        tools::run(&mut tool).context("the broker's storage could not be formatted")?;
        std::fs::write(self.file("address"), format!("127.0.0.1:{}", own.clients))?;
        Ok(())
    }

    fn properties(&self, ports: &[Ports]) -> String {
        let own = ports[usize::from(self.number) - 1];
        let voters: Vec<String> = (1..)
            .zip(ports)
            .map(|(number, ports): (u32, _)| format!("{number}@127.0.0.1:{}", ports.controllers))
            .collect();
        let replicas = ports.len().min(3);
        let mut text = String::new();
        let mut set = |key: &str, value: &dyn std::fmt::Display| {
            // Writing to a text does not fail.
            let _ = writeln!(text, "{key}={value}");
        };
        set("process.roles", &"broker,controller");
        set("node.id", &self.number);
        set("controller.quorum.voters", &voters.join(","));
        let listeners = [
            ("PLAINTEXT", own.clients),
            ("SASL", own.sasl),
            ("SASL_TLS", own.sasl_tls),
            ("TLS", own.tls),
            ("CONTROLLER", own.controllers),
        ];
        let listeners = listeners.map(|(name, port)| format!("{name}://127.0.0.1:{port}"));
        set("listeners", &listeners.join(","));
        set("controller.listener.names", &"CONTROLLER");
        set("inter.broker.listener.name", &"PLAINTEXT");
        set("log.dirs", &self.file("data").display());
        // A topic that is not there should be missed, not appear with settings nobody chose.
        set("auto.create.topics.enable", &false);
        set("min.insync.replicas", &replicas.div_ceil(2));
        set("offsets.topic.replication.factor", &replicas);
        set("transaction.state.log.replication.factor", &replicas);
        set("transaction.state.log.min.isr", &replicas.div_ceil(2));
        // A killed broker may come back once the controller has missed it for so long.
        set("broker.session.timeout.ms", &6_000);
        set("broker.heartbeat.interval.ms", &1_000);
        // The usual 128 MB are half of the heap.
        set("log.cleaner.dedupe.buffer.size", &8_388_608);
        set("num.io.threads", &2);
        set("num.network.threads", &2);
        text
    }

    /// Starts it on what it has stored, and waits until it answers.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        if self.is_running() {
            bail!("broker {} is running", self.number);
        }
        self.spawn()?;
        self.wait()
    }

    /// Starts its process, which lives on when this one ends.
    pub(super) fn spawn(&self) -> anyhow::Result<()> {
        let root = self.folder.parent().context("the folder has a parent")?;
        let libraries = maven::libraries(root)?;
        let log_settings = tools::root()?.join("xtask/kafka/log4j2.xml");
        let log_settings = format!("-Dlog4j2.configurationFile={}", log_settings.display());
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.file("log"))?;
        let mut options = JAVA_OPTIONS.to_vec();
        options.push(&log_settings);
        let mut java = maven::java(&libraries, &options, "kafka.Kafka");
        java.arg(self.file("server.properties"))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Of a group of its own, so that a Ctrl-C meant for a test does not end it.
            .process_group(0);
        let mut child = java.spawn().context("cannot run java")?;
        std::fs::write(self.file("pid"), child.id().to_string())?;
        // For a moment a new process has no command line to know it by.
        let begun = || Ok(self.is_running() || child.try_wait()?.is_some());
        tools::wait_until(START_MAX, begun)?.context("java does not start")
    }

    /// Waits until it answers.
    pub(super) fn wait(&self) -> anyhow::Result<()> {
        tools::wait_until(START_MAX, || {
            if !self.is_running() {
                bail!(
                    "broker {} ended; {} says why",
                    self.number,
                    self.file("log").display()
                );
            }
            Ok(self.answers())
        })?
        .with_context(|| {
            let log = self.file("log");
            format!(
                "broker {} did not answer within {START_MAX:?}; {} says why",
                self.number,
                log.display()
            )
        })
    }

    fn answers(&self) -> bool {
        let answer = || -> std::io::Result<()> {
            let mut stream = TcpStream::connect(self.address())?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            stream.write_all(&API_VERSIONS)?;
            stream.read_exact(&mut [0; 8])
        };
        answer().is_ok()
    }

    /// Ends its process at once, by its own id only.
    pub(crate) fn kill(&self) -> anyhow::Result<()> {
        let Some(pid) = self.pid().filter(|_| self.is_running()) else {
            return Ok(());
        };
        tools::run(Command::new("kill").args(["-9", &pid.to_string()]))?;
        tools::wait_until(END_MAX, || Ok(!self.is_running()))?
            .with_context(|| format!("broker {} does not end", self.number))
    }

    fn pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.file("pid")).ok()?;
        text.parse().ok()
    }

    /// Whether its process is there, and is this broker: ids of processes are given out again.
    pub(super) fn is_running(&self) -> bool {
        let Some(pid) = self.pid() else {
            return false;
        };
        let own = self.file("server.properties");
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            line.split(|&byte| byte == 0)
                .any(|word| word == own.as_os_str().as_encoded_bytes())
        })
    }
}
