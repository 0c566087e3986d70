//! What a broker needs to run: Java, and Kafka's libraries by Maven.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::tools;

const POM: &str = "xtask/kafka/pom.xml";

/// What is not installed and where it comes from; `None` if all is there.
pub(super) fn missing() -> Option<&'static str> {
    let runs = |program: &str| {
        let mut asked = Command::new(program);
        asked.arg("-version").stdout(Stdio::null());
        asked.stderr(Stdio::null()).status().is_ok()
    };
    if !runs("java") {
        return Some("Java 17 or newer is needed (Debian: default-jre-headless)");
    }
    (!runs("mvn")).then_some("Maven is needed (Debian: maven)")
}

/// The folder of Kafka's libraries, brought there by Maven unless what the pom names is there already.
pub(super) fn libraries(folder: &Path) -> anyhow::Result<PathBuf> {
    let libraries = folder.join("libs");
    let stamp = folder.join("libs.pom.xml");
    let wanted = std::fs::read_to_string(POM).with_context(|| format!("cannot read {POM}"))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(libraries);
    }
    if let Some(missing) = missing() {
        bail!("{missing}");
    }
    println!("fetching Kafka's libraries");
    if libraries.exists() {
        // Two versions of one library would be on the class path together.
        std::fs::remove_dir_all(&libraries)?;
    }
    let mut maven = Command::new("mvn");
    maven
        .args(["-q", "-B", "-f", POM, "dependency:copy-dependencies"])
        .arg("-DincludeScope=runtime")
        .arg(format!("-DoutputDirectory={}", libraries.display()));
    tools::run(&mut maven).context("Maven could not fetch Kafka's libraries")?;
    std::fs::write(stamp, wanted)?;
    Ok(libraries)
}

/// A Java program out of the libraries.
pub(super) fn java(libraries: &Path, options: &[&str], class: &str) -> Command {
    let mut java = Command::new("java");
    java.args(options)
        .arg("-cp")
        .arg(libraries.join("*"))
        .arg(class);
    java
}
