//! Brings the ONNX Runtime library that Tollgate loads at start (ADR 0004).
//!
//! The library is taken from the wheel that its makers publish on PyPI, because that is the one place with a
//! build for every platform we support and pip is on every machine that trains models. The wheel's digest is
//! pinned here, so what is loaded is what was tested, whichever mirror pip is pointed at.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// A path here replaces the download: for platforms without a wheel and for machines without a network.
const OWN_LIBRARY: &str = "TOLLGATE_ONNXRUNTIME";

const VERSION: &str = "1.30.0";

/// One wheel by its platform, with what is inside. To go to another version, change [`VERSION`], run
/// `pip download` for each platform as [`download`] does and take the digests with `sha256sum`.
struct Wheel {
    os: &'static str,
    arch: &'static str,
    platform: &'static str,
    sha256: &'static str,
    library: &'static str,
}

const WHEELS: [Wheel; 3] = [
    Wheel {
        os: "linux",
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "fd54b314ea385bcecac69ab431f020ba503e3878dad4ebb645fec5a24b041242",
        library: "onnxruntime/capi/libonnxruntime.so.1.30.0",
    },
    Wheel {
        os: "linux",
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "bac3aee7b40acd805659fd81a2acd6096312d5b0f014c97ddfe75fb4c1644627",
        library: "onnxruntime/capi/libonnxruntime.so.1.30.0",
    },
    Wheel {
        os: "macos",
        arch: "aarch64",
        platform: "macosx_14_0_arm64",
        sha256: "f36c87ec504f4f328e968ee322e4ba9682abe66280b3425625afcbed5333fed7",
        library: "onnxruntime/capi/libonnxruntime.1.30.0.dylib",
    },
];

/// What must travel with the library wherever it is passed on.
const NOTICES: [&str; 2] = ["LICENSE", "ThirdPartyNotices.txt"];

/// The path of an ONNX Runtime library of the pinned version under `root`'s target folder, downloaded if it is
/// not there yet (about 24 MB). Quick when it is; safe to run twice at once.
pub(crate) fn ensure(root: &Path) -> Result<PathBuf> {
    if let Some(own) = std::env::var_os(OWN_LIBRARY).filter(|path| !path.is_empty()) {
        let own = PathBuf::from(own);
        ensure!(
            own.is_file(),
            "{OWN_LIBRARY} names {}, which is not a file",
            own.display()
        );
        return Ok(own);
    }
    let wheel = wheel_for(std::env::consts::OS, std::env::consts::ARCH)?;
    let folder = root.join("target/onnxruntime");
    let library = folder.join(format!("libonnxruntime{}", std::env::consts::DLL_SUFFIX));
    // Written last, so a download that was cut off, or an older version, is done again.
    let stamp = folder.join("wheel.sha256");
    if library.is_file() && fs::read_to_string(&stamp).is_ok_and(|text| text == wheel.sha256) {
        return Ok(library);
    }
    let scratch = folder.join(format!("download-{}", std::process::id()));
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    let fetched = fetch(wheel, &scratch, &folder, &library);
    // What a failed attempt leaves behind is of no use; if it cannot be removed, that is no second error.
    let _ = fs::remove_dir_all(&scratch);
    fetched?;
    fs::write(&stamp, wheel.sha256).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(library)
}

fn wheel_for(os: &str, arch: &str) -> Result<&'static Wheel> {
    let known = WHEELS
        .iter()
        .find(|wheel| wheel.os == os && wheel.arch == arch);
    known.with_context(|| {
        format!(
            "no ONNX Runtime build is pinned for {os} on {arch}: install ONNX Runtime {VERSION} or newer yourself \
             (https://onnxruntime.ai) and set {OWN_LIBRARY} to the path of its library"
        )
    })
}

fn fetch(wheel: &Wheel, scratch: &Path, folder: &Path, library: &Path) -> Result<()> {
    check_python()?;
    eprintln!(
        "fetching ONNX Runtime {VERSION} ({}, about 24 MB) …",
        wheel.platform
    );
    let file = download(wheel, scratch)?;
    verify(&file, wheel.sha256)?;
    for notice in NOTICES {
        extract(
            &file,
            &format!("onnxruntime/{notice}"),
            &folder.join(notice),
        )?;
    }
    let unpacked = scratch.join("library");
    extract(&file, wheel.library, &unpacked)?;
    fs::rename(&unpacked, library)
        .with_context(|| format!("cannot put the library at {}", library.display()))?;
    eprintln!("ONNX Runtime {VERSION} is at {}", library.display());
    Ok(())
}

