//! A `tollgate serve` of a run's own: a child process on free ports.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::kafka::{Admin, Targets};

/// How long it may take until the addresses are known.
const START_MAX: Duration = Duration::from_secs(60);

/// How long it may take to end; a drain is bounded by far less.
const STOP_MAX: Duration = Duration::from_secs(45);

const POLL: Duration = Duration::from_millis(20);

/// Has a program become the shell's process. A limit on the size of files, which runs may set from outside, would end it with a
/// signal, where a full disk only has writing fail; what is ignored here stays so.
const IGNORING_FILE_LIMITS: &str = "trap '' XFSZ; exec \"$0\" \"$@\"";

/// What is started, and on what.
pub(crate) struct Launch<'a> {
    /// The program `tollgate`.
    pub(crate) program: &'a Path,
    /// ONNX Runtime's library.
    pub(crate) library: &'a Path,
    /// The policy to serve, as it is.
    pub(crate) policy: PathBuf,
    /// Where its log is appended to (`serve.log`) and its addresses are written.
    pub(crate) folder: PathBuf,
    /// Keys of the configuration and further variables.
    pub(crate) variables: Vec<(String, String)>,
}

/// What runs that start services of their own are told: what is served, and where.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Served {
    /// The program `tollgate`.
    #[arg(long)]
    pub(crate) program: PathBuf,
    /// ONNX Runtime's library.
    #[arg(long)]
    pub(crate) library: PathBuf,
    /// The policy to serve; for chaos runs with the models that benches/python/models.py makes for them. It is copied.
    #[arg(long)]
    pub(crate) policy: PathBuf,
    /// Where each part of the run has a folder of its own.
    #[arg(long)]
    pub(crate) folder: PathBuf,
}

/// It is ended when this is dropped.
pub(crate) struct Service {
    child: Child,
    pub(crate) addresses: Addresses,
    pub(crate) policy: PathBuf,
    pub(crate) admin: Admin,
}

#[derive(Deserialize)]
pub(crate) struct Addresses {
    pub(crate) grpc: String,
    pub(crate) admin: String,
    pub(crate) kafka: String,
}

/// Answers after their deadline, as the service itself counts them.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Late {
    /// Not explained by the machine.
    pub(crate) server: u64,
    /// While the whole process was not scheduled, by the service's own watchdog.
    pub(crate) stalled: u64,
}

impl Launch<'_> {
    /// Starts it, and returns once it answers, ready or not.
    pub(crate) async fn start(&self) -> Result<Service> {
        self.spawn()?.answering().await
    }

    /// Starts the process, and waits for nothing. It has the cores that the calling thread has.
    pub(crate) fn spawn(&self) -> Result<Starting> {
        fs::create_dir_all(&self.folder)?;
        let file = self.folder.join("addresses.json");
        // Left over from an earlier start, it would name ports of nobody.
        let _ = fs::remove_file(&file);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("serve.log"))?;
        let mut serve = Command::new("sh");
        serve
            .args(["-c", IGNORING_FILE_LIMITS])
            .arg(self.program)
            .args(["serve", "--write-addresses"])
            .arg(&file)
            .env("TOLLGATE_POLICY__PATH", &self.policy)
            .env("TOLLGATE_MODEL__LIBRARY", self.library)
            .env("TOLLGATE_GRPC__LISTEN", "127.0.0.1:0")
            .env("TOLLGATE_ADMIN__LISTEN", "127.0.0.1:0")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = serve.spawn().context("cannot run tollgate serve")?;
        Ok(Starting {
            child: Some(child),
            file,
            policy: self.policy.clone(),
        })
    }
}

/// A process that does not answer yet. It is killed when this is dropped.
pub(crate) struct Starting {
    child: Option<Child>,
    file: PathBuf,
    policy: PathBuf,
}

impl Starting {
    /// Waits until it answers, ready or not.
    pub(crate) async fn answering(mut self) -> Result<Service> {
        let addresses = self.addresses().await.with_context(|| {
            let log = self.file.with_file_name("serve.log");
            format!("the service says why in {}", log.display())
        })?;
        let admin = Admin::new(addresses.admin.clone());
        Ok(Service {
            child: self.child.take().context("a service without process")?,
            addresses,
            policy: self.policy.clone(),
            admin,
        })
    }

    async fn addresses(&mut self) -> Result<Addresses> {
        let began = Instant::now();
        loop {
            if let Ok(json) = fs::read_to_string(&self.file)
                && let Ok(addresses) = serde_json::from_str(&json)
            {
                return Ok(addresses);
            }
            let child = self.child.as_mut().context("a service without process")?;
            if let Some(status) = child.try_wait()? {
                bail!("tollgate serve ended with {status}");
            }
            if began.elapsed() > START_MAX {
                bail!("tollgate serve did not start within {START_MAX:?}");
            }
            sleep(POLL).await;
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Service {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn targets(&self) -> Targets {
        Targets::of(
            &self.addresses.grpc,
            &self.addresses.kafka,
            &self.addresses.admin,
        )
    }

    pub(crate) async fn late(&self) -> Result<Late> {
        let late = self.admin.sum("tollgate_late_total").await?;
        let stalled = self.admin.sum("tollgate_late_stalled_total").await?;
        Ok(Late {
            server: late.saturating_sub(stalled),
            stalled,
        })
    }

    /// Tells it to stop, as an orchestrator does.
    pub(crate) fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends it a signal, such as STOP and CONT.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.process()?, signal)?)
    }

    /// Its process, for what the system can do to one.
    pub(crate) fn process(&self) -> Result<Pid> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        pid.context("a process without an id")
    }

    /// Ends it at once, as a crash would, and waits until it is gone.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub(crate) async fn is_ready(&self) -> Result<bool> {
        Ok(self.admin.sum("tollgate_ready").await? > 0)
    }

    /// Waits until it has read the log, and returns how long that took from now on.
    pub(crate) async fn wait_until_ready(&self, patience: Duration) -> Result<Duration> {
        let began = Instant::now();
        while !self.is_ready().await? {
            if began.elapsed() > patience {
                bail!("the service is not ready after {patience:?}");
            }
            sleep(POLL).await;
        }
        Ok(began.elapsed())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Gone already, if it was killed.
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let asked = self.terminate();
        let began = Instant::now();
        while asked.is_ok() && began.elapsed() < STOP_MAX {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies a folder, such as a policy's.
pub(crate) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
