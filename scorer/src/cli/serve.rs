//! `tollgate serve`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CommandError, Common, load};
use crate::{Service, panics};

/// How long a start that is given up may take to end: longer than it waits for a broker's answer.
const START_END_MAX: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(super) struct Serve {
    /// Write the addresses in use to this file as JSON, once requests are answered
    #[arg(long, value_name = "FILE")]
    write_addresses: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, CommandError> {
        panics::hide_messages();
        let config = common.load()?;
        // Before any port opens: a policy with an error must not look like a service that is starting.
        let (loader, policy) = load(&config.policy.path, &config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.context("cannot start the asynchronous runtime")?;
        let was_started = runtime.block_on(async {
            let mut signals = Signals::new()?;
            let version = policy.version().to_owned();
            tracing::info!(policy_version = version, "starting");
            let service = tokio::select! {
                started = Service::start(config, loader, policy) => started.context("cannot start")?,
                () = signals.next() => {
                    // Nothing has been answered yet, so nothing is to be ended in order.
                    tracing::info!("stopped before the start was over");
                    return Ok(false);
                }
            };
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
            let ready = async {
                service.ready().await;
                tracing::info!("ready: the log has been read");
                std::future::pending().await
            };
            tokio::select! {
                () = ready => {}
                () = signals.next() => {}
            }
            tracing::info!("stopping");
            service.drain(signals.next()).await;
            Ok::<_, anyhow::Error>(true)
        })?;
        if was_started {
            // Whatever could be waited for has been, with a limit; what hangs is not waited for again.
            runtime.shutdown_background();
        } else {
            // Whoever asks Kafka something goes on until it has an answer, and would find OpenSSL gone if the process ended meanwhile.
            runtime.shutdown_timeout(START_END_MAX);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// SIGTERM and SIGINT, from when this was made: none that comes later is missed or ends the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
        })
    }

    /// Waits for the next of either.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
