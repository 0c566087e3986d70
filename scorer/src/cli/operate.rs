//! `tollgate policy …`, `tollgate rules …` and `tollgate models`: commands to a service that is running, through its admin port.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::{CommandError, Common};
use crate::Config;
use crate::admin::DemotedReport;
use crate::model_report::ModelReport;
use crate::reload::VersionsReport;

/// A service that does not answer within this has other troubles.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(super) struct Policy {
    #[command(flatten)]
    service: Service,
    #[command(subcommand)]
    what: PolicyCommand,
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// List the policies that the running service has loaded, the live one first
    Versions,
    /// Make one of them live again, and keep it until `follow`
    Rollback {
        /// As `versions` lists it
        version: String,
    },
    /// Let the policy folder decide again what is live
    Follow,
}

#[derive(Args)]
pub(super) struct Rules {
    #[command(flatten)]
    service: Service,
    #[command(subcommand)]
    what: RulesCommand,
}

#[derive(Subcommand)]
enum RulesCommand {
    /// List the rules that declined more than their guard allows and are reported only
    Demoted,
    /// Let one of them decide again
    Resume {
        /// Its id
        rule: String,
    },
}

#[derive(Args)]
pub(super) struct Models {
    #[command(flatten)]
    service: Service,
}

/// Which service is meant.
#[derive(Args)]
struct Service {
    /// Its admin port, as host:port of this machine; the configured one if left out
    #[arg(long, global = true, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

impl Policy {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, CommandError> {
        let service = Connection::new(&self.service, &common.load()?);
        let report = match self.what {
            PolicyCommand::Versions => service.get("/policy/versions")?,
            PolicyCommand::Rollback { version } => {
                service.post("/policy/rollback", Some(&version))?
            }
            PolicyCommand::Follow => {
                let report = service.post("/policy/follow", None)?;
                println!(
                    "the policy folder decides again and is loaded now; `tollgate policy versions` shows what is live"
                );
                report
            }
        };
        let report: VersionsReport =
            serde_json::from_str(&report).context("the service's answer")?;
        print!("{}", shown(&report));
        Ok(ExitCode::SUCCESS)
    }
}

impl Rules {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, CommandError> {
        let service = Connection::new(&self.service, &common.load()?);
        let report = match &self.what {
            RulesCommand::Demoted => service.get("/rules/demoted")?,
            RulesCommand::Resume { rule } => {
                let report = service.post("/rules/resume", Some(rule))?;
                println!("`{rule}` decides again");
                report
            }
        };
        let report: Vec<DemotedReport> =
            serde_json::from_str(&report).context("the service's answer")?;
        if report.is_empty() {
            println!("no rule is demoted now");
        }
        for demoted in report {
            let DemotedReport {
                rule,
                since,
                declined,
                of,
                period,
                ..
            } = &demoted;
            let share_max = f64::from(demoted.share_max_per_million) / 10_000.0;
            let owner = demoted.owner.as_deref().unwrap_or("nobody named");
            println!(
                "{rule}  since {since}: declined {declined} of {of} transactions within {period}, where {share_max} % are \
                 allowed; owner: {owner}"
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Models {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, CommandError> {
        let service = Connection::new(&self.service, &common.load()?);
        let models = service.get("/models")?;
        let models: Vec<ModelReport> =
            serde_json::from_str(&models).context("the service's answer")?;
        if models.is_empty() {
            println!("the live policy has no models");
        }
        for model in models {
            print!("{}", model.text());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(report: &VersionsReport) -> String {
    let mut text = String::new();
    for version in &report.versions {
        let mark = match (version.live, report.pinned) {
            (true, true) => "live, pinned",
            (true, false) => "live",
            (false, _) => "",
        };
        let changed = match version.changed.as_slice() {
            [] => "loaded at start".to_owned(),
            changed => format!("changed: {}", changed.join(", ")),
        };
        let (version, since) = (&version.version, &version.live_since);
        text += &format!("{version}  {since:<30}  {mark:<12}  {changed}\n");
    }
    if report.pinned {
        text +=
            "The policy folder is only checked; `tollgate policy follow` lets it decide again.\n";
    }
    if let Some(problem) = &report.problem {
        text += &format!(
            "The policy folder does not load, since {}:\n{}\n",
            problem.since, problem.errors
        );
    }
    text
}

/// The admin port of a running service.
struct Connection {
    address: SocketAddr,
}

impl Connection {
    fn new(service: &Service, config: &Config) -> Self {
        let mut address = service.admin.unwrap_or(config.admin.listen);
        // What listens on all addresses answers on the machine's own.
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        Self { address }
    }

    fn get(&self, path: &str) -> anyhow::Result<String> {
        self.ask("GET", path)
    }

    /// Asks for a change. What `of` names becomes part of the path, so it may only have what names have.
    fn post(&self, path: &str, of: Option<&str>) -> anyhow::Result<String> {
        let Some(of) = of else {
            return self.ask("POST", path);
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if of.is_empty() || !of.bytes().all(is_name) {
            bail!("`{of}` has characters that no name has; write it as it is listed");
        }
        self.ask("POST", &format!("{path}/{of}"))
    }

    fn ask(&self, method: &str, path: &str) -> anyhow::Result<String> {
        let address = self.address;
        let answer = self.exchange(method, path).with_context(|| {
            format!("no service answers on its admin port {address}; name another with --admin")
        })?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .context("the answer is cut off")?;
        match head.split(' ').nth(1) {
            Some("200") => Ok(body.to_owned()),
            _ if body.trim().is_empty() => bail!("the service answers {head:?}"),
            _ => bail!("{}", body.trim_end()),
        }
    }

    /// HTTP/1.0: the answer is neither chunked nor kept alive, so its end is the end of the stream.
    fn exchange(&self, method: &str, path: &str) -> std::io::Result<String> {
        let address = self.address;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
