//! `cargo xtask swaps`: the sample policy is changed 200 times while the service answers 5,000 requests a second.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::{onnxruntime, tools};

const REPORT: &str = "target/reports/swaps.json";

/// Serves a copy of the sample policy and has the load generator change it; an error if a goal is missed.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let root = tools::root()?;
    let library = onnxruntime::ensure(&root)?;
    let tollgate = tools::build()?;
    let folder = root.join("target/swaps");
    let policy = folder.join("policy");
    // Left over from an earlier run.
    let _ = fs::remove_dir_all(&policy);
    copy(&root.join("policy"), &policy).context("cannot copy the sample policy")?;
    let swaps = || {
        let mut swaps = tollgate.beside("tollgate-loadtest");
        swaps.arg("swaps").arg("--policy").arg(&policy);
        swaps
    };
    tools::run(swaps().arg("--prepare"))?;
    let serving = tools::serve(&tollgate, &policy, &library, &folder)?;
    let mut change = swaps();
    change
        .args(["--grpc", &serving.addresses.grpc])
        .args(["--admin", &serving.addresses.admin])
        .args(["--report", REPORT])
        .args(arguments);
    tools::run(&mut change)
}

pub(crate) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
