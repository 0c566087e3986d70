//! `cargo xtask handbook`: real data, through Kafka and gRPC and through `tollgate features`, against values nobody
//! here computed.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{onnxruntime, tools};

/// Where the data set lies beside a checkout that has it.
pub(crate) const DATA: &str = "../shared/data/handbook";

/// The same history in two formats.
pub(crate) const HISTORIES: [&str; 2] = ["transactions.parquet", "transactions.csv.zst"];

/// How the data set's columns are to be read.
pub(crate) const COLUMNS: &str = "loadtest/handbook/columns.yaml";

/// Every decision is compared with every model, as fast as it goes: challengers may take what they need, and a moment in
/// which the machine does something else is neither taken for a model that is ill nor for overload.
const COMPLETE: [(&str, &str); 5] = [
    ("TOLLGATE_OVERLOAD__TARGET_MS", "100"),
    ("TOLLGATE_OVERLOAD__LIMIT_MIN", "512"),
    ("TOLLGATE_WATCH__CHALLENGERS_CPU_PERCENT", "10000"),
    ("TOLLGATE_MODEL__BREAKER__ANSWERS", "128"),
    ("TOLLGATE_MODEL__BREAKER__BAD_MAX", "128"),
];

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
    for history in HISTORIES {
        compare_table(&tollgate, &data.join(history), &policy, &folder)?;
    }
    let serving = tools::serve_with(&tollgate, &policy, &library, &folder, &COMPLETE)?;
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

/// Computes the feature table of a history and compares it.
fn compare_table(
    tollgate: &tools::Tollgate,
    history: &Path,
    policy: &Path,
    folder: &Path,
) -> anyhow::Result<()> {
    let table = folder.join("features.csv");
    let mut features = tollgate.command();
    features
        .arg("features")
        .arg("--policy")
        .arg(policy)
        .arg("--history")
        .arg(history)
        .args(["--columns", COLUMNS])
        .arg("--out")
        .arg(&table);
    tools::run(&mut features)?;
    let mut compare = tollgate.beside("tollgate-loadtest");
    compare
        .arg("handbook-table")
        .arg("--table")
        .arg(&table)
        .arg("--data")
        .args(history.parent());
    tools::run(&mut compare).context("the handbook's features and the table's differ")
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
