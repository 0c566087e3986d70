//! `tollgate demo`: the whole path on generated traffic.
//!
//! Serves on free ports with the embedded broker, and runs the load generator that is installed beside this
//! program, which sees Tollgate only through gRPC, Kafka and the admin port.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::Args;

use super::{CommandError, Common, load};
use crate::{Config, Service};

#[derive(Args)]
pub(super) struct Demo {
    /// Where to write the report
    #[arg(long, value_name = "FILE", default_value = "target/reports/demo.json")]
    report: PathBuf,
    /// Further arguments for the load generator, after `--`
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Demo {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, CommandError> {
        let mut config = common.load()?;
        use_free_ports(&mut config);
        let (loader, policy) = load(&config.policy.path, &config)?;
        let generator = generator()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.context("cannot start the asynchronous runtime")?;
        let succeeded = runtime.block_on(async {
            let service = Service::start(config, loader, policy)
                .await
                .context("cannot start")?;
            service.ready().await;
            let addresses = service.addresses();
            let mut command = Command::new(&generator);
            command
                .arg("demo")
                .args(["--grpc", &addresses.grpc.to_string()])
                .args(["--admin", &addresses.admin.to_string()])
                .args(["--kafka", &addresses.kafka])
                .arg("--report")
                .arg(&self.report)
                .args(&self.arguments);
            let status = tokio::task::spawn_blocking(move || command.status())
                .await
                .context("waiting for the load generator")?
                .with_context(|| format!("cannot run {}", generator.display()))?;
            service.stop().await;
            Ok::<_, anyhow::Error>(status.success())
        })?;
        Ok(if succeeded {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// The demo must run beside anything else, so it takes whatever ports are free and its own broker.
fn use_free_ports(config: &mut Config) {
    config.grpc.listen.set_port(0);
    config.admin.listen.set_port(0);
    config.kafka.bootstrap.clear();
}

/// The load generator beside this program.
fn generator() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("where this program is")?;
    let generator = program.with_file_name("tollgate-loadtest");
    if !generator.exists() {
        bail!(
            "{} is missing: the demo needs the load generator beside the program; \
             `cargo xtask demo` builds both",
            generator.display()
        );
    }
    Ok(generator)
}
