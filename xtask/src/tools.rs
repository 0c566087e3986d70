//! Running other programs, and saying plainly what is missing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;

/// How long a service may take until its addresses are known.
const START_MAX: Duration = Duration::from_secs(60);

/// The root of the repository.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(xtask
        .parent()
        .context("the xtask folder has no parent")?
        .to_owned())
}

/// The built `tollgate`, and the programs beside it.
pub(crate) struct Tollgate {
    program: PathBuf,
}

impl Tollgate {
    pub(crate) fn command(&self) -> Command {
        Command::new(&self.program)
    }

    pub(crate) fn beside(&self, name: &str) -> Command {
        Command::new(self.program.with_file_name(name))
    }

    /// A run of the load generator that starts services of its own.
    pub(crate) fn serving(
        &self,
        run: &str,
        library: &Path,
        policy: &Path,
        folder: &Path,
    ) -> Command {
        let mut loadtest = self.beside("tollgate-loadtest");
        loadtest
            .arg(run)
            .arg("--program")
            .arg(&self.program)
            .arg("--library")
            .arg(library)
            .arg("--policy")
            .arg(policy)
            .arg("--folder")
            .arg(folder);
        loadtest
    }
}

/// Says what the Kafka client cannot be built without, before minutes are spent on all else.
pub(crate) fn can_build() -> anyhow::Result<()> {
    for (tool, package) in [("cc", "a C compiler"), ("make", "make")] {
        let found = Command::new(tool)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if found.is_err() {
            bail!("{tool} is not installed: install {package}, which builds the Kafka client");
        }
    }
    let openssl = Command::new("pkg-config")
        .args(["--exists", "openssl"])
        .status();
    // Whoever names a folder of it knows better.
    if std::env::var_os("OPENSSL_DIR").is_none() && !openssl.is_ok_and(|found| found.success()) {
        bail!(
            "OpenSSL's headers are not installed: install pkg-config and libssl-dev (openssl-devel), which Kafka's client \
             needs for TLS"
        );
    }
    let curl = Command::new("pkg-config")
        .args(["--exists", "libcurl"])
        .status();
    if !curl.is_ok_and(|found| found.success()) {
        bail!(
            "curl's headers are not installed: install libcurl4-openssl-dev (libcurl-devel), by which Kafka's client fetches \
             tokens"
        );
    }
    Ok(())
}

/// Builds `tollgate` and `tollgate-loadtest` as they are served.
pub(crate) fn build() -> anyhow::Result<Tollgate> {
    can_build()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--release",
        "--locked",
        "-p",
        "tollgate-scorer",
        "-p",
        "tollgate-loadtest",
    ]);
    println!("building tollgate; the first time takes some minutes");
    run(&mut cargo)?;
    Ok(Tollgate {
        program: release()?.join("tollgate"),
    })
}

/// Where cargo puts what is built in release.
pub(crate) fn release() -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    Ok(root()?.join(target).join("release"))
}

/// Runs a program to its end; its failure is an error that shows what was run.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    if status.success() {
        Ok(())
    } else {
        bail!("{} ended with {status}", shown(command))
    }
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Asks again and again until it is so: `None` if it was not within `limit`.
pub(crate) fn wait_until(
    limit: Duration,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Option<()>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the ban is for the service's own code"
    )]
    let started = Instant::now();
    while !is_so()? {
        if started.elapsed() > limit {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Some(()))
}

/// A Python environment of its own under `target/`, with what `requirements` pins. Returns its interpreter.
pub(crate) fn python_environment(name: &str, requirements: &str) -> anyhow::Result<PathBuf> {
    let folder = root()?.join("target/python").join(name);
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    let wanted = std::fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {requirements}"))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("preparing Python packages for {name}");
    let mut venv = Command::new("python3");
    let hint = "Python 3 with venv and pip is needed (Debian: python3-venv, python3-pip)";
    run(venv.args(["-m", "venv", "--clear"]).arg(&folder)).context(hint)?;
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        requirements,
    ]);
    run(&mut pip).context(hint)?;
    std::fs::write(stamp, wanted)?;
    Ok(python)
}

/// The script that makes models for benches and load runs, with the packages it needs.
pub(crate) fn make_models() -> anyhow::Result<Command> {
    let python = python_environment("models", "benches/python/models-requirements.txt")?;
    let mut command = Command::new(python);
    command.arg("benches/python/models.py");
    Ok(command)
}

/// A running `tollgate serve`; it is told to stop when this is dropped.
pub(crate) struct Serving {
    child: Child,
    pub(crate) addresses: Addresses,
}

#[derive(Deserialize)]
pub(crate) struct Addresses {
    pub(crate) grpc: String,
    pub(crate) admin: String,
    pub(crate) kafka: String,
}

/// Starts `tollgate serve` on free ports with the embedded broker and waits for its addresses.
pub(crate) fn serve(
    tollgate: &Tollgate,
    policy: &Path,
    library: &Path,
    folder: &Path,
) -> anyhow::Result<Serving> {
    serve_with(tollgate, policy, library, folder, &[])
}

/// The same, with variables of the configuration.
pub(crate) fn serve_with(
    tollgate: &Tollgate,
    policy: &Path,
    library: &Path,
    folder: &Path,
    variables: &[(&str, &str)],
) -> anyhow::Result<Serving> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join("addresses.json");
    // Left over from an earlier run, it would name ports of nobody.
    let _ = std::fs::remove_file(&file);
    let mut serve = tollgate.command();
    serve
        .args(["serve", "--write-addresses"])
        .arg(&file)
        .env("TOLLGATE_POLICY__PATH", policy)
        .env("TOLLGATE_MODEL__LIBRARY", library)
        .env("TOLLGATE_GRPC__LISTEN", "127.0.0.1:0")
        .env("TOLLGATE_ADMIN__LISTEN", "127.0.0.1:0")
        .envs(variables.iter().copied());
    let mut child = serve.spawn().context("cannot run tollgate serve")?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the ban is for the service's own code"
    )]
    let started = Instant::now();
    loop {
        if let Ok(json) = std::fs::read_to_string(&file)
            && let Ok(addresses) = serde_json::from_str(&json)
        {
            return Ok(Serving { child, addresses });
        }
        if let Some(status) = child.try_wait()? {
            bail!("tollgate serve ended with {status}");
        }
        if started.elapsed() > START_MAX {
            let _ = child.kill();
            bail!("tollgate serve did not start within {START_MAX:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Serving {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // SIGTERM through the shell's kill, so that the service drains; by its own id only.
        let asked = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        if asked.is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
