//! Command line of the load generator: everything it does to a service, it does through gRPC and Kafka.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tollgate_loadtest::{chaos, demo, generate, handbook, load, models, recovery, swaps};

/// Generates card transactions and drives a Tollgate service with them.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a history of transactions and labels to a file.
    Generate(generate::write::Args),
    /// Feeds history through Kafka, scores live traffic through gRPC and reports what happened.
    Demo(demo::Args),
    /// Scores at a fixed rate, open loop, and reports latencies.
    Load(load::Args),
    /// Changes the policy again and again under load, and reports what requests noticed of it.
    Swaps(swaps::Args),
    /// Has the champion stick under load, and reports what requests noticed of it.
    StuckModel(models::stuck::Args),
    /// Makes another model the champion again and again under load.
    ModelSwaps(models::swaps::Args),
    /// Starts services and makes their lives hard: thirteen scenarios, each with goals.
    Chaos(chaos::Args),
    /// Kills services and brokers, and holds that nothing is lost, doubled or counted otherwise.
    Recovery(recovery::Args),
    /// Replays the handbook's data set and compares every feature and score with the expected ones.
    Handbook(handbook::Args),
    /// Writes the policy that the handbook's data set is scored by, its models included.
    HandbookPolicy(handbook::policy::Args),
    /// Compares a feature table of the handbook's data set with the expected values.
    HandbookTable(handbook::table::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Generate(args) => generate::write::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Swaps(args) => swaps::run(&args),
        Command::StuckModel(args) => models::stuck::run(&args),
        Command::ModelSwaps(args) => models::swaps::run(&args),
        Command::Chaos(args) => chaos::run(&args),
        Command::Recovery(args) => recovery::run(&args),
        Command::Handbook(args) => handbook::run(&args),
        Command::HandbookPolicy(args) => handbook::policy::run(&args),
        Command::HandbookTable(args) => handbook::table::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
