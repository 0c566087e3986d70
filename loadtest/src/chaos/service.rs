//! The service of a scenario: on a copy of the policy in the scenario's folder.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Stage;
use super::drive::Client;
use crate::models::choose;
pub(super) use crate::service::{Late, Service};
use crate::service::{Launch, copy};

/// How long it may take until it is ready; there is little to read.
const READY_MAX: Duration = Duration::from_secs(60);

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
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let launch = Launch {
            program: &stage.setting.served.program,
            library: &stage.setting.served.library,
            policy,
            folder: stage.folder(),
            variables: variables.iter().map(owned).collect(),
        };
        if let Some(cores) = stage.cores {
            cores.as_service()?;
        }
        let starting = launch.spawn();
        if let Some(cores) = stage.cores {
            cores.as_generator()?;
        }
        let service = starting?.answering().await?;
        service.wait_until_ready(READY_MAX).await?;
        Ok(service)
    }

    /// Connections to it.
    pub(super) async fn client(&self, stage: &Stage<'_>, connections: usize) -> Result<Client> {
        let requests = stage.setting.requests.clone();
        Client::connect(&self.addresses.grpc, connections, requests).await
    }
}

/// A copy of the policy in the scenario's folder, which is emptied first.
pub(super) fn prepare(stage: &Stage<'_>, champion: Option<&str>) -> Result<PathBuf> {
    let folder = stage.folder();
    // Left over from an earlier run.
    let _ = fs::remove_dir_all(&folder);
    let policy = folder.join("policy");
    copy(&stage.setting.served.policy, &policy).context("cannot copy the policy")?;
    if let Some(champion) = champion {
        choose(&policy, champion)?;
    }
    Ok(policy)
}
