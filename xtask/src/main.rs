//! `cargo xtask`: the verbs of this repository. `demo` and `test` are all a newcomer needs.

mod bench;
mod chaos;
mod clients;
mod fuzz;
mod handbook;
mod kafka;
mod model_runs;
mod onnxruntime;
mod recovery;
mod suite;
mod swaps;
mod tidy;
mod tools;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// The verbs of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build, start Tollgate on an embedded broker, score generated traffic, report
    Demo {
        /// Further arguments for the load generator, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Run everything CI runs, and end with a count
    Test,
    /// Formatting, lints and tidiness, without the tests
    Check,
    /// Replay the handbook's transactions through Kafka and gRPC, and compare with its expected values
    Handbook {
        /// Folder of the data set
        #[arg(long, default_value = handbook::DATA)]
        data: PathBuf,
    },
    /// Measure beside peers; writes target/reports/bench-<what>.json
    Bench {
        what: bench::What,
        /// Further arguments for the bench, such as --quick
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Make up expressions, rule files, lists and policies; report what panics, hangs or takes memory without end
    Fuzz {
        /// How long, all targets together
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
        minutes: u32,
        /// Then make fuzz/corpus anew from it and what was found: the texts that reach the most
        #[arg(long)]
        minimise: bool,
    },
    /// Change the policy 200 times under load; writes target/reports/swaps.json
    Swaps {
        /// Further arguments for the load generator, such as --rate 2000
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Make the service's life hard in thirteen ways; writes target/reports/chaos.json
    Chaos {
        /// Further arguments for the load generator, such as --only 7,12 or --quick
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill the service and real Kafka again and again, fill disks, cut the log; writes target/reports/recovery.json
    Recovery {
        /// Further arguments for the load generator, such as --only 1,2 or --quick
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Have the champion stick for 30 seconds under load; writes target/reports/stuck-model.json
    StuckModel {
        /// Further arguments for the load generator, such as --seconds 5
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Make another model the champion 100 times under load; writes target/reports/model-swaps.json
    ModelSwaps {
        /// How many
        #[arg(long, default_value_t = 100)]
        versions: u32,
        /// Further arguments for the load generator, such as --rate 2000
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Generate history (or take one), compute features, train a model, and publish it to the policy as a challenger
    Train(Box<train::Train>),
    /// Start and end real Apache Kafka brokers on this machine
    Kafka {
        #[command(subcommand)]
        verb: kafka::Verb,
    },
    /// Fetch ONNX Runtime's library to target/onnxruntime
    Onnxruntime,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let root = tools::root()?;
    std::env::set_current_dir(&root).with_context(|| format!("no folder {}", root.display()))?;
    match Cli::parse().verb {
        Verb::Demo { arguments } => demo(&arguments),
        Verb::Test => suite::run(),
        Verb::Check => tidy::check(),
        Verb::Handbook { data } => handbook::run(&data),
        Verb::Bench { what, arguments } => bench::run(what, &arguments),
        Verb::Fuzz { minutes, minimise } => fuzz::run(minutes, minimise),
        Verb::Swaps { arguments } => swaps::run(&arguments),
        Verb::Chaos { arguments } => chaos::run(&arguments),
        Verb::Recovery { arguments } => recovery::run(&arguments),
        Verb::StuckModel { arguments } => model_runs::stuck(&arguments),
        Verb::ModelSwaps {
            versions,
            arguments,
        } => model_runs::swaps(versions, &arguments),
        Verb::Train(options) => train::run(&options),
        Verb::Kafka { verb } => kafka::run(&verb),
        Verb::Onnxruntime => {
            println!("{}", onnxruntime::ensure(&root)?.display());
            Ok(())
        }
    }
}

fn demo(arguments: &[String]) -> anyhow::Result<()> {
    let library = onnxruntime::ensure(&tools::root()?)?;
    let tollgate = tools::build()?;
    let mut demo = tollgate.command();
    demo.env("TOLLGATE_MODEL__LIBRARY", library);
    demo.arg("demo").arg("--").args(arguments);
    tools::run(&mut demo)
}
