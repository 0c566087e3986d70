//! What services answer of the same cards: every feature of the policy, as it goes into rules and models.

use anyhow::{Result, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use tokio::time::{Duration, Instant, sleep};
use tollgate_proto::v1;

use crate::chaos::wire::{Connection, Reply};
use crate::generate;
use crate::service::Service;

/// How long transactions in flight may take to expire.
const EXPIRED_MAX: Duration = Duration::from_secs(30);

/// Tries for answers that have everything in them.
const TRIES: u32 = 10;

/// How old what a service says of transactions in flight may be: it counts them every second.
const COUNTED: Duration = Duration::from_millis(1_500);

/// Between two looks.
const POLL: Duration = Duration::from_millis(100);

/// The features of a transaction, by name.
pub(super) type Features = Vec<(String, f64)>;

/// What a service makes of transactions of sample cards that happen `at_s`. It has read its log, and nobody else asks it.
pub(super) async fn ask(service: &Service, sample: Sample, at_s: i64) -> Result<Vec<Features>> {
    for number in 0..TRIES {
        // Of what is in flight the log knows nothing, nor do other services.
        settle(service).await?;
        if let Some(features) = sample.ask(service, at_s, number).await? {
            return Ok(features);
        }
    }
    bail!("answers without histories, {TRIES} times")
}

async fn settle(service: &Service) -> Result<()> {
    // Of a try just before this one nothing may have been counted yet.
    sleep(COUNTED).await;
    let began = Instant::now();
    while service.admin.sum("tollgate_store_in_flight").await? > 0 {
        if began.elapsed() > EXPIRED_MAX {
            bail!("transactions are still in flight after {EXPIRED_MAX:?}");
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// Cards as the generator makes them up.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) cards: u32,
    pub(super) seed: u64,
    pub(super) count: usize,
}

impl Sample {
    /// `None` if some answer left something out: a machine that stalls makes answers late.
    async fn ask(self, service: &Service, at_s: i64, run: u32) -> Result<Option<Vec<Features>>> {
        let connection = Connection::open(&service.addresses.grpc).await?;
        let mut all = Vec::new();
        let transactions = generate::transactions(self.cards, self.seed, self.count);
        for (number, mut transaction) in transactions.into_iter().enumerate() {
            transaction.transaction_id = format!("sample-{run}-{number}");
            transaction.event_time = Some(prost_types::Timestamp {
                seconds: at_s,
                nanos: 0,
            });
            let request = v1::ScoreRequest {
                transaction: Some(transaction),
                include_features: true,
            };
            match connection.call(framed(&request)?, None).await {
                Reply::Answer(response, _) if response.degradation() == v1::Degradation::Full => {
                    let mut features: Features = response.features.into_iter().collect();
                    features.sort_by(|one, other| one.0.cmp(&other.0));
                    all.push(features);
                }
                Reply::Answer(_, _) => return Ok(None),
                Reply::Error(status) => bail!("no answer: {status}"),
                Reply::Refused | Reply::Lost(_) => bail!("no answer"),
            }
        }
        Ok(Some(all))
    }
}

/// As gRPC frames it.
fn framed(request: &v1::ScoreRequest) -> Result<Bytes> {
    let message = request.encode_to_vec();
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len())?);
    framed.put_slice(&message);
    Ok(framed.freeze())
}

/// How many differ, in any bit.
pub(super) fn differing(ours: &[Features], other: &[Features]) -> usize {
    let bits = |features: &Features| -> Vec<(String, u64)> {
        let features = features.iter();
        features
            .map(|(name, value)| (name.clone(), value.to_bits()))
            .collect()
    };
    let pairs = ours.iter().zip(other);
    let differing = pairs.filter(|(one, other)| bits(one) != bits(other));
    differing.count() + ours.len().abs_diff(other.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_differ_by_name_by_any_bit_and_where_some_are_missing() {
        let of = |value: f64| vec![("count".to_owned(), value)];
        let ours = [of(1.0), of(0.1 + 0.2), of(3.0)];
        assert_eq!(differing(&ours, &ours), 0);
        assert_eq!(differing(&ours, &[of(1.0), of(0.3), of(3.0)]), 1);
        assert_eq!(differing(&ours, &[of(1.0)]), 2);
        let renamed = [vec![("sum".to_owned(), 1.0)]];
        assert_eq!(differing(&ours[..1], &renamed), 1);
    }
}
