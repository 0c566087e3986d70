//! `cargo xtask bench rules`: how long sets of rules take, beside the same rules in other engines, in one run.
//!
//! Rules are generated, written into a policy folder and loaded as the service loads one. Before anything is timed every
//! engine must say the same of every rule for every transaction.

mod generate;
mod measure;
mod ours;
mod peers;
mod slots;
mod terms;
mod versus;

use std::path::PathBuf;

use clap::Parser;

use crate::timing::{now, warn_of_load};

/// Measure the rules.
#[derive(Parser, Debug)]
pub struct Arguments {
    /// Fewer rules and rounds, to try the bench itself; writes bench-rules-quick.json instead
    #[arg(long)]
    quick: bool,
    /// Leave the other engines out, for profiling; writes bench-rules-quick.json, too
    #[arg(long)]
    alone: bool,
    /// Folder of the report
    #[arg(long, default_value = "target/reports")]
    reports: PathBuf,
}

/// Measures everything, writes the report and prints it.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    warn_of_load()?;
    let started = now();
    let sizes = if arguments.quick {
        measure::Sizes::QUICK
    } else {
        measure::Sizes::FULL
    };
    let sizes = measure::Sizes {
        trial: arguments.quick || arguments.alone,
        ..sizes
    };
    let rows = measure::all(&sizes, arguments.alone)?;
    let name = if sizes.trial {
        "bench-rules-quick.json"
    } else {
        "bench-rules.json"
    };
    let path = arguments.reports.join(name);
    tollgate_report::write(&path, &rows)?;
    tollgate_report::print(&mut std::io::stdout().lock(), &rows)?;
    println!("{}, in {:.0?}", path.display(), started.elapsed());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::generate::{conditions, values};
    use super::ours::{Set, schema};
    use super::peers::Cel;
    use super::versus::opponent;

    /// Fifty rules compile in every engine, which agree on what they say of a hundred transactions.
    #[test]
    fn engines_agree_on_generated_rules() {
        let schema = schema().unwrap();
        let conditions = conditions(50, &schema).unwrap();
        let rows = values(100);
        let folder = tempfile::tempdir().unwrap();
        let set = Set::new(folder.path(), &conditions).unwrap();
        let matches = set.matches(&rows).unwrap();
        assert!(matches.iter().any(|of_row| !of_row.is_empty()));
        opponent::<Cel>(&conditions, &rows, &matches).unwrap();
        #[cfg(feature = "zen")]
        opponent::<super::peers::Zen>(&conditions, &rows, &matches).unwrap();
        let mut wrong = matches;
        wrong[7].retain(|rule| *rule < 49);
        wrong[7].push(49);
        wrong[8].clear();
        wrong[8].push(0);
        let disagrees = opponent::<Cel>(&conditions, &rows, &wrong).err().unwrap();
        assert!(
            disagrees.to_string().starts_with("cel: rule"),
            "{disagrees}"
        );
    }
}
