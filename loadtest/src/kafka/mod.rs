//! The Kafka side of a payment system: what it publishes, how far ahead it may be, what the service answers.

mod admin;
mod decisions;
mod deliveries;
mod flow;
mod publisher;

pub(crate) use admin::Admin;
pub(crate) use decisions::{Decisions, Recorded};
pub(crate) use deliveries::Deliveries;
pub(crate) use publisher::Publisher;

/// Where a running service is reached, and the names of its topics.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Targets {
    /// Where the service answers gRPC.
    #[arg(long)]
    pub(crate) grpc: String,
    /// Kafka brokers, host:port, separated by commas.
    #[arg(long)]
    pub(crate) kafka: String,
    /// The service's admin port, for its metrics.
    #[arg(long)]
    pub(crate) admin: String,
    #[arg(long, default_value = "tollgate.transactions")]
    pub(crate) transactions_topic: String,
    #[arg(long, default_value = "tollgate.labels")]
    pub(crate) labels_topic: String,
    #[arg(long, default_value = "tollgate.decisions")]
    pub(crate) decisions_topic: String,
}

impl Targets {
    /// With the names that topics have if nobody says otherwise.
    pub(crate) fn of(grpc: &str, kafka: &str, admin: &str) -> Self {
        Self {
            grpc: grpc.to_owned(),
            kafka: kafka.to_owned(),
            admin: admin.to_owned(),
            transactions_topic: "tollgate.transactions".to_owned(),
            labels_topic: "tollgate.labels".to_owned(),
            decisions_topic: "tollgate.decisions".to_owned(),
        }
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
