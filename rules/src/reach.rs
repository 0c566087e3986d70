//! Which transactions a rule is for: its period of event time and its share of the cards.
//!
//! A rule outside its reach does not match, as if it were not there.

use std::sync::Arc;

use tollgate_expr::{Frame, SlotId, Slots as _};
use tollgate_source::{Diagnostic, Diagnostics, Fields, Located, SourceFile};
use tollgate_types::{EventTime, builtin};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::moment;

/// From a moment until just before another, in event time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    from: EventTime,
    until: EventTime,
}

impl Period {
    pub const ALWAYS: Self = Self {
        from: EventTime::MIN,
        until: EventTime::MAX,
    };

    /// `None` if `until` is not after `from`.
    pub fn new(from: Option<EventTime>, until: Option<EventTime>) -> Option<Self> {
        let period = Self {
            from: from.unwrap_or(EventTime::MIN),
            until: until.unwrap_or(EventTime::MAX),
        };
        (period.from < period.until).then_some(period)
    }

    pub fn contains(self, at: EventTime) -> bool {
        self.from <= at && at < self.until
    }

    /// The moment itself if it is inside, else the first one that is, or the last.
    pub(crate) fn nearest(self, to: EventTime) -> EventTime {
        let last = EventTime::from_micros(self.until.micros().saturating_sub(1));
        to.clamp(self.from, last)
    }

    /// Whether every moment of the other is one of this.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.from <= other.from && other.until <= self.until
    }
}

/// A part of all cards, for starting a rule gradually.
///
/// Which cards are in it depends on the card and on the rule's id: the same card stays in or out, a larger share
/// has every card of a smaller one, and the shares of two rules have nothing to do with one another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    per_million: u32,
    seed: u64,
}

pub(crate) const MILLION: u32 = 1_000_000;

/// Decimals of a percentage that a millionth can tell apart.
const DECIMALS_MAX: usize = 4;

impl Share {
    /// `None` if it would be none of the cards, or more than all.
    pub fn new(per_million: u32, rule_id: &str) -> Option<Self> {
        (1..=MILLION).contains(&per_million).then(|| Self {
            per_million,
            seed: xxh3_64(rule_id.as_bytes()),
        })
    }

    pub const fn per_million(self) -> u32 {
        self.per_million
    }

    /// XXH3 of the card, seeded with XXH3 of the rule's id, in millionths. No allocation.
    pub fn has(self, card_id: &str) -> bool {
        let hash = xxh3_64_with_seed(card_id.as_bytes(), self.seed);
        hash % u64::from(MILLION) < u64::from(self.per_million)
    }
}

/// What a rule is limited to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    pub period: Period,
    /// All cards where there is none.
    pub share: Option<Share>,
}

impl Reach {
    pub const EVERYTHING: Self = Self {
        period: Period::ALWAYS,
        share: None,
    };

    /// Whether the transaction in the frame is one that the rule is for.
    pub fn takes(&self, frame: &Frame<'_>) -> bool {
        let slot = |field: tollgate_types::FieldId| SlotId(field.0.into());
        let in_period = frame
            .cell(slot(builtin::EVENT_TIME))
            .as_time()
            .is_some_and(|at| self.period.contains(at));
        let card = || frame.text(slot(builtin::CARD_ID)).unwrap_or_default();
        in_period && self.share.is_none_or(|share| share.has(card()))
    }

    /// Reads the keys `from`, `until` and `percentage`; `None` if there is a mistake in them.
    pub(crate) fn read(
        fields: &Fields<'_>,
        rule_id: &str,
        file: &Arc<SourceFile>,
        notes: &mut Diagnostics,
    ) -> Option<Self> {
        let from = read_moment(fields, "from", file, notes);
        let until = read_moment(fields, "until", file, notes);
        let share = match fields.text("percentage", notes) {
            Some(written) => read_share(&written, rule_id, file, notes).map(Some),
            None => fields.get("percentage").is_none().then_some(None),
        };
        let (from, until) = (from?, until?);
        let value = |moment: &Option<Located<EventTime>>| moment.as_ref().map(|at| at.value);
        let Some(period) = Period::new(value(&from), value(&until)) else {
            let span = until.map_or_else(|| fields.span(), |until| until.span);
            let message = "`until` is not after `from`, so the rule would never match";
            let help = "write a later one; the rule ends just before `until`, and a date means midnight UTC";
            notes.push(Diagnostic::error(file, span, message).with_help(help));
            return None;
        };
        Some(Self {
            period,
            share: share?,
        })
    }
}

