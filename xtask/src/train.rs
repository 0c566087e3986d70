//! `cargo xtask train`: from a history to a bundle that the policy names, in one command.
//!
//! Everything happens on a copy of the policy under `target/`. Only what `tollgate check` has found good there is
//! published: the bundle first, then the `models.yaml` that names it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::{handbook, onnxruntime, tools};

/// Where everything but the result is written.
const FOLDER: &str = "target/training";
const MODELS_FILE: &str = "models.yaml";

#[derive(clap::Args, Debug)]
pub(crate) struct Train {
    /// Train on the handbook's data set, with its periods; the bundle stays in target/training
    #[arg(long)]
    handbook: bool,
    /// Try every kind of model on a small history, and publish nothing
    #[arg(long, conflicts_with = "handbook")]
    trial: bool,
    /// Folder of the handbook's data set
    #[arg(long, default_value = handbook::DATA)]
    data: PathBuf,
    /// The policy folder that gets the model
    #[arg(long, value_name = "FOLDER", default_value = "policy")]
    policy: PathBuf,
    /// Name of the model
    #[arg(long, default_value = "travel-fraud")]
    name: String,
    /// A history of one's own instead of a generated one; as `tollgate features` reads it
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// What the history's columns are called
    #[arg(long, value_name = "FILE", requires = "history")]
    columns: Option<PathBuf>,
    /// Cards in the generated history
    #[arg(long, value_name = "N", default_value_t = 6000)]
    cards: u32,
    /// Days of the generated history: the longest window, and time to train and to test on
    #[arg(long, value_name = "N", default_value_t = 120)]
    days: u32,
    /// Seed of the generated history; the demo uses another
    #[arg(long, value_name = "N", default_value_t = 20_260_301)]
    seed: u64,
    /// Let the model decide, in place of the present champion; it is a challenger otherwise
    #[arg(long)]
    champion: bool,
    /// Further arguments for training/train.py, after `--`, such as --model forest
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(train: &Train) -> anyhow::Result<()> {
    let folder = Path::new(FOLDER);
    if train.trial {
        trial()
    } else if train.handbook {
        of_handbook(train, &folder.join("handbook"))
    } else {
        of_history(train, folder)
    }
}

/// What `cargo xtask test` runs: a small history, a copy of the sample policy, and every step as for a real one. A model
/// of every kind, so that each is known to load.
pub(crate) fn trial() -> anyhow::Result<()> {
    let folder = Path::new(FOLDER).join("trial");
    let policy = Stage::of(Path::new("policy"), &folder.join("original"))?.copy;
    let mut train = Train {
        handbook: false,
        trial: true,
        data: PathBuf::new(),
        policy: policy.clone(),
        name: String::new(),
        history: None,
        columns: None,
        cards: 800,
        days: 90,
        seed: 7,
        champion: false,
        arguments: Vec::new(),
    };
    let (tollgate, stage, table) = prepare(&train, &folder)?;
    let mut names = Vec::new();
    for model in ["xgboost", "lightgbm", "logistic", "forest", "mlp"] {
        train.name = format!("trial-{model}");
        train.champion = model == "xgboost";
        train.arguments = ["--model", model, "--trees", "10"]
            .map(str::to_owned)
            .into();
        fit(&train, &table, &stage.copy, &train.name, &[])?;
        names.push(train.name.clone());
    }
    check(&tollgate, &stage.copy)?;
    stage.publish(&names)?;
    let named = read(&policy.join(MODELS_FILE))?;
    let mut expected = names.iter().map(|name| format!("{name}/1"));
    match expected.find(|name| !named.contains(name)) {
        Some(name) => bail!("models.yaml does not say {name}:\n{named}"),
        None => Ok(()),
    }
}

fn of_history(train: &Train, folder: &Path) -> anyhow::Result<()> {
    let (tollgate, stage, table) = prepare(train, folder)?;
    fit(train, &table, &stage.copy, &train.name, &[])?;
    check(&tollgate, &stage.copy)?;
    stage.publish(std::slice::from_ref(&train.name))
}

/// A copy of the policy, and a feature table.
fn prepare(train: &Train, folder: &Path) -> anyhow::Result<(tools::Tollgate, Stage, PathBuf)> {
    let tollgate = tools::build()?;
    let stage = Stage::of(&train.policy, &folder.join("policy"))?;
    let history = match &train.history {
        Some(history) => history.clone(),
        None => generate(&tollgate, train, folder)?,
    };
    let table = folder.join("features.csv");
    let columns = train.columns.as_deref();
    features(&tollgate, &stage.copy, &history, columns, &table)?;
    Ok((tollgate, stage, table))
}

/// The handbook's own periods: trained on a week, tested on the week after next, without cards known to be
/// compromised. What it is calibrated on is the week before the one it is trained on, so that none of that is missing.
const HANDBOOK: [&str; 16] = [
    "--train=2018-07-25..2018-08-01",
    "--calibrate=2018-07-18..2018-07-25",
    "--test=2018-08-08..2018-08-15",
    "--label-delay-days=7",
    "--drop-known-cards",
    "--reasons=loadtest/handbook/reasons.yaml",
    "--model=xgboost",
    "--trees=300",
    "--depth=4",
    "--learning-rate=0.05",
    "--subsample=1",
    "--min-child-weight=1",
    "--start=share",
    "--description=Gradient-boosted trees on the handbook's data set.",
    "--register=champion",
    "--version=1",
];

/// What the handbook's own model of this size reaches; other models are measured and not required to.
const HANDBOOK_FIGURES: [&str; 3] = [
    "--require=auc_before_calibration=0.885",
    "--require=average_precision_before_calibration=0.654",
    "--require=card_precision_100_before_calibration=0.29",
];

fn of_handbook(train: &Train, folder: &Path) -> anyhow::Result<()> {
    if !train.data.exists() {
        println!("train: skipped, no data set at {}", train.data.display());
        return Ok(());
    }
    let data = train.data.canonicalize()?;
    let tollgate = tools::build()?;
    let policy = handbook::write_policy(&tollgate, &data)?;
    let stage = Stage::of(&policy, &folder.join("policy"))?;
    let table = folder.join("features.csv");
    let history = data.join(handbook::HISTORIES[0]);
    let columns = Path::new(handbook::COLUMNS);
    features(&tollgate, &stage.copy, &history, Some(columns), &table)?;
    let mut more = HANDBOOK.to_vec();
    if train.arguments.is_empty() {
        more.extend(HANDBOOK_FIGURES);
    }
    fit(train, &table, &stage.copy, "handbook", &more)?;
    check(&tollgate, &stage.copy)?;
    let bundle = stage.copy.join("models/handbook/1");
    println!("the bundle is in {}", bundle.display());
    Ok(())
}

/// History long enough for the longest window before training begins.
fn generate(tollgate: &tools::Tollgate, train: &Train, folder: &Path) -> anyhow::Result<PathBuf> {
    let history = folder.join("history.jsonl.zst");
    let mut generate = tollgate.beside("tollgate-loadtest");
    generate
        .arg("generate")
        .args(["--cards", &train.cards.to_string()])
        .args(["--days", &train.days.to_string()])
        .args(["--seed", &train.seed.to_string()])
        .arg("--out")
        .arg(&history);
    tools::run(&mut generate)?;
    Ok(history)
}

fn features(
    tollgate: &tools::Tollgate,
    policy: &Path,
    history: &Path,
    columns: Option<&Path>,
    table: &Path,
) -> anyhow::Result<()> {
    let mut features = tollgate.command();
    features.args(["features", "--label-times", "--policy"]);
    features.arg(policy).arg("--history").arg(history);
    if let Some(columns) = columns {
        features.arg("--columns").arg(columns);
    }
    tools::run(features.arg("--out").arg(table))
}

/// Trains, writes the bundle, and names it in the policy's models.yaml.
fn fit(
    train: &Train,
    table: &Path,
    policy: &Path,
    name: &str,
    more: &[&str],
) -> anyhow::Result<()> {
    let python = tools::python_environment("training", "training/requirements.txt")?;
    let mut fit = Command::new(python);
    fit.arg("training/train.py").arg("--table").arg(table);
    fit.arg("--policy").arg(policy).args(["--name", name]);
    fit.args(["--reasons", "training/reasons.yaml"]);
    if train.champion {
        fit.args(["--register", "champion"]);
    }
    // What is said last counts.
    tools::run(fit.args(more).args(&train.arguments))
}

/// What `tollgate check` says of the policy with the new model in it.
fn check(tollgate: &tools::Tollgate, policy: &Path) -> anyhow::Result<()> {
    let library = onnxruntime::ensure(&tools::root()?)?;
    let mut check = tollgate.command();
    check.env("TOLLGATE_MODEL__LIBRARY", library);
    tools::run(check.arg("check").arg(policy)).context("the new model does not fit the policy")
}

/// A copy of a policy to work on.
struct Stage {
    policy: PathBuf,
    copy: PathBuf,
    /// The policy's models.yaml as it was copied.
    names: String,
}

impl Stage {
    fn of(policy: &Path, copy: &Path) -> anyhow::Result<Self> {
        if copy.exists() {
            std::fs::remove_dir_all(copy)?;
        }
        copy_folder(policy, copy).with_context(|| format!("cannot copy {}", policy.display()))?;
        Ok(Self {
            policy: policy.to_owned(),
            copy: copy.to_owned(),
            names: read(&copy.join(MODELS_FILE))?,
        })
    }

