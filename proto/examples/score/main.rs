//! A client of Tollgate as a payment path would have it: always a decision, whatever becomes of the call.
//!
//! `cargo run -p tollgate-proto --example score -- 127.0.0.1:7070 docs/clients/transaction.json`
//!
//! tonic knows no service configs, so this reads the retries from the file that other clients hand to gRPC. The deadline
//! goes with each call. docs/clients.md gives the reasons.

mod service_config;

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::Duration;

use service_config::RetryPolicy;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tollgate_proto::v1::scoring_service_client::ScoringServiceClient;
use tollgate_proto::v1::{Channel as Presented, Outcome, ScoreRequest, ScoreResponse, Transaction};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, TimeoutExpired};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const SERVICE_CONFIG: &str = "docs/clients/service-config.json";

/// What the payment path can wait: the service's budget of 80 ms, its margin of 5, and the way there and back.
const DEADLINE: Duration = Duration::from_millis(100);

/// How long a starting client waits for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// What the payment path acts on, and who decided it.
struct Decision {
    outcome: Outcome,
    decided_by: String,
    reasons: Vec<(String, String)>,
}

/// The request itself is wrong. The same request will be refused again: mend what sends it.
struct Refused(String);

/// One channel for the life of the process. Cheap to clone, and a clone per task is how it is meant to be used.
#[derive(Clone)]
struct Tollgate {
    client: ScoringServiceClient<Channel>,
    retry: RetryPolicy,
}

impl Tollgate {
    /// Several addresses share the calls between them.
    async fn connect(addresses: &[String], retry: RetryPolicy) -> Result<Self, Box<dyn Error>> {
        let endpoint = |address: &String| -> Result<Endpoint, tonic::transport::Error> {
            Ok(Endpoint::from_shared(format!("http://{address}"))?
                .connect_timeout(CONNECT_MAX)
                // Without it a small request may wait some 40 ms for the acknowledgement of an earlier one.
                .tcp_nodelay(true)
                // A machine that vanished without a word is noticed within twelve seconds, calls or none.
                .http2_keep_alive_interval(Duration::from_secs(10))
                .keep_alive_timeout(Duration::from_secs(2))
                .keep_alive_while_idle(true))
        };
        let endpoints: Vec<Endpoint> = addresses.iter().map(endpoint).collect::<Result<_, _>>()?;
        let channel = match endpoints.as_slice() {
            [only] => only.connect_lazy(),
            _ => Channel::balance_list(endpoints.into_iter()),
        };
        // So that the first payment does not pay for the connection. Payments go on without one.
        let mut health = HealthClient::new(channel.clone());
        let _ = timeout(CONNECT_MAX, health.check(HealthCheckRequest::default())).await;
        Ok(Self {
            client: ScoringServiceClient::new(channel),
            retry,
        })
    }

    /// Decides in time: by Tollgate, or by [`own_decision`] if there is no answer. Without a priority (high, normal, low)
    /// the transaction's channel says it.
    async fn decide(
        &self,
        transaction: Transaction,
        priority: Option<&str>,
        within: Duration,
    ) -> Result<Decision, Refused> {
        match self.score(&transaction, priority, within).await {
            Ok(answer) => Ok(answered(&answer)),
            Err(status) if status.code() == Code::InvalidArgument => {
                Err(Refused(status.message().to_owned()))
            }
            Err(status) => {
                let why = format!("{:?}: {}", status.code(), status.message());
                Ok(own_decision(&transaction, &why))
            }
        }
    }

