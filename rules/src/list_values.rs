//! From the lines of a list file to a list: what kind its values are, and which of them are wrong.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use foldhash::fast::FixedState;
use tollgate_expr::{Network, NetworkError};
use tollgate_source::did_you_mean;
use tollgate_types::builtin::{self, Misshapen};
use tollgate_types::{CardId, EventTime, Field, FieldId, FieldType, IdError};

use crate::lists::{List, ListKind, key_of_number, key_of_text};

/// The values of a file, in one text.
#[derive(Default)]
pub(crate) struct Written {
    /// What the header says they are.
    kind: Option<ListKind>,
    texts: String,
    entries: Vec<Entry>,
}

struct Entry {
    /// Where its line begins in the file.
    line: usize,
    text: Range<usize>,
    until: EventTime,
}

/// A field that is looked up in the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'s> {
    pub(crate) id: FieldId,
    pub(crate) field: &'s Field,
}

/// Something about one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// The value is not what the list holds.
    Mistake { message: String, help: String },
    /// It is a card number, which may not be shown.
    CardNumber,
    /// It is the value of another line, which begins at this byte.
    Twice { first: usize },
    /// The list as a whole is probably of another kind.
    Networks,
}

/// Called with the line's first byte, its value, and what was found.
pub(crate) type Report<'r> = dyn FnMut(usize, &str, Finding) + 'r;

