//! `cargo xtask handbook`: real data, through Kafka and gRPC, against values nobody here computed.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{onnxruntime, tools};

/// Where the data set lies beside a checkout that has it.
pub(crate) const DATA: &str = "../shared/data/handbook";

const REPORT: &str = "target/reports/handbook.json";

/// Replays everything and compares; an error if a single value differs. Says so and does nothing where the data
/// set is absent.
pub(crate) fn run(data: &Path) -> anyhow::Result<()> {
    if !data.exists() {
        println!("handbook: skipped, no data set at {}", data.display());
        return Ok(());
    }
    let data = data.canonicalize()?;
    let library = onnxruntime::ensure(&tools::root()?)?;
    let tollgate = tools::build()?;
    let folder = tools::root()?.join("target/handbook");
    let policy = write_policy(&tollgate, &data)?;
    let serving = tools::serve(&tollgate, &policy, &library, &folder)?;
    let mut replay = tollgate.beside("tollgate-loadtest");
    replay
        .arg("handbook")
        .arg("--data")
        .arg(&data)
        .args(["--grpc", &serving.addresses.grpc])
        .args(["--admin", &serving.addresses.admin])
        .args(["--kafka", &serving.addresses.kafka])
        .args(["--report", REPORT]);
    tools::run(&mut replay).context("the handbook's values and ours differ")
}

/// Writes the policy whose features are the handbook's, and returns its folder.
pub(crate) fn write_policy(tollgate: &tools::Tollgate, data: &Path) -> anyhow::Result<PathBuf> {
    let policy = tools::root()?.join("target/handbook/policy");
    let mut assemble = tollgate.beside("tollgate-loadtest");
    assemble
        .arg("handbook-policy")
        .arg("--data")
        .arg(data)
        .arg("--out")
        .arg(&policy);
    tools::run(&mut assemble)?;
    Ok(policy)
}