    /// Puts the new versions of these models into the policy, and then the file that names them.
    fn publish(&self, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            self.publish_versions(name)?;
        }
        self.publish_names()
    }

    fn publish_versions(&self, name: &str) -> anyhow::Result<()> {
        let (from, to) = (
            self.copy.join("models").join(name),
            self.policy.join("models").join(name),
        );
        std::fs::create_dir_all(&to)?;
        for entry in std::fs::read_dir(&from)? {
            let version = entry?.file_name();
            let (new, place) = (from.join(&version), to.join(&version));
            if place.exists() {
                continue;
            }
            // Whole or not at all, for a service may be looking.
            let part = to.join(format!(".{}.part", version.to_string_lossy()));
            copy_folder(&new, &part)?;
            std::fs::rename(&part, &place)?;
            println!("published {}", place.display());
        }
        Ok(())
    }

    fn publish_names(&self) -> anyhow::Result<()> {
        let (new, place) = (self.copy.join(MODELS_FILE), self.policy.join(MODELS_FILE));
        if read(&new)? == self.names {
            return Ok(());
        }
        if read(&place)? != self.names {
            bail!(
                "{} has changed in the meantime: name the new model in it by hand",
                place.display()
            );
        }
        let part = self.policy.join(format!(".{MODELS_FILE}.part"));
        std::fs::copy(new, &part)?;
        std::fs::rename(part, &place)?;
        println!("published {}", place.display());
        Ok(())
    }
}

/// The text of a file; none is empty.
fn read(path: &Path) -> anyhow::Result<String> {
    if path.exists() {
        Ok(std::fs::read_to_string(path)?)
    } else {
        Ok(String::new())
    }
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &place)?;
        } else if place.exists() {
            bail!("{} exists", place.display());
        } else {
            std::fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}
