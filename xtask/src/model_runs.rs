//! `cargo xtask stuck-model` and `cargo xtask model-swaps`: what requests notice of a model that sticks, and of new models.
//!
//! Both serve a copy of the sample policy with models beside its own that `benches/python/models.py` makes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::tools::{Serving, Tollgate};
use crate::{onnxruntime, swaps, tools};

/// Requests a second while the model sticks, as the promise says.
const STUCK_RATE: &str = "2000";

/// The champion takes ten seconds for a row, and then is a good one again.
pub(crate) fn stuck(arguments: &[String]) -> anyhow::Result<()> {
    let setting = Setting::make("stuck-model", &["stuck"])?;
    let mut run = setting.tollgate.beside("tollgate-loadtest");
    run.arg("stuck-model").arg("--policy").arg(&setting.policy);
    run.args(["--grpc", &setting.serving.addresses.grpc])
        .args(["--admin", &setting.serving.addresses.admin])
        .args(["--rate", STUCK_RATE])
        .args(arguments);
    tools::run(&mut run)
}

/// The champion is another one every half a second.
pub(crate) fn swaps(versions: u32, arguments: &[String]) -> anyhow::Result<()> {
    let versions = versions.to_string();
    let setting = Setting::make("model-swaps", &["swaps", "--versions", &versions])?;
    let mut run = setting.tollgate.beside("tollgate-loadtest");
    run.arg("model-swaps").arg("--policy").arg(&setting.policy);
    run.arg("--weights")
        .arg(setting.folder.join("swap-weights.json"))
        .args(["--grpc", &setting.serving.addresses.grpc])
        .args(["--admin", &setting.serving.addresses.admin])
        .args(["--pid", &setting.serving.pid().to_string()])
        .args(arguments);
    tools::run(&mut run)
}

/// A service on a policy of its own.
struct Setting {
    tollgate: Tollgate,
    folder: PathBuf,
    policy: PathBuf,
    serving: Serving,
}

impl Setting {
    /// `make` is what the script is asked for.
    fn make(name: &str, make: &[&str]) -> anyhow::Result<Self> {
        let root = tools::root()?;
        let library = onnxruntime::ensure(&root)?;
        let tollgate = tools::build()?;
        let folder = root.join("target").join(name);
        let policy = folder.join("policy");
        // Left over from an earlier run.
        let _ = fs::remove_dir_all(&policy);
        swaps::copy(Path::new("policy"), &policy).context("cannot copy the sample policy")?;
        let mut script = tools::make_models()?;
        tools::run(script.args(make).arg("--policy").arg(&policy))?;
        let serving = tools::serve(&tollgate, &policy, &library, &folder)?;
        Ok(Self {
            tollgate,
            folder,
            policy,
            serving,
        })
    }
}
