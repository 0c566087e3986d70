//! `cargo xtask recovery`: whether nothing is lost, doubled or counted otherwise when services, brokers, disks, clocks and
//! logs fail, on real Kafka.

use anyhow::Context;

use crate::kafka::ForTests;
use crate::tools::Tollgate;
use crate::{onnxruntime, tools};

/// Lines that take a minute together, and end alike on a machine that has much else to do: kills, and poison.
const SHORT: [&str; 3] = ["--quick", "--only", "1,5"];

/// Starts brokers unless `KAFKA_BOOTSTRAP` names some, and has the load generator carry out each line on services of its own.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let tollgate = tools::build()?;
    let kafka = ForTests::start()?;
    let kafka = kafka
        .context("recovery is shown on real Kafka alone; name one, or install what is missing")?;
    carry_out(&tollgate, &kafka, arguments)
}

/// Whether it still works, not how well.
pub(crate) fn in_short(kafka: &ForTests) -> anyhow::Result<()> {
    let report = "target/reports/recovery-in-short.json";
    let arguments = SHORT.into_iter().chain(["--report", report]);
    let arguments: Vec<String> = arguments.map(str::to_owned).collect();
    carry_out(&tools::build()?, kafka, &arguments)
}

fn carry_out(tollgate: &Tollgate, kafka: &ForTests, arguments: &[String]) -> anyhow::Result<()> {
    let root = tools::root()?;
    let library = onnxruntime::ensure(&root)?;
    let (policy, folder) = (root.join("policy"), root.join("target/recovery"));
    let mut recovery = tollgate.serving("recovery", &library, &policy, &folder);
    recovery.args(arguments);
    kafka.tell(&mut recovery)?;
    tools::run(&mut recovery)
}
