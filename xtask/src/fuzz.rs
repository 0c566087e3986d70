//! `cargo xtask fuzz`: texts at random for whatever reads what people write, guided by what of our code they reach.
//!
//! The fuzzer is libFuzzer, built from the sources in its crate by a C++ compiler; the counters that guide it come from
//! LLVM, which a stable rustc has as well. There is no sanitizer: the crates that are fuzzed have no unsafe code, and
//! panics, hangs and memory are seen without one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::tools;

/// A program of `fuzz/targets/`.
struct Target {
    name: &'static str,
    /// Most bytes of a text. What is longer than the product reads is refused at once; far longer files only make
    /// fewer runs, and bounds at the size of a file are tested in `rules/tests/hostile.rs`.
    bytes_max: u32,
}

const TARGETS: [Target; 4] = [
    Target {
        name: "expression",
        bytes_max: 4_500,
    },
    Target {
        name: "rule_file",
        bytes_max: 65_536,
    },
    Target {
        name: "list_file",
        bytes_max: 65_536,
    },
    Target {
        name: "policy_folder",
        bytes_max: 65_536,
    },
];

/// A text that takes longer than this many seconds is a finding: all that are short enough take milliseconds.
const SECONDS_MAX: u32 = 5;

/// Memory above this many megabytes is a finding: a run takes about fifty.
const MEGABYTES_MAX: u32 = 1_024;

/// Most texts of a target in the repository: what they reach is three quarters or more of what all reach, and the tests
/// replay them in seconds.
const KEPT_MAX: usize = 100;

/// Makes LLVM count which parts of the code run, and tell what is compared with what. What is compared is guessed
/// at, so that a text gets past a comparison.
const COUNTERS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions";

/// Where everything is that a run leaves behind.
const WORK: &str = "target/fuzz";

/// Runs all targets in turn, each for its part of the time. With `minimise`, the corpus in the repository is then made
/// anew: the texts that reach the most.
pub(crate) fn run(minutes: u32, minimise: bool) -> anyhow::Result<()> {
    let programs = build()?;
    let targets = u32::try_from(TARGETS.len())?;
    let seconds = (minutes * 60).div_ceil(targets);
    let mut lines = Vec::new();
    let mut findings = 0;
    for target in &TARGETS {
        println!("fuzzing {} for {seconds} s", target.name);
        let outcome = target.fuzz(&programs, seconds)?;
        findings += outcome.findings.len();
        lines.push(outcome.line(target.name));
    }
    if minimise {
        for target in &TARGETS {
            target.minimise(&programs)?;
        }
    }
    println!("target         executions  corpus  peak MB  findings");
    lines.iter().for_each(|line| println!("{line}"));
    if findings > 0 {
        bail!(
            "{findings} findings in {WORK}/findings; run {} with one of them to see it again",
            programs.join("<target>").display()
        )
    }
    Ok(())
}

/// Builds the targets with counters and returns the folder they are in.
fn build() -> anyhow::Result<PathBuf> {
    let compiler = Command::new("c++")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if compiler.is_err() {
        bail!("c++ is not installed: install a C++ compiler (Debian: g++), which builds libFuzzer");
    }
    let host = host()?;
    println!("building the fuzz targets; the first time takes some minutes");
    // With `--target`, build scripts are built without the counters, which they could not be linked with.
    tools::run(
        Command::new(env!("CARGO"))
            .args(["build", "--release", "--locked", "--quiet"])
            .args(["--manifest-path", "fuzz/Cargo.toml", "--target", &host])
            .args(["--target-dir", WORK])
            .env("RUSTFLAGS", COUNTERS)
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
    )?;
    Ok(Path::new(WORK).join(host).join("release"))
}

fn host() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output();
    let output = output.context("cannot run rustc")?.stdout;
    let text = String::from_utf8(output)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

impl Target {
    fn fuzz(&self, programs: &Path, seconds: u32) -> anyhow::Result<Outcome> {
        let found = self.folder("corpus")?;
        let findings = self.folder("findings")?;
        let before = files(&findings)?;
        let log = self.folder("logs")?.join("log");
        let mut prefix: OsString = findings.clone().into();
        prefix.push("/");
        let mut artifacts = OsString::from("-artifact_prefix=");
        artifacts.push(prefix);
        let status = self
            .command(programs)
            .args([&found, &self.kept()])
            .arg(artifacts)
            .arg(format!("-max_total_time={seconds}"))
            .arg("-dict=fuzz/words.dict")
            .arg("-print_final_stats=1")
            .stderr(std::fs::File::create(&log)?)
            .status()
            .context("cannot run a fuzz target")?;
        let mut outcome = Outcome {
            corpus: files(&found)?.len() + files(&self.kept())?.len(),
            ..Outcome::read(&std::fs::read(&log)?)
        };
        let now = files(&findings)?;
        outcome.findings = now
            .into_iter()
            .filter(|path| !before.contains(path))
            .collect();
        if !status.success() && outcome.findings.is_empty() {
            bail!("{} ended with {status}: see {}", self.name, log.display());
        }
        Ok(outcome)
    }

