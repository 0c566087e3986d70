//! `cargo xtask test`: everything CI runs, ending with a count.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::kafka::ForTests;
use crate::{clients, handbook, onnxruntime, tidy, tools, train};

/// How many of each there were.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

pub(crate) fn run() -> anyhow::Result<()> {
    tools::can_build()?;
    let root = tools::root()?;
    let library = onnxruntime::ensure(&root)?;
    let mut count = Count::default();
    count.step("formatting, lints and tidiness", tidy::check);
    count.rust_tests(&library)?;
    count.step("models as exporters write them", || exported(&library));
    count.step("python client by reflection", || {
        clients::by_reflection(&library)
    });
    count.step("clients of docs/clients.md", || clients::worked(&library));
    count.step("tests of the training code", python_tests);
    count.step("training, from a small history to a policy", train::trial);
    if Path::new(handbook::DATA).exists() {
        let data = Path::new(handbook::DATA);
        count.step("handbook replay", || handbook::run(data));
    } else {
        println!(
            "skipped: handbook replay (no data set at {})",
            handbook::DATA
        );
        count.skipped += 1;
    }
    // The closing line is the result, alone on its line.
    let Count {
        passed,
        failed,
        skipped,
    } = count;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 {
        bail!("{failed} failed")
    } else {
        Ok(())
    }
}

impl Count {
    /// One step that passes or fails as a whole.
    fn step(&mut self, name: &str, step: impl FnOnce() -> anyhow::Result<()>) {
        println!("── {name}");
        match step() {
            Ok(()) => self.passed += 1,
            Err(error) => {
                println!("FAILED: {name}: {error:#}");
                self.failed += 1;
            }
        }
    }

    /// Every Rust test of the workspace, with a real Kafka for those that want one.
    fn rust_tests(&mut self, library: &Path) -> anyhow::Result<()> {
        // Brokers that wait for a compiler take its memory; and what does not compile is told at once below.
        println!("── compiling tests");
        let _ = cargo_test(library).arg("--no-run").status();
        println!("── real Kafka");
        let kafka = match ForTests::start() {
            Ok(Some(kafka)) => Some(kafka),
            Ok(None) => {
                self.skipped += 1;
                None
            }
            Err(error) => {
                println!("FAILED: real Kafka: {error:#}");
                self.failed += 1;
                None
            }
        };
        self.cargo_tests(library, kafka.as_ref())
    }

    /// Counted from what the test runners print.
    fn cargo_tests(&mut self, library: &Path, kafka: Option<&ForTests>) -> anyhow::Result<()> {
        println!("── cargo test");
        let mut cargo = cargo_test(library);
        cargo.arg("--no-fail-fast").stdout(Stdio::piped());
        if let Some(kafka) = kafka {
            kafka.tell(&mut cargo)?;
        }
        let mut child = cargo.spawn().context("cannot run cargo test")?;
        let output = child.stdout.take().context("no output of cargo test")?;
        let before = self.failed;
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            self.add(&line);
        }
        let status = child.wait()?;
        if !status.success() && self.failed == before {
            // It did not even compile, or a runner crashed.
            self.failed += 1;
        }
        Ok(())
    }

    /// Adds what a line such as `test result: ok. 16 passed; 0 failed; 0 ignored; …` says.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(number) = number.parse::<usize>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

fn cargo_test(library: &Path) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["test", "--workspace", "--locked"])
        .env("TOLLGATE_ONNXRUNTIME", library);
    cargo
}

/// Models trained and exported anew by the real libraries score as the libraries do.
fn exported(library: &Path) -> anyhow::Result<()> {
    let folder = tools::root()?.join("target/exported");
    // What an earlier version of the script exported is not compared.
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let python = tools::python_environment("exporters", "models/tests/python/requirements.txt")?;
    let mut export = Command::new(python);
    export
        .arg("models/tests/python/export_forms.py")
        .arg(&folder);
    tools::run(&mut export)?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["test", "--locked", "--quiet", "-p", "tollgate-models"])
        .args(["--test", "exported"])
        .env("TOLLGATE_ONNXRUNTIME", library)
        .env("TOLLGATE_EXPORTED", &folder);
    tools::run(&mut cargo)
}

/// The tests of what trains models, in the environment it is pinned to.
fn python_tests() -> anyhow::Result<()> {
    let python = tools::python_environment("training", "training/requirements.txt")?;
    let mut tests = Command::new(python);
    tests.args(["-m", "unittest", "discover", "--start-directory"]);
    tools::run(tests.arg("training/tests"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_from_the_runners_closing_lines() {
        let mut count = Count::default();
        count.add("test result: ok. 16 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out");
        count.add("test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out");
        count.add("test something ... ok");
        assert_eq!(
            count,
            Count {
                passed: 17,
                failed: 3,
                skipped: 2
            }
        );
    }
}