impl Written {
    pub(crate) fn new(kind: Option<ListKind>) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, line: usize, value: &str, until: EventTime) {
        let start = self.texts.len();
        self.texts.push_str(value);
        self.entries.push(Entry {
            line,
            text: start..self.texts.len(),
            until,
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The list, as it is asked for values of these fields; of values found wrong, and of all but one of equal ones,
    /// `report` is told.
    pub(crate) fn into_list(
        self,
        name: &str,
        asked: &[Asked<'_>],
        report: &mut Report<'_>,
    ) -> List {
        let kind = self.kind(asked);
        if kind != ListKind::Text || !self.suspect_networks(report) {
            self.refuse_impossible(kind, asked, report);
        }
        match kind {
            ListKind::Text => {
                let texts = self.collect(|text| Ok(key_of_text(text)), report);
                List::texts(name, texts.into_iter().collect())
            }
            ListKind::Number => {
                let numbers = self.collect(as_number, report);
                List::numbers(name, numbers.into_iter().collect())
            }
            ListKind::Card => {
                let cards = self.collect(as_card, report);
                List::cards(name, cards.into_iter().collect())
            }
            ListKind::Network => {
                let networks = self.collect(as_network, report);
                List::networks(name, networks)
            }
        }
    }

    /// As declared; else numbers if every value is one, or if numbers are looked up and most values are, so that
    /// the others are seen; else texts.
    fn kind(&self, asked: &[Asked<'_>]) -> ListKind {
        if let Some(kind) = self.kind {
            return kind;
        }
        let numbers = || {
            let values = self.values();
            values.filter(|(_, text, _)| number(text).is_some()).count()
        };
        let is_asked = |asked: &Asked<'_>| asked.field.kind == FieldType::Number;
        let asks_numbers = !asked.is_empty() && asked.iter().all(is_asked);
        let of = self.entries.len();
        let are_numbers = if asks_numbers {
            numbers() * 2 >= of
        } else {
            of > 0 && numbers() == of
        };
        if are_numbers {
            ListKind::Number
        } else {
            ListKind::Text
        }
    }

    /// Values that no field which is looked up can have.
    fn refuse_impossible(&self, kind: ListKind, asked: &[Asked<'_>], report: &mut Report<'_>) {
        let of_kind = |asked: &Asked<'_>| asked.field.kind == kind.field_type();
        // Networks and tokens have a form of their own; other mismatches are said of whoever asks.
        let is_checked = matches!(kind, ListKind::Text | ListKind::Number);
        if !is_checked || asked.is_empty() || !asked.iter().all(of_kind) {
            return;
        }
        for (line, text, _) in self.values() {
            if kind == ListKind::Number && number(text).is_none() {
                continue;
            }
            let mut findings = asked.iter().map(|asked| asked.check(text));
            if let Some(Err(first)) = findings.next()
                && findings.all(|finding| finding.is_err())
            {
                report(line, text, first);
            }
        }
    }

    fn values(&self) -> impl Iterator<Item = (usize, &str, EventTime)> {
        self.entries
            .iter()
            .map(|entry| (entry.line, &self.texts[entry.text.clone()], entry.until))
    }

    /// The values by their keys; of equal ones, the later expiry counts.
    fn collect<K: Eq + Hash>(
        &self,
        key: fn(&str) -> Result<K, Finding>,
        report: &mut Report<'_>,
    ) -> impl IntoIterator<Item = (K, EventTime)> + use<K> {
        let mut collected: HashMap<K, (EventTime, usize), FixedState> =
            HashMap::with_capacity_and_hasher(self.entries.len(), FixedState::default());
        for (line, text, until) in self.values() {
            let key = match key(text) {
                Ok(key) => key,
                Err(finding) => {
                    report(line, text, finding);
                    continue;
                }
            };
            let known = collected.entry(key).or_insert((until, line));
            if known.1 != line {
                report(line, text, Finding::Twice { first: known.1 });
                known.0 = known.0.max(until);
            }
        }
        collected.into_iter().map(|(key, (until, _))| (key, until))
    }

    /// Networks compared as texts match nothing, and an address only if it is written in the one form that
    /// transactions have. Whether that was said.
    fn suspect_networks(&self, report: &mut Report<'_>) -> bool {
        let in_doubt = |text: &str| match text.parse::<std::net::IpAddr>() {
            Ok(address) => address.to_canonical().to_string() != text,
            Err(_) => text.contains('/'),
        };
        let mut values = self.values();
        let first = values.next();
        let suspected = first.filter(|_| {
            self.kind.is_none()
                && self.values().all(|(_, text, _)| as_network(text).is_ok())
                && self.values().any(|(_, text, _)| in_doubt(text))
        });
        if let Some((line, text, _)) = suspected {
            report(line, text, Finding::Networks);
        }
        suspected.is_some()
    }
}

impl Asked<'_> {
    /// Whether the field can have a value.
    fn check(&self, text: &str) -> Result<(), Finding> {
        let name = &self.field.name;
        let never = format!("`{name}` is never `{text}`");
        if let Some(values) = &self.field.values {
            if values.iter().any(|value| value == text) {
                return Ok(());
            }
            return mistake(never, did_you_mean(text, values.iter().map(String::as_str)));
        }
        if self.id == builtin::IP_ADDRESS && text.contains('/') && as_network(text).is_ok() {
            return mistake(never, "begin the first line with `value:network`");
        }
        match builtin::shape(self.id).check(text) {
            Ok(()) => Ok(()),
            Err(misshapen) if misshapen.is_card_number => Err(Finding::CardNumber),
            Err(Misshapen {
                instead: Some(instead),
                ..
            }) => mistake(never, format!("write `{instead}`")),
            Err(misshapen) => mistake(never, misshapen.to_string()),
        }
    }
}

fn mistake<T>(message: String, help: impl Into<String>) -> Result<T, Finding> {
    let help = help.into();
    Err(Finding::Mistake { message, help })
}

fn as_number(text: &str) -> Result<u64, Finding> {
    match number(text) {
        Some(number) => Ok(key_of_number(number)),
        None => mistake(
            format!("`{text}` is not a number"),
            "write digits, such as 4511; begin the first line with `value:number` if all are numbers, \
             with `value:text` if they are texts",
        ),
    }
}

fn as_card(text: &str) -> Result<u64, Finding> {
    match CardId::parse(text) {
        Ok(_) => Ok(key_of_text(text)),
        Err(IdError::CardNumber) => Err(Finding::CardNumber),
        Err(error) => mistake(
            format!("this value {error}"),
            "write the token that stands for the card",
        ),
    }
}

fn as_network(text: &str) -> Result<Network, Finding> {
    Network::parse_or_address(text).or_else(|error| match error {
        NetworkError::NoLength { .. } | NetworkError::NotAnAddress => mistake(
            format!("`{text}` is not an address or a network"),
            "write it like 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32",
        ),
        NetworkError::TooLong { bits_max, .. } => mistake(
            error.to_string(),
            format!("write 0 to {bits_max}; {bits_max} is one single address"),
        ),
        NetworkError::NotALength { bits_max } => mistake(
            format!("`{text}` does not say how long the network's prefix is"),
            format!("write a whole number from 0 to {bits_max} behind the slash"),
        ),
        NetworkError::BitsBeyond { network, .. } => mistake(
            format!("`{text}` is an address inside of a network"),
            format!("write `{network}` for the whole network, or the address without the slash"),
        ),
    })
}

/// A number as people write one: no leading zeros and no exponent, which names are more likely to have.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if all_digits(whole) && all_digits(fraction) && !leading_zero {
        text.parse().ok()
    } else {
        None
    }
}
