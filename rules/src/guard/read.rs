//! Reading `guard:` of a rule.

use std::sync::Arc;

use tollgate_source::{Diagnostic, Diagnostics, Fields, Located, NodeKind, SourceFile};
use tollgate_types::{Outcome, Span};

use super::{Guard, Guarding};
use crate::reach;

const KEYS: [&str; 3] = ["share_max", "period", "transactions_min"];

/// What is left out of a guard.
const PERIOD: Span = Span::from_seconds(600);
const TRANSACTIONS_MIN: u32 = 1_000;

/// Steps of a window are a sixtieth of it and a second at least; what happened yesterday says nothing about now.
const PERIOD_LEAST: Span = Span::from_seconds(60);
const PERIOD_MOST: Span = Span::from_days(1);

/// With fewer, two declines of three would be a share.
const TRANSACTIONS_LEAST: u32 = 10;
const TRANSACTIONS_MOST: u32 = 10_000_000;

const HELP: &str = "write `guard: {share_max: 2%, period: 10m}`, or `guard: off`";

/// Reads the key; `None` if there is a mistake in it.
pub(crate) fn read(
    fields: &Fields<'_>,
    outcome: Option<Outcome>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<Guarding> {
    let Some(node) = fields.get("guard") else {
        return Some(Guarding::Default);
    };
    if outcome.is_some_and(|outcome| outcome != Outcome::Decline) {
        let message = "a guard is for rules that decline, and this one does not";
        notes.push(
            Diagnostic::error(file, node.span.clone(), message)
                .with_help("remove `guard`: what this rule does is not watched"),
        );
        return None;
    }
    match &node.kind {
        NodeKind::Scalar(word) if word == "off" => return Some(Guarding::Off),
        NodeKind::Scalar(_) | NodeKind::Empty => {
            let message = "this is not a guard";
            notes.push(Diagnostic::error(file, node.span.clone(), message).with_help(HELP));
            return None;
        }
        _ => {}
    }
    let fields = Fields::of("a guard", node, file, &KEYS, notes)?;
    let help =
        "add `share_max:` with the share of all transactions that the rule may decline, such as 2%";
    let share = fields.required_text("share_max", help, notes);
    let share = share.and_then(|written| read_share(&written, file, notes));
    let period = or_default(&fields, "period", PERIOD, notes, |written, notes| {
        read_period(written, file, notes)
    });
    let transactions_min = or_default(
        &fields,
        "transactions_min",
        TRANSACTIONS_MIN,
        notes,
        |written, notes| read_count(written, file, notes),
    );
    Some(Guarding::Own(Guard {
        share_max_per_million: share?,
        period: period?,
        transactions_min: transactions_min?,
    }))
}

/// A value that may be left out; `None` is a mistake.
fn or_default<T>(
    fields: &Fields<'_>,
    key: &str,
    default: T,
    notes: &mut Diagnostics,
    read: impl FnOnce(&Located<String>, &mut Diagnostics) -> Option<T>,
) -> Option<T> {
    match fields.text(key, notes) {
        Some(written) => read(&written, notes),
        None => fields.get(key).is_none().then_some(default),
    }
}

fn read_share(
    written: &Located<String>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<u32> {
    let number = written.value.strip_suffix('%').map(str::trim_end);
    let share = number.and_then(|number| reach::per_million(number).ok());
    let share = share.filter(|share| (1..=reach::MILLION).contains(share));
    if share.is_none() {
        let message = format!("`{}` is not a share of the transactions", written.value);
        let help = "write a percentage with its sign, above 0% and up to 100%, such as 2%";
        notes.push(Diagnostic::error(file, written.span.clone(), message).with_help(help));
    }
    share
}

fn read_period(
    written: &Located<String>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<Span> {
    let period = Span::parse(&written.value).ok();
    let period = period.filter(|period| (PERIOD_LEAST..=PERIOD_MOST).contains(period));
    if period.is_none() {
        let message = format!("`{}` is not a period of a guard", written.value);
        let help = "write a time from 1m to 1d, such as 10m";
        notes.push(Diagnostic::error(file, written.span.clone(), message).with_help(help));
    }
    period
}

fn read_count(
    written: &Located<String>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<u32> {
    let count = written.value.parse().ok();
    let count = count.filter(|count| (TRANSACTIONS_LEAST..=TRANSACTIONS_MOST).contains(count));
    if count.is_none() {
        let message = format!("`{}` is not a number of transactions", written.value);
        let help = format!(
            "write a whole number from {TRANSACTIONS_LEAST} to {TRANSACTIONS_MOST}, such as 1000: with fewer \
             transactions in the period the rule is left alone"
        );
        notes.push(Diagnostic::error(file, written.span.clone(), message).with_help(help));
    }
    count
}
