//! Several brokers that are each broker and controller, and the files that tell other processes of them.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use super::broker::{Broker, Ports};
use super::{maven, security};
use crate::tools;

/// Brokers whose folders are `target/kafka/broker-1` and so on.
pub(crate) struct Cluster {
    brokers: Vec<Broker>,
}

impl Cluster {
    /// Starts `count` brokers without a record in them, and waits until all of them answer.
    pub(crate) fn up(count: u8) -> anyhow::Result<Self> {
        let root = folder()?;
        if Self::found().is_ok_and(|found| found.is_running()) {
            bail!("brokers are running already; end them with `cargo xtask kafka down`");
        }
        std::fs::create_dir_all(&root)?;
        let libraries = maven::libraries(&root)?;
        let ports = free_ports(count)?;
        let id = cluster_id(&libraries)?;
        security::make_certificate(&root)?;
        let mut brokers = Vec::new();
        for number in 1..=count {
            let broker = Broker::at(&root, number);
            broker.prepare(&ports, &libraries, &id)?;
            brokers.push(broker);
        }
        // Folders of an earlier, larger cluster are none of this one's.
        for number in count + 1.. {
            let left_over = Broker::at(&root, number);
            if !left_over.is_prepared() {
                break;
            }
            left_over.remove()?;
        }
        let cluster = Self { brokers };
        std::fs::write(root.join("bootstrap"), cluster.bootstrap())?;
        let ways = [
            ("bootstrap-sasl", listen_on(&ports, |broker| broker.sasl)),
            (
                "bootstrap-sasl-tls",
                listen_on(&ports, |broker| broker.sasl_tls),
            ),
            ("bootstrap-tls", listen_on(&ports, |broker| broker.tls)),
        ];
        for (file, addresses) in ways {
            std::fs::write(root.join(file), addresses)?;
        }
        if let Err(error) = cluster.start() {
            // Half a cluster is of no use, and nobody else would end it.
            cluster.down()?;
            return Err(error);
        }
        Ok(cluster)
    }

    /// The brokers that an earlier `up` has prepared, running or not.
    pub(crate) fn found() -> anyhow::Result<Self> {
        let root = folder()?;
        let brokers = (1..).map(|number| Broker::at(&root, number));
        let brokers: Vec<Broker> = brokers.take_while(Broker::is_prepared).collect();
        if brokers.is_empty() {
            bail!("there are no brokers; start some with `cargo xtask kafka up`");
        }
        Ok(Self { brokers })
    }

    /// Whether any of them runs.
    fn is_running(&self) -> bool {
        self.brokers.iter().any(Broker::is_running)
    }

    /// Whether all of them run: what a killed run has left may be a part.
    pub(super) fn is_whole(&self) -> bool {
        self.brokers.iter().all(Broker::is_running)
    }

    /// All of them at once: none is complete before most are.
    fn start(&self) -> anyhow::Result<()> {
        for broker in &self.brokers {
            broker.spawn()?;
        }
        self.brokers.iter().try_for_each(Broker::wait)
    }

    /// Ends all of them. What they hold is not wanted any more, so they are not asked to put it in order.
    pub(crate) fn down(&self) -> anyhow::Result<()> {
        let failures = self.brokers.iter().filter_map(|broker| broker.kill().err());
        // Of one that does not end, the others are not left running.
        let failures: Vec<String> = failures.map(|error| format!("{error:#}")).collect();
        if failures.is_empty() {
            Ok(())
        } else {
            bail!("{}", failures.join("; "))
        }
    }

    /// `host:port,host:port`, as clients want it.
    pub(crate) fn bootstrap(&self) -> String {
        let addresses = self.brokers.iter().map(Broker::address);
        addresses.collect::<Vec<_>>().join(",")
    }

    pub(crate) fn broker(&self, number: u8) -> anyhow::Result<&Broker> {
        let at = usize::from(number).checked_sub(1);
        at.and_then(|at| self.brokers.get(at)).with_context(|| {
            let count = self.brokers.len();
            format!("there is no broker {number}; there are {count}, counted from 1")
        })
    }
}

fn listen_on(ports: &[Ports], port: impl Fn(&Ports) -> u16) -> String {
    let addresses = ports
        .iter()
        .map(|broker| format!("127.0.0.1:{}", port(broker)));
    addresses.collect::<Vec<_>>().join(",")
}

pub(super) fn folder() -> anyhow::Result<PathBuf> {
    Ok(tools::root()?.join("target/kafka"))
}

/// Ports that nobody has now; all are held until all are found.
fn free_ports(count: u8) -> anyhow::Result<Vec<Ports>> {
    let mut held = Vec::new();
    let mut ports = Vec::new();
    let mut port = || -> anyhow::Result<u16> {
        held.push(TcpListener::bind(("127.0.0.1", 0)).context("no port is free")?);
        Ok(held[held.len() - 1].local_addr()?.port())
    };
    for _ in 0..count {
        ports.push(Ports {
            clients: port()?,
            controllers: port()?,
            sasl: port()?,
            sasl_tls: port()?,
            tls: port()?,
        });
    }
    Ok(ports)
}

fn cluster_id(libraries: &std::path::Path) -> anyhow::Result<String> {
    let mut tool: Command = maven::java(libraries, &[], "kafka.tools.StorageTool");
    let output = tool.arg("random-uuid").output().context("java")?;
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if id.is_empty() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("Kafka's storage tool gave no cluster id: {why}");
    }
    Ok(id)
}
