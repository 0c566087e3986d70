//! The command line: `serve`, `check`, `features`, `score`, `explain`, `policy`, `rules`, `models`, `dead-letters`, `demo`.

mod alone;
mod check;
mod dead_letters;
mod demo;
mod explain;
mod explanation;
mod features;
mod operate;
mod score;
mod serve;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tollgate_models::Runtime;
use tollgate_source::Diagnostics;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError};
use crate::policy::{Loader, Policy};

/// Decides card transactions: approve, flag, challenge or decline.
#[derive(Parser)]
#[command(name = "tollgate", version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Common {
    /// Configuration file; every key can also be set from the environment, as TOLLGATE_SECTION__KEY
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write log lines as JSON
    #[arg(long, global = true)]
    log_json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Serve gRPC, reading history from Kafka
    Serve(serve::Serve),
    /// Check a policy folder as a load would: every error, with file, line and column
    Check(check::Check),
    /// Turn a history file into a feature table, each row as of its own moment
    Features(features::Features),
    /// Decide one transaction given as JSON, and explain the decision
    Score(score::Score),
    /// Make a decision of the log again, explain it, and say whether it is the same: exit code 0 if it is, 1 if it differs, 2 if
    /// it cannot be made again
    Explain(explain::Explain),
    /// List the policies that a running service has loaded, roll back to one, or follow the folder again
    Policy(operate::Policy),
    /// List the rules that a running service has demoted, or let one decide again
    Rules(operate::Rules),
    /// Show the models of a running service: what they are, and how far things have moved since their training
    Models(operate::Models),
    /// Show what could not be read from Kafka, or send it again after a fix
    DeadLetters(dead_letters::DeadLetters),
    /// Serve on an embedded broker, feed it generated history, score generated traffic, report
    Demo(demo::Demo),
}

/// Why a command ended without doing its work. Diagnostics are rendered with carets, the rest is one line.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{}", .0.render())]
    Policy(Diagnostics),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Runs the command given on the command line.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    start_logging(cli.common.log_json);
    let result = match cli.command {
        Command::Serve(serve) => serve.run(&cli.common),
        Command::Check(check) => check.run(&cli.common),
        Command::Features(features) => features.run(&cli.common),
        Command::Score(score) => score.run(&cli.common),
        Command::Explain(explain) => Ok(explain.run(&cli.common)),
        Command::Policy(policy) => policy.run(&cli.common),
        Command::Rules(rules) => rules.run(&cli.common),
        Command::Models(models) => models.run(&cli.common),
        Command::DeadLetters(letters) => return letters.run(&cli.common),
        Command::Demo(demo) => demo.run(&cli.common),
    };
    result.unwrap_or_else(|error| {
        error.tell();
        ExitCode::FAILURE
    })
}

impl CommandError {
    fn tell(&self) {
        match self {
            Self::Policy(diagnostics) => show(diagnostics),
            Self::Other(error) => eprintln!("error: {error:#}"),
            Self::Config(error) => eprintln!("error: {error}"),
        }
    }
}

impl Common {
    fn load(&self) -> Result<Config, ConfigError> {
        // A variable that is not text is not one of ours.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Config::load(self.config.as_deref(), variables)
    }
}

/// The library that watches files warns of every folder that goes while it is watched, as they do with a ConfigMap.
const LEVELS: &str = "info,notify=error,notify_debouncer_full=error";

/// Log lines go to standard error, so that what a command prints can be piped. `RUST_LOG` sets the level.
fn start_logging(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LEVELS));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if json {
        lines.json().init();
    } else {
        lines.with_target(false).init();
    }
}

/// Loads the policy with its models; warnings are printed.
fn load_policy(folder: &Path, config: &Config) -> Result<Policy, CommandError> {
    load(folder, config).map(|(_, policy)| policy)
}

/// The same, with what loads it again.
fn load(folder: &Path, config: &Config) -> Result<(Loader, Policy), CommandError> {
    let limits = config.model.limits();
    let loader = Loader::new(folder.to_owned(), load_runtime(config), limits)
        .with_guard(config.policy.guard.guard());
    let (policy, warnings) = loader.load().map_err(CommandError::Policy)?;
    show(&warnings);
    Ok((loader, policy))
}

fn show(diagnostics: &Diagnostics) {
    if !diagnostics.is_empty() {
        eprintln!("{}\n", diagnostics.render());
    }
}

/// ONNX Runtime, if it can be found. A policy without models does not need it; one with models reports the
/// error where it names them.
fn load_runtime(config: &Config) -> Result<Runtime, tollgate_models::Error> {
    let configured = &config.model.library;
    let library = if configured.as_os_str().is_empty() {
        default_library()
    } else {
        configured.clone()
    };
    Runtime::load(&library)
}

/// The library beside the program, or the one that `cargo xtask` fetched.
fn default_library() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| {
            program
                .parent()
                .map(|folder| folder.join("libonnxruntime.so"))
        })
        .filter(|path| path.exists());
    beside.unwrap_or_else(|| "target/onnxruntime/libonnxruntime.so".into())
}