/// A moment that may be left out; the outer `None` is a mistake.
fn read_moment(
    fields: &Fields<'_>,
    key: &str,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<Option<Located<EventTime>>> {
    let Some(written) = fields.text(key, notes) else {
        return fields.get(key).is_none().then_some(None);
    };
    if let Some(at) = moment::parse(&written.value) {
        return Some(Some(Located::new(at, written.span)));
    }
    let (message, help) = moment::mistake(&written.value);
    notes.push(Diagnostic::error(file, written.span, message).with_help(help));
    None
}

fn read_share(
    written: &Located<String>,
    rule_id: &str,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<Share> {
    let mistake = match per_million(&written.value) {
        Ok(per_million) => match Share::new(per_million, rule_id) {
            Some(share) => return Some(share),
            None if per_million == 0 => (
                "with 0 % of the cards the rule would never match".to_owned(),
                "write `mode: off` to turn it off, or `mode: shadow` to only count its matches",
            ),
            None => (
                format!("{} % is more than all cards", written.value),
                "write a number up to 100, or leave `percentage` out for all cards",
            ),
        },
        Err(mistake) => mistake,
    };
    notes.push(Diagnostic::error(file, written.span.clone(), mistake.0).with_help(mistake.1));
    None
}

/// A percentage in millionths, without the detour over floating point.
pub(crate) fn per_million(text: &str) -> Result<u32, (String, &'static str)> {
    let no_percentage = |help| (format!("`{text}` is not a percentage"), help);
    let help = "write a number above 0 and up to 100, such as 5";
    if text.trim_end().ends_with('%') {
        return Err(no_percentage("write the number without the sign `%`"));
    }
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(decimals) {
        return Err(no_percentage(help));
    }
    if decimals.len() > DECIMALS_MAX {
        let message = format!("`{text}` has more than {DECIMALS_MAX} decimals");
        return Err((
            message,
            "write four at most; 0.0001 % is one card in a million",
        ));
    }
    let padded = format!("{whole}{decimals:0<DECIMALS_MAX$}");
    // What does not fit is far more than all cards.
    Ok(padded.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards() -> impl Iterator<Item = String> {
        (0..20_000).map(|number| format!("card-{number}"))
    }

    #[test]
    fn a_larger_share_has_every_card_of_a_smaller_one() {
        let share = |percent: u32| Share::new(percent * 10_000, "rule").unwrap();
        for card in cards() {
            let has = [1, 5, 20, 50, 100].map(|percent| share(percent).has(&card));
            assert!(has.is_sorted(), "{card}: {has:?}");
            assert!(has[4], "{card}");
        }
    }

    #[test]
    fn shares_have_their_size_and_differ_between_rules() {
        let [one, other] = ["one", "other"].map(|id| Share::new(100_000, id).unwrap());
        let counted = |of: &dyn Fn(&str) -> bool| cards().filter(|card| of(card)).count();
        for share in [one, other] {
            // 10 % of 20,000, within four standard deviations.
            assert!((1_830..=2_170).contains(&counted(&|card| share.has(card))));
        }
        // Independent shares have a tenth of a tenth in common.
        let both = counted(&|card| one.has(card) && other.has(card));
        assert!((144..=256).contains(&both), "{both}");
    }

    #[test]
    fn which_cards_are_in_never_changes() {
        let share = Share::new(500_000, "card-testing-burst").unwrap();
        let has: Vec<bool> = (0..8).map(|n| share.has(&format!("card-{n}"))).collect();
        assert_eq!(
            has,
            [true, false, true, true, true, true, false, false],
            "a different hash would move cards in and out of shares"
        );
    }

    #[test]
    fn percentages_are_read_exactly() {
        for (text, expected) in [
            ("5", Ok(50_000)),
            ("0.5", Ok(5_000)),
            ("12.3456", Ok(123_456)),
            ("0.0001", Ok(1)),
            ("100", Ok(1_000_000)),
            ("0", Ok(0)),
            ("100.0001", Ok(1_000_001)),
            ("99999999999", Ok(u32::MAX)),
        ] {
            assert_eq!(per_million(text), expected, "{text}");
        }
        for text in ["", "5%", "5 %", "-5", "5.", ".5", "1e1", "five", "0.00001"] {
            assert!(per_million(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_period_begins_with_its_first_moment_and_ends_before_its_last() {
        let time = EventTime::from_micros;
        let period = Period::new(Some(time(10)), Some(time(20))).unwrap();
        let inside = [9, 10, 19, 20].map(|at| period.contains(time(at)));
        assert_eq!(inside, [false, true, true, false]);
        assert_eq!(Period::new(Some(time(20)), Some(time(20))), None);
        assert!(
            Period::new(None, Some(time(20)))
                .unwrap()
                .contains(time(-5))
        );
        let nearest = [5, 15, 25].map(|at| period.nearest(time(at)).micros());
        assert_eq!(nearest, [10, 15, 19]);
        assert!(Period::ALWAYS.covers(period) && !period.covers(Period::ALWAYS));
    }
}
