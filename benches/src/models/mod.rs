//! `cargo xtask bench models`: what a model costs through its queue and threads, beside a bare run of ONNX Runtime.
//!
//! The whole call is a row handed over, run on the model's own thread, and its score handed back. Both sides run the same
//! rows of the same model in the same process, in turns, so that the machine is the same for both.

mod calls;
mod measure;

use std::path::PathBuf;

use clap::Parser;

use crate::timing::{now, warn_of_load};

/// Measure the models.
#[derive(Parser, Debug)]
pub struct Arguments {
    /// Folder of the bundles, made by benches/python/models.py
    #[arg(long)]
    bundles: PathBuf,
    /// The ONNX Runtime library
    #[arg(long)]
    library: PathBuf,
    /// Fewer calls, to try the bench itself; writes bench-models-quick.json instead
    #[arg(long)]
    quick: bool,
    /// Folder of the report
    #[arg(long, default_value = "target/reports")]
    reports: PathBuf,
}

/// Measures everything, writes the report and prints it.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    warn_of_load()?;
    let started = now();
    let (sizes, name) = if arguments.quick {
        (measure::Sizes::QUICK, "bench-models-quick.json")
    } else {
        (measure::Sizes::FULL, "bench-models.json")
    };
    let rows = measure::all(&arguments.bundles, &arguments.library, &sizes)?;
    let path = arguments.reports.join(name);
    tollgate_report::write(&path, &rows)?;
    tollgate_report::print(&mut std::io::stdout().lock(), &rows)?;
    println!("{}, in {:.0?}", path.display(), started.elapsed());
    Ok(())
}
