//! `cargo xtask chaos`: thirteen ways to make the service's life hard, and whether it still answers in time.

use std::fs;

use anyhow::Context;

use crate::{onnxruntime, swaps, tools};

/// Makes the policy ready with the models that misbehave, and has the load generator start a service per scenario.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let root = tools::root()?;
    let library = onnxruntime::ensure(&root)?;
    let tollgate = tools::build()?;
    let folder = root.join("target/chaos");
    let policy = folder.join("policy");
    // Left over from an earlier run.
    let _ = fs::remove_dir_all(&policy);
    swaps::copy(&root.join("policy"), &policy).context("cannot copy the sample policy")?;
    let mut script = tools::make_models()?;
    tools::run(script.arg("chaos").arg("--policy").arg(&policy))?;
    let mut chaos = tollgate.serving("chaos", &library, &policy, &folder);
    chaos.args(arguments);
    tools::run(&mut chaos)
}
