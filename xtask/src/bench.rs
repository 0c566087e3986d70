//! `cargo xtask bench`: side-by-side runs, each an executable of the crate `benches/` with a report of one form.
//!
//! This builds what a bench needs and hands it over; the bench starts and stops what it measures, Redis included.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{handbook, onnxruntime, tools};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum What {
    /// The feature store: reads beside Redis, applies, memory, feature tables beside polars
    Features,
    /// Rules: many of them beside two other engines, compiling
    Rules,
    /// Models: the whole call beside a bare run of ONNX Runtime
    Models,
}

pub(crate) fn run(what: What, arguments: &[String]) -> anyhow::Result<()> {
    match what {
        What::Features => features(arguments),
        What::Rules => rules(arguments),
        What::Models => models(arguments),
    }
}

fn features(arguments: &[String]) -> anyhow::Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    tools::run(cargo.args(["build", "--release", "--locked", "-p", "tollgate-benches"]))?;
    let mut bench = Command::new(tools::release()?.join("bench-features"));
    bench.args(arguments);
    let data = Path::new(handbook::DATA);
    // A trial is over in seconds; what it would wait for here takes minutes to build.
    let is_trial = arguments.iter().any(|argument| argument == "--quick");
    if is_trial {
        println!("--quick: without the feature table");
    } else if data.exists() {
        with_table(&mut bench, data)?;
    } else {
        println!(
            "skipped: the feature table (no data set at {})",
            handbook::DATA
        );
    }
    tools::run(&mut bench)
}

/// The other engine is a feature, so that nothing else has to build it.
fn rules(arguments: &[String]) -> anyhow::Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "-p", "tollgate-benches"]);
    tools::run(cargo.args(["--bin", "bench-rules", "--features", "zen"]))?;
    let bench = tools::release()?.join("bench-rules");
    tools::run(Command::new(bench).args(arguments))
}

/// The models are made first, by Python, and are the same every time.
fn models(arguments: &[String]) -> anyhow::Result<()> {
    let root = tools::root()?;
    let library = onnxruntime::ensure(&root)?;
    let bundles = root.join("target/bench-models");
    let mut make = tools::make_models()?;
    tools::run(make.arg("bench").arg("--out").arg(&bundles))?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "-p", "tollgate-benches"]);
    tools::run(cargo.args(["--bin", "bench-models"]))?;
    let mut bench = Command::new(tools::release()?.join("bench-models"));
    bench.arg("--bundles").arg(bundles);
    bench.arg("--library").arg(library);
    tools::run(bench.args(arguments))
}

/// Adds the programs that make a feature table of the handbook's transactions, ours and the other one.
fn with_table(bench: &mut Command, data: &Path) -> anyhow::Result<()> {
    let data = data.canonicalize()?;
    let tollgate = tools::build()?;
    let policy = handbook::write_policy(&tollgate, &data)?;
    let python = tools::python_environment("benches", "benches/python/requirements.txt")?;
    let named: [(&str, PathBuf); 4] = [
        ("--tollgate", tollgate.command().get_program().into()),
        ("--python", python),
        ("--data", data),
        ("--policy", policy),
    ];
    for (name, path) in named {
        bench.arg(name).arg(path);
    }
    Ok(())
}