/// Says which of the two is missing before anything is tried, because pip's own message would not.
fn check_python() -> Result<()> {
    let runs = |arguments: &[&str]| {
        let quiet = Command::new("python3")
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match quiet {
            Ok(status) => Ok(status.success()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).context("cannot run python3"),
        }
    };
    if !runs(&["--version"])? {
        bail!(
            "python3 is needed to fetch ONNX Runtime and was not found: install it (Debian and Ubuntu: \
             `apt install python3 python3-pip`; Fedora: `dnf install python3 python3-pip`; macOS: `brew install \
             python`), or set {OWN_LIBRARY} to an ONNX Runtime library of your own"
        );
    }
    if !runs(&["-m", "pip", "--version"])? {
        bail!(
            "python3 has no pip, which is needed to fetch ONNX Runtime: install it (Debian and Ubuntu: `apt install \
             python3-pip`; Fedora: `dnf install python3-pip`; elsewhere: `python3 -m ensurepip`), or set \
             {OWN_LIBRARY} to an ONNX Runtime library of your own"
        );
    }
    Ok(())
}

/// Downloads the wheel into `scratch`. The tags are spelled out, so the Python that runs pip may be any version.
fn download(wheel: &Wheel, scratch: &Path) -> Result<PathBuf> {
    let output = Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ])
        .args(["--python-version", "3.11", "--platform", wheel.platform])
        .arg(format!("onnxruntime=={VERSION}"))
        .arg("--dest")
        .arg(scratch)
        .output()
        .context("cannot run python3 -m pip")?;
    ensure!(
        output.status.success(),
        "pip could not download onnxruntime {VERSION}; check the network and pip's index (`pip config list`), or set \
         {OWN_LIBRARY} to an ONNX Runtime library of your own. pip said:\n{}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    for entry in
        fs::read_dir(scratch).with_context(|| format!("cannot read {}", scratch.display()))?
    {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("whl")) {
            return Ok(path);
        }
    }
    bail!(
        "pip reported success but left no wheel in {}",
        scratch.display()
    )
}

fn verify(file: &Path, expected: &str) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let found: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    ensure!(
        found == expected,
        "the wheel pip downloaded is not the pinned one (sha256 {found}, expected {expected}): nothing was installed; \
         if pip uses a mirror, have `PIP_INDEX_URL` name another index"
    );
    Ok(())
}

/// Takes one file out of the wheel, which is a zip: Python reads those, so no crate has to.
fn extract(wheel: &Path, member: &str, to: &Path) -> Result<()> {
    const SCRIPT: &str = "import shutil, sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[1]).open(sys.argv[2]) as member, open(sys.argv[3], 'wb') as file:\n    \
            shutil.copyfileobj(member, file)\n";
    let output = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(wheel)
        .arg(member)
        .arg(to)
        .output()
        .context("cannot run python3")?;
    ensure!(
        output.status.success(),
        "cannot take {member} out of {}:\n{}",
        wheel.display(),
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_holds_the_pinned_version() {
        for wheel in &WHEELS {
            assert!(wheel.library.contains(VERSION), "{}", wheel.platform);
            assert_eq!(wheel.sha256.len(), 64, "{}", wheel.platform);
        }
    }

    #[test]
    fn a_platform_without_a_wheel_is_told_what_to_do() {
        assert!(wheel_for("linux", "x86_64").is_ok());
        let error = wheel_for("linux", "riscv64")
            .err()
            .map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains("riscv64") && text.contains(OWN_LIBRARY)));
    }

    #[test]
    fn a_wheel_that_is_not_the_pinned_one_is_refused() {
        let file = std::env::temp_dir().join(format!("tollgate-wheel-{}", std::process::id()));
        fs::write(&file, "not a wheel").unwrap();
        let refused = verify(&file, WHEELS[0].sha256).unwrap_err().to_string();
        fs::remove_file(&file).unwrap();
        assert!(refused.contains("not the pinned one"), "{refused}");
    }
}
