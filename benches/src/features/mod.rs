//! `cargo xtask bench features`: the store's times and bytes, beside its peers, in one run.
//!
//! Each population is filled in a process of its own, which this one starts: memory is measured where nothing else has been
//! allocated, and a store is gone with its process. A part hands its rows back as JSON on standard output.

mod applies;
mod growth;
mod peer;
mod plain;
mod population;
mod question;
mod reads;
mod resident;
mod retained;
mod sizes;
mod table;
mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};
use tollgate_report::Row;

use crate::timing::{now, warn_of_load};
use crate::{memory, redis};
use population::Columns;
use sizes::Sizes;
pub(crate) use sizes::short;

/// Measure the feature store.
#[derive(Parser, Debug)]
pub struct Arguments {
    /// Small populations, to try the bench itself; writes bench-features-quick.json instead
    #[arg(long)]
    quick: bool,
    /// Leave out populations of more cards than this; below a million, that is a trial as with --quick
    #[arg(long, default_value_t = Sizes::FULL.cards_many)]
    cards_max: u32,
    /// Folder of the report
    #[arg(long, default_value = "target/reports")]
    reports: PathBuf,
    #[command(flatten)]
    programs: table::Programs,
    #[command(subcommand)]
    part: Option<Part>,
}

/// A population of its own process. Started by the bench itself.
#[derive(Subcommand, Debug, Clone, Copy)]
enum Part {
    /// Memory, reads beside Redis, applies
    #[command(hide = true)]
    World,
    /// Memory with the sample policy's columns
    #[command(hide = true)]
    Retained,
    /// Reads among the most cards
    #[command(hide = true)]
    Cards,
    /// Reads of histories of different lengths
    #[command(hide = true)]
    Depths,
}

/// What a part hands back.
#[derive(Serialize, Deserialize)]
struct Outcome {
    rows: Vec<Row>,
    /// Bytes its population took, where it measured that.
    bytes: u64,
}

/// Measures everything, writes the report and prints it; or one part, if so told.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let sizes = if arguments.quick {
        Sizes::QUICK
    } else {
        Sizes::FULL
    };
    let sizes = sizes.capped(arguments.cards_max);
    if let Some(part) = arguments.part {
        let outcome = part.measure(&sizes)?;
        println!("{}", serde_json::to_string(&outcome)?);
        return Ok(());
    }
    redis::Server::installed()?;
    warn_of_load()?;
    let started = now();
    let rows = all(arguments, &sizes)?;
    let name = if sizes.trial {
        "bench-features-quick.json"
    } else {
        "bench-features.json"
    };
    let path = arguments.reports.join(name);
    tollgate_report::write(&path, &rows)?;
    tollgate_report::print(&mut std::io::stdout().lock(), &rows)?;
    println!("{}, in {:.0?}", path.display(), started.elapsed());
    Ok(())
}

fn all(arguments: &Arguments, sizes: &Sizes) -> anyhow::Result<Vec<Row>> {
    let part = |part: Part, what: &str| {
        eprintln!("{what}");
        part.start(arguments)
    };
    let world = part(Part::World, "memory, reads beside Redis, applies")?;
    let mut rows = world.rows;
    let bytes = world.bytes / u64::from(sizes.cards) * u64::from(sizes.cards_many);
    if arguments.cards_max < sizes.cards_many {
        eprintln!("skipped: {} cards (--cards-max)", sizes.cards_many);
        rows.extend(growth::skipped_cards(sizes));
    } else if !memory::fits(bytes)? {
        eprintln!(
            "skipped: {} cards take {} MB, the machine has {} MB left",
            sizes.cards_many,
            bytes >> 20,
            memory::available_bytes()? >> 20
        );
        rows.extend(growth::skipped_cards(sizes));
    } else {
        rows.extend(part(Part::Cards, "reads among the most cards")?.rows);
    }
    rows.extend(part(Part::Depths, "reads of long histories")?.rows);
    rows.extend(part(Part::Retained, "memory with the sample policy's columns")?.rows);
    eprintln!("tollgate features beside a data-frame library");
    rows.push(table::measure(&arguments.programs, |id| sizes.id(id))?);
    Ok(rows)
}

impl Part {
    fn measure(self, sizes: &Sizes) -> anyhow::Result<Outcome> {
        let alone = |rows| Outcome { rows, bytes: 0 };
        Ok(match self {
            Self::World => {
                let (rows, bytes) = world::measure(sizes)?;
                Outcome { rows, bytes }
            }
            Self::Retained => alone(retained::measure(Columns::Sample, sizes)?.rows),
            Self::Cards => alone(growth::measure_cards(sizes)?),
            Self::Depths => alone(growth::measure_depths(sizes)?),
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::World => "world",
            Self::Retained => "retained",
            Self::Cards => "cards",
            Self::Depths => "depths",
        }
    }

    /// Measures in a fresh process.
    fn start(self, arguments: &Arguments) -> anyhow::Result<Outcome> {
        let program = std::env::current_exe().context("this program has no path")?;
        let mut command = Command::new(&program);
        if arguments.quick {
            command.arg("--quick");
        }
        command.args(["--cards-max", &arguments.cards_max.to_string()]);
        command.arg(self.name()).stderr(Stdio::inherit());
        let output = command.output().with_context(|| shown(&program))?;
        ensure!(
            output.status.success(),
            "{} {} ended with {}",
            shown(&program),
            self.name(),
            output.status
        );
        serde_json::from_slice(&output.stdout).context("a part's outcome cannot be read")
    }
}

fn shown(program: &Path) -> String {
    program.display().to_string()
}
