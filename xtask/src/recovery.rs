//! `cargo xtask recovery`: whether nothing is lost, doubled or counted otherwise when services, brokers, disks, clocks and
//! logs fail, on real Kafka.

use anyhow::Context;

use crate::kafka::ForTests;
use crate::{onnxruntime, tools};

/// Starts brokers unless `KAFKA_BOOTSTRAP` names some, and has the load generator carry out each line on services of its own.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let root = tools::root()?;
    let library = onnxruntime::ensure(&root)?;
    let tollgate = tools::build()?;
    let kafka = ForTests::start()?;
    let kafka = kafka
        .context("recovery is shown on real Kafka alone; name one, or install what is missing")?;
    let (policy, folder) = (root.join("policy"), root.join("target/recovery"));
    let mut recovery = tollgate.serving("recovery", &library, &policy, &folder);
    recovery.args(arguments);
    kafka.tell(&mut recovery)?;
    tools::run(&mut recovery)
}
