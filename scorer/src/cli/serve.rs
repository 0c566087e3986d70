//! `tollgate serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{CommandError, Common, load};
use crate::Service;

#[derive(Args)]
pub(super) struct Serve {
    /// Write the addresses in use to this file as JSON, once requests are answered
    #[arg(long, value_name = "FILE")]
    write_addresses: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, CommandError> {
        let config = common.load()?;
        // Before any port opens: a policy with an error must not look like a service that is starting.
        let (loader, policy) = load(&config.policy.path, &config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.context("cannot start the asynchronous runtime")?;
        runtime.block_on(async {
            let version = policy.version().to_owned();
            let service = Service::start(config, loader, policy)
                .await
                .context("cannot start")?;
            let addresses = service.addresses();
            if let Some(path) = &self.write_addresses {
                let json = serde_json::to_string(addresses).context("addresses")?;
                std::fs::write(path, json)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            tracing::info!(
                grpc = %addresses.grpc,
                admin = %addresses.admin,
                kafka = addresses.kafka,
                policy_version = version,
                "serving"
            );
            let ended = ended();
            tokio::pin!(ended);
            tokio::select! {
                () = service.ready() => tracing::info!("ready: the log has been read"),
                result = &mut ended => {
                    result?;
                    service.stop().await;
                    return Ok(());
                }
            }
            ended.await?;
            tracing::info!("stopping");
            service.stop().await;
            Ok::<_, anyhow::Error>(())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Waits for SIGTERM or SIGINT.
async fn ended() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
