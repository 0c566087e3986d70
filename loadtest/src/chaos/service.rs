//! A `tollgate serve` of a scenario's own, on free ports and a copy of the policy.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::Stage;
use super::drive::Client;
use crate::kafka::{Admin, Targets};
use crate::models::choose;

/// How long it may take until the addresses are known.
const START_MAX: Duration = Duration::from_secs(60);

/// How long it may take to end; a drain is bounded by far less.
const STOP_MAX: Duration = Duration::from_secs(45);

const POLL: Duration = Duration::from_millis(20);

/// It is ended when this is dropped.
pub(super) struct Service {
    child: Child,
    pub(super) addresses: Addresses,
    pub(super) policy: PathBuf,
    pub(super) admin: Admin,
}

#[derive(Deserialize)]
pub(super) struct Addresses {
    pub(super) grpc: String,
    pub(super) admin: String,
    pub(super) kafka: String,
}

/// Answers after their deadline, as the service itself counts them.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Late {
    /// Not explained by the machine.
    pub(super) server: u64,
    /// While the whole process was not scheduled, by the service's own watchdog.
    pub(super) stalled: u64,
}

impl Service {
    /// Starts it with variables of the configuration, and another champion if one is named.
    pub(super) async fn start(
        stage: &Stage<'_>,
        champion: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let prepared = prepare(stage, champion)?;
        Self::serve(stage, prepared, variables).await
    }

    /// The same on a policy folder that [`prepare`] has made and somebody has changed.
    pub(super) async fn serve(
        stage: &Stage<'_>,
        policy: PathBuf,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = stage.folder();
        let file = folder.join("addresses.json");
        // Left over from an earlier run, it would name ports of nobody.
        let _ = fs::remove_file(&file);
        let log = File::create(folder.join("serve.log"))?;
        let mut serve = Command::new(&stage.setting.program);
        serve
            .args(["serve", "--write-addresses"])
            .arg(&file)
            .env("TOLLGATE_POLICY__PATH", &policy)
            .env("TOLLGATE_MODEL__LIBRARY", &stage.setting.library)
            .env("TOLLGATE_GRPC__LISTEN", "127.0.0.1:0")
            .env("TOLLGATE_ADMIN__LISTEN", "127.0.0.1:0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(cores) = stage.cores {
            cores.as_service()?;
        }
        let child = serve.spawn();
        if let Some(cores) = stage.cores {
            cores.as_generator()?;
        }
        let mut child = child.context("cannot run tollgate serve")?;
        let addresses = started(&mut child, &file).await.with_context(|| {
            format!(
                "the service says why in {}",
                folder.join("serve.log").display()
            )
        })?;
        let admin = Admin::new(addresses.admin.clone());
        let service = Self {
            child,
            addresses,
            policy,
            admin,
        };
        service.wait_until_ready().await?;
        Ok(service)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Connections to it.
    pub(super) async fn client(&self, stage: &Stage<'_>, connections: usize) -> Result<Client> {
        let requests = stage.setting.requests.clone();
        Client::connect(&self.addresses.grpc, connections, requests).await
    }

    pub(super) fn targets(&self) -> Targets {
        Targets::of(
            &self.addresses.grpc,
            &self.addresses.kafka,
            &self.addresses.admin,
        )
    }

    pub(super) async fn late(&self) -> Result<Late> {
        let late = self.admin.sum("tollgate_late_total").await?;
        let stalled = self.admin.sum("tollgate_late_stalled_total").await?;
        Ok(Late {
            server: late.saturating_sub(stalled),
            stalled,
        })
    }

    /// Tells it to stop, as an orchestrator does.
    pub(super) fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(
            pid.context("a process without an id")?,
            Signal::TERM,
        )?)
    }

    /// Whether it has ended, and how.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let began = Instant::now();
        while self.admin.sum("tollgate_ready").await? == 0 {
            if began.elapsed() > START_MAX {
                bail!("the service is not ready after {START_MAX:?}");
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
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

/// A copy of the policy in the scenario's folder, which is emptied first.
pub(super) fn prepare(stage: &Stage<'_>, champion: Option<&str>) -> Result<PathBuf> {
    let folder = stage.folder();
    // Left over from an earlier run.
    let _ = fs::remove_dir_all(&folder);
    let policy = folder.join("policy");
    copy(&stage.setting.policy, &policy).context("cannot copy the policy")?;
    if let Some(champion) = champion {
        choose(&policy, champion)?;
    }
    Ok(policy)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
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

async fn started(child: &mut Child, file: &Path) -> Result<Addresses> {
    let began = Instant::now();
    loop {
        if let Ok(json) = fs::read_to_string(file)
            && let Ok(addresses) = serde_json::from_str(&json)
        {
            return Ok(addresses);
        }
        if let Some(status) = child.try_wait()? {
            bail!("tollgate serve ended with {status}");
        }
        if began.elapsed() > START_MAX {
            let _ = child.kill();
            let _ = child.wait();
            bail!("tollgate serve did not start within {START_MAX:?}");
        }
        sleep(POLL).await;
    }
}