    /// All attempts together end at the deadline.
    async fn score(
        &self,
        transaction: &Transaction,
        priority: Option<&str>,
        within: Duration,
    ) -> Result<ScoreResponse, Status> {
        let deadline = Instant::now() + within;
        let mut attempts_before = 0;
        loop {
            let request = request(transaction, priority, attempts_before, deadline)?;
            let failed = match self.attempt(request, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            attempts_before += 1;
            let pause = self.retry.pause(attempts_before, chance());
            let again = was_not_served(&failed) && attempts_before < self.retry.attempts_max;
            if !again || Instant::now() + pause >= deadline {
                return Err(failed);
            }
            sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        request: Request<ScoreRequest>,
        deadline: Instant,
    ) -> Result<ScoreResponse, Status> {
        let mut client = self.client.clone();
        match timeout_at(deadline, client.score(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            // tonic ends a call at its deadline too, and calls that CANCELLED.
            Ok(Err(status)) if !has_source::<TimeoutExpired>(&status) => Err(status),
            _ => Err(Status::deadline_exceeded("no answer in time")),
        }
    }
}

fn request(
    transaction: &Transaction,
    priority: Option<&str>,
    attempts_before: i32,
    deadline: Instant,
) -> Result<Request<ScoreRequest>, Status> {
    let mut request = Request::new(ScoreRequest {
        // The same transaction_id with every attempt: a repetition is answered as the first one was.
        transaction: Some(transaction.clone()),
        include_features: false,
    });
    let text = |text: &str| {
        text.parse()
            .map_err(|_| Status::invalid_argument("no text for a header"))
    };
    let metadata = request.metadata_mut();
    if let Some(priority) = priority {
        metadata.insert("tollgate-priority", text(priority)?);
    }
    if attempts_before > 0 {
        let attempts = text(&attempts_before.to_string())?;
        metadata.insert("grpc-previous-rpc-attempts", attempts);
    }
    // What is left, not the whole: the service takes it from the arrival of this attempt.
    request.set_timeout(deadline.saturating_duration_since(Instant::now()));
    Ok(request)
}

/// Whether another attempt may help. Where other libraries say UNAVAILABLE because a connection broke, tonic says
/// UNKNOWN or CANCELLED; unlike a status that the service sent, such a one has a source.
fn was_not_served(status: &Status) -> bool {
    let broke = matches!(status.code(), Code::Unknown | Code::Cancelled);
    status.code() == Code::Unavailable || (broke && status.source().is_some())
}

fn has_source<E: Error + 'static>(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<E>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// 0 to 1. A new `RandomState` is what the standard library has of chance.
fn chance() -> f64 {
    let byte = u8::try_from(RandomState::new().hash_one(0) % 256).unwrap_or(0);
    f64::from(byte) / 255.0
}

fn answered(answer: &ScoreResponse) -> Decision {
    let causes = match answer.degradation_causes.join(", ") {
        causes if causes.is_empty() => causes,
        causes => format!(" because of {causes}"),
    };
    let score = match answer.has_score {
        true => format!(", score {:.4}", answer.score),
        false => String::new(),
    };
    let level = answer.degradation().as_str_name();
    let reasons = answer.reasons.iter();
    Decision {
        outcome: answer.outcome(),
        decided_by: format!(
            "Tollgate, {level}{causes}{score}, decision {}, policy {}",
            answer.decision_id, answer.policy_version
        ),
        reasons: reasons
            .map(|reason| (reason.code.clone(), reason.description.clone()))
            .collect(),
    }
}

/// What holds when there is no answer at all. Yours to choose, with whoever answers for the losses.
fn own_decision(transaction: &Transaction, why: &str) -> Decision {
    let small = transaction.currency == "EUR" && transaction.amount_minor < 50_00;
    let decided_by = format!("the client itself, no answer ({why})");
    if small && transaction.channel() == Presented::CardPresent {
        return Decision {
            outcome: Outcome::Approve,
            decided_by,
            reasons: Vec::new(),
        };
    }
    let description = "Nobody looked at this payment; look at it afterwards.";
    Decision {
        outcome: Outcome::Flag,
        decided_by,
        reasons: vec![("NOT_SCORED".to_owned(), description.to_owned())],
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let priority = option(&mut arguments, "--priority");
    let within = match option(&mut arguments, "--deadline-ms") {
        Some(number) => Duration::from_millis(number.parse()?),
        None => DEADLINE,
    };
    let file = arguments.pop().unwrap_or_default();
    if arguments.is_empty() {
        return Err(
            "score [--deadline-ms 100] [--priority low] HOST:PORT… TRANSACTION.json".into(),
        );
    }
    let mut transaction = read(&file)?;
    if transaction.event_time.is_none() {
        transaction.event_time = Some(now());
    }
    let id = transaction.transaction_id.clone();
    let retry = RetryPolicy::read(SERVICE_CONFIG)?;
    let tollgate = Tollgate::connect(&arguments, retry).await?;
    match tollgate
        .decide(transaction, priority.as_deref(), within)
        .await
    {
        Ok(decision) => {
            println!("{id}: {}", decision.outcome.as_str_name());
            println!("  decided by {}", decision.decided_by);
            for (code, description) in decision.reasons {
                println!("  {code}: {description}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(Refused(why)) => {
            println!("{id}: refused: {why}");
            Ok(ExitCode::from(2))
        }
    }
}

/// Takes an option and its value out of the arguments.
fn option(arguments: &mut Vec<String>, name: &str) -> Option<String> {
    let at = arguments.iter().position(|word| word == name)?;
    arguments.remove(at);
    (at < arguments.len()).then(|| arguments.remove(at))
}

fn read(file: &str) -> Result<Transaction, Box<dyn Error>> {
    let json = std::fs::read_to_string(file)?;
    Ok(tollgate_proto::from_json("tollgate.v1.Transaction", &json)?)
}

fn now() -> prost_types::Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the ban is for the service's own code"
    )]
    std::time::SystemTime::now().into()
}
