//! Rows of the data set as the messages of the payment system.

use prost_types::Timestamp;
use tollgate_proto::v1;

use super::data::{DAY_SECONDS, Row};

/// The handbook's delay: what a transaction was is known a week later to the second.
pub(super) const LABEL_DELAY_SECONDS: i64 = 7 * DAY_SECONDS;

pub(super) fn transaction_id(row: &Row) -> String {
    format!("hb-{}", row.id)
}

pub(super) fn card_id(row: &Row) -> String {
    format!("hb-card-{}", row.customer)
}

const fn seconds(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

pub(super) fn transaction(row: &Row) -> v1::Transaction {
    v1::Transaction {
        transaction_id: transaction_id(row),
        event_time: Some(seconds(row.at_seconds)),
        card_id: card_id(row),
        amount_minor: row.amount_minor,
        currency: "EUR".to_owned(),
        merchant_id: "hb-merchant".to_owned(),
        terminal_id: format!("hb-terminal-{}", row.terminal),
        channel: v1::Channel::CardPresent.into(),
        ..v1::Transaction::default()
    }
}

pub(super) fn label(row: &Row) -> v1::Label {
    v1::Label {
        transaction_id: transaction_id(row),
        fraud: true,
        known_at: Some(seconds(row.at_seconds + LABEL_DELAY_SECONDS)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::sample::row;
    use super::*;

    #[test]
    fn labels_become_known_a_week_later_to_the_second() {
        let label = label(&row(7));
        assert_eq!(label.transaction_id, "hb-7");
        assert_eq!(label.known_at.unwrap().seconds, 1_522_540_831 + 604_800);
    }
}
