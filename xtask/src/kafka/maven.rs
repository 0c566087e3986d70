//! What a broker needs to run: Java, and Kafka's libraries by Maven.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::tools;

const POM: &str = "xtask/kafka/pom.xml";

/// What Kafka needs at least.
const JAVA_MIN: u32 = 17;

/// What is not installed and where it comes from; `None` if all is there.
pub(super) fn missing() -> Option<String> {
    let needed = format!("Java {JAVA_MIN} or later is needed");
    let Ok(asked) = Command::new("java").arg("-version").output() else {
        return Some(format!("{needed} (Debian: default-jre-headless)"));
    };
    // It says so on standard error.
    let said = String::from_utf8_lossy(&asked.stderr);
    if !asked.status.success() {
        return Some(format!("{needed}; java -version fails: {}", said.trim()));
    }
    // Of one that says it in a way that is not known it will be seen whether it does.
    if java_version(&said).is_some_and(|version| version < JAVA_MIN) {
        let first = said.lines().find(|line| line.contains(" version "));
        return Some(format!(
            "{needed}; java -version says {}",
            first.unwrap_or(&said).trim()
        ));
    }
    let mut maven = Command::new("mvn");
    maven.arg("-version").stdout(Stdio::null());
    let has_maven = maven.stderr(Stdio::null()).status().is_ok();
    (!has_maven).then(|| "Maven is needed (Debian: maven)".to_owned())
}

/// The number in `openjdk version "17.0.2" 2022-01-18`; before 9 it was the second one, as in `1.8.0_392`.
fn java_version(said: &str) -> Option<u32> {
    let (_, version) = said.split_once(" version \"")?;
    let mut numbers = version.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || numbers.next()?.parse::<u32>().ok();
    match next()? {
        1 => next(),
        version => Some(version),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_java_is_read_however_it_is_said() {
        for (said, version) in [
            (
                "openjdk version \"17.0.2\" 2022-01-18\nOpenJDK Runtime",
                Some(17),
            ),
            ("openjdk version \"21\" 2023-09-19", Some(21)),
            ("openjdk version \"22-ea\" 2024-03-19", Some(22)),
            ("java version \"1.8.0_392\"\nJava(TM) SE Runtime", Some(8)),
            (
                "Picked up _JAVA_OPTIONS: -Xmx1g\nopenjdk version \"11.0.20\" 2023-07-18",
                Some(11),
            ),
            ("gij of another kind", None),
        ] {
            assert_eq!(java_version(said), version, "{said}");
        }
    }
}