    /// Replaces the corpus of the repository by the texts of it, and of what was found, that reach the most.
    fn minimise(&self, programs: &Path) -> anyhow::Result<()> {
        let merged = self.folder("merged")?;
        std::fs::remove_dir_all(&merged)?;
        std::fs::create_dir_all(&merged)?;
        copy(&files(&self.kept())?, &merged)?;
        let logs = self.folder("logs")?;
        let control = logs.join("reached");
        // What is left of an earlier one would be gone on with.
        let _ = std::fs::remove_file(&control);
        let mut command = self.command(programs);
        command
            .arg("-merge=1")
            .arg(format!("-merge_control_file={}", control.display()))
            .args([&merged, &self.folder("corpus")?])
            .stderr(std::fs::File::create(logs.join("merge"))?);
        tools::run(&mut command)?;
        let control = std::fs::read(&control)?;
        let best: Vec<PathBuf> = most_reaching(&String::from_utf8_lossy(&control))
            .into_iter()
            .map(PathBuf::from)
            .filter(|path| std::fs::read_to_string(path).is_ok())
            .take(KEPT_MAX)
            .collect();
        for old in files(&self.kept())? {
            std::fs::remove_file(old)?;
        }
        copy(&best, &self.kept())
    }

    /// At the lowest priority: whoever else works on the machine comes first.
    fn command(&self, programs: &Path) -> Command {
        let mut command = Command::new("nice");
        command
            .args(["-n", "19"])
            .arg(programs.join(self.name))
            .arg(format!("-max_len={}", self.bytes_max))
            .arg(format!("-timeout={SECONDS_MAX}"))
            .arg(format!("-rss_limit_mb={MEGABYTES_MAX}"))
            .stdout(Stdio::null());
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            // Policy folders are written and read some hundred times a second.
            command.env("TMPDIR", memory);
        }
        command
    }

    /// The corpus of the repository.
    fn kept(&self) -> PathBuf {
        Path::new("fuzz/corpus").join(self.name)
    }

    fn folder(&self, what: &str) -> anyhow::Result<PathBuf> {
        let folder = Path::new(WORK).join(what).join(self.name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// The files that the fuzzer went through, those that reach the most before others: it goes through them in order
/// and notes, in a line `COV <number of the file> <place> …`, what none before has reached.
fn most_reaching(control: &str) -> Vec<&str> {
    let mut lines = control.lines();
    let count = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let files: Vec<&str> = lines.by_ref().skip(1).take(count).collect();
    let mut reached: Vec<(usize, &str)> = lines
        .filter_map(|line| {
            let mut words = line.strip_prefix("COV ")?.split_whitespace();
            let file = files.get(words.next()?.parse::<usize>().ok()?)?;
            Some((words.count(), *file))
        })
        .filter(|(places, _)| *places > 0)
        .collect();
    reached.sort_by_key(|(places, _)| std::cmp::Reverse(*places));
    reached.into_iter().map(|(_, file)| file).collect()
}

fn copy(files: &[PathBuf], to: &Path) -> anyhow::Result<()> {
    for file in files {
        let name = file.file_name().context("a file without a name")?;
        std::fs::copy(file, to.join(name))?;
    }
    Ok(())
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    paths.collect()
}

/// What came of one target.
#[derive(Default, PartialEq, Eq, Debug)]
struct Outcome {
    executions: u64,
    megabytes: u64,
    corpus: usize,
    findings: Vec<PathBuf>,
}

impl Outcome {
    /// The figures that the fuzzer prints at its end. Its output has pieces of texts in it, so it may be no UTF-8.
    fn read(log: &[u8]) -> Self {
        let log = String::from_utf8_lossy(log);
        let figure = |name: &str| {
            let mut found = log.lines().filter_map(|line| line.strip_prefix(name));
            found.find_map(|rest| rest.trim().parse().ok())
        };
        Self {
            executions: figure("stat::number_of_executed_units:").unwrap_or(0),
            megabytes: figure("stat::peak_rss_mb:").unwrap_or(0),
            ..Self::default()
        }
    }

    fn line(&self, name: &str) -> String {
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let findings = if findings.is_empty() {
            "none".to_owned()
        } else {
            findings.join(" ")
        };
        format!(
            "{name:<13} {:>11} {:>7} {:>8}  {findings}",
            self.executions, self.corpus, self.megabytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kept_by_how_much_they_reach_first() {
        let control = "3\n1\nkept/a\nfound/b\nfound/c\nSTARTED 0 2\nFT 0 5 6\nCOV 0 7\nSTARTED 1 3\n\
                       FT 1 8\nCOV 1\nSTARTED 2 9\nFT 2 1\nCOV 2 1 2 3\n";
        assert_eq!(most_reaching(control), ["found/c", "kept/a"]);
        assert!(most_reaching("").is_empty());
    }

    #[test]
    fn figures_are_read_from_what_the_fuzzer_prints() {
        let log = b"#2 INITED\n\xff\xfe\nstat::number_of_executed_units: 254165\nstat::peak_rss_mb:              50\n";
        let outcome = Outcome {
            corpus: 12,
            ..Outcome::read(log)
        };
        assert_eq!((outcome.executions, outcome.megabytes), (254_165, 50));
        assert_eq!(
            outcome.line("rule_file"),
            "rule_file          254165      12       50  none"
        );
    }
}
