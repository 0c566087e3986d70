//! The same aggregates computed plainly from a card's events: what a client of Redis does with what it gets back, and
//! the oracle that both sides are compared with before anything is timed.

use anyhow::ensure;

use super::population::{Event, history};
use super::question::{ALL, Question, WINDOW_DAYS};
use super::resident::Resident;

const DAY_MS: i64 = 86_400_000;

/// What a window adds up to; everything else is derived.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) max: f64,
    pub(crate) distinct: f64,
    pub(crate) declined: f64,
}

/// What is kept of an event outside the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    pub(crate) at_ms: i64,
    pub(crate) number: u32,
    pub(crate) cents: u32,
    pub(crate) country: [u8; 2],
    pub(crate) declined: bool,
}

/// Bytes of a [`Kept`] as Redis holds it.
pub(crate) const KEPT_BYTES: usize = 19;

impl Kept {
    pub(crate) fn of(event: &Event) -> Self {
        let country = event.country().as_bytes();
        Self {
            at_ms: event.at_ms,
            number: event.number,
            cents: event.cents,
            country: [country[0], country[1]],
            declined: event.declined,
        }
    }

    /// Fixed width and big-endian: the shortest to send and the cheapest to read, for the client and for Lua.
    pub(crate) fn encode(&self) -> [u8; KEPT_BYTES] {
        let mut bytes = [0; KEPT_BYTES];
        bytes[..8].copy_from_slice(&self.at_ms.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.number.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.cents.to_be_bytes());
        bytes[16..18].copy_from_slice(&self.country);
        bytes[18] = u8::from(self.declined);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; KEPT_BYTES] = bytes.try_into().ok()?;
        Some(Self {
            at_ms: i64::from_be_bytes(bytes[..8].try_into().ok()?),
            number: u32::from_be_bytes(bytes[8..12].try_into().ok()?),
            cents: u32::from_be_bytes(bytes[12..16].try_into().ok()?),
            country: [bytes[16], bytes[17]],
            declined: bytes[18] != 0,
        })
    }
}

/// Adds events up, latest first, and notes the sums wherever a window begins.
#[derive(Debug)]
pub(crate) struct Adder {
    asked_ms: i64,
    number: u32,
    running: Sums,
    countries: Vec<[u8; 2]>,
    windows: Vec<Sums>,
}

impl Adder {
    /// For the event `number` at `asked_ms`, of which neither side knows yet whether it was declined.
    pub(crate) fn new(asked_ms: i64, number: u32) -> Self {
        Self {
            asked_ms,
            number,
            running: Sums::default(),
            countries: Vec::with_capacity(16),
            windows: Vec::with_capacity(WINDOW_DAYS.len()),
        }
    }

    /// Events must be added in falling order of time.
    pub(crate) fn add(&mut self, event: &Kept) {
        self.close_until(event.at_ms);
        let amount = f64::from(event.cents) / 100.0;
        self.running.count += 1.0;
        self.running.sum += amount;
        self.running.max = self.running.max.max(amount);
        if event.declined && event.number != self.number {
            self.running.declined += 1.0;
        }
        if !self.countries.contains(&event.country) {
            self.countries.push(event.country);
            self.running.distinct += 1.0;
        }
    }

    /// Ends the windows that do not reach back to `at_ms`.
    fn close_until(&mut self, at_ms: i64) {
        while let Some(days) = WINDOW_DAYS.get(self.windows.len())
            && at_ms <= self.asked_ms - days * DAY_MS
        {
            self.windows.push(self.running);
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Sums> {
        self.close_until(i64::MIN);
        self.windows
    }
}

/// The values of [`ALL`] over each window, in the order of [`Question`].
pub(crate) fn values(windows: &[Sums]) -> Vec<f64> {
    let of_window = |sums: &Sums| {
        let Sums {
            count,
            sum,
            max,
            distinct,
            declined,
        } = *sums;
        [count, sum, sum / count, max, distinct, declined / count]
    };
    windows.iter().flat_map(of_window).collect()
}

/// The values of a card's latest event, from its whole history.
pub(crate) fn expected(card: u32, total: u32) -> Vec<f64> {
    let events: Vec<Kept> = history(card, total).map(|event| Kept::of(&event)).collect();
    let Some(latest) = events.last() else {
        return Vec::new();
    };
    let mut adder = Adder::new(latest.at_ms, latest.number);
    events.iter().rev().for_each(|event| adder.add(event));
    values(&adder.finish())
}

/// An error unless the store gives what the plain computation gives, for `cards` cards spread over all.
/// `functions` are those that `question` was made of.
pub(crate) fn compare(
    question: &Question,
    functions: &[&str],
    resident: &Resident,
    cards: u32,
) -> anyhow::Result<()> {
    let step = (resident.cards() / cards).max(1);
    for card in (0..resident.cards()).step_by(usize::try_from(step)?) {
        let all = expected(card, resident.total);
        let wanted: Vec<f64> = WINDOW_DAYS
            .iter()
            .enumerate()
            .flat_map(|(window, _)| functions.iter().map(move |name| (window, name)))
            .filter_map(|(window, name)| {
                let at = ALL.iter().position(|known| known == name)?;
                all.get(window * ALL.len() + at).copied()
            })
            .collect();
        let got = question.values(resident, card)?;
        let got: Vec<f64> = got
            .into_iter()
            .map(|value| value.unwrap_or(f64::NAN))
            .collect();
        ensure!(
            agree(&got, &wanted),
            "card {card}: the store says {got:?}, a plain computation {wanted:?}"
        );
    }
    Ok(())
}

/// Whether values are the same but for the order in which sums were added.
pub(crate) fn agree(one: &[f64], other: &[f64]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| (one - other).abs() <= 1e-9 * other.abs().max(1.0))
}

#[cfg(test)]
mod tests {
    use super::super::population::Columns;
    use super::super::question::INVERTIBLE;
    use super::*;

    #[test]
    fn the_store_and_the_client_of_redis_compute_the_same() {
        for columns in [Columns::Few, Columns::Sample] {
            // Grown in two steps, as where memory is measured.
            let mut resident = Resident::new(columns, 60, 100).unwrap();
            resident.fill(10).unwrap();
            resident.fill(100).unwrap();
            for functions in [ALL.as_slice(), INVERTIBLE.as_slice()] {
                let question = Question::new(&resident.schema, functions).unwrap();
                compare(&question, functions, &resident, 60).unwrap();
            }
        }
    }

    #[test]
    fn a_wrong_value_is_noticed() {
        let resident = Resident::filled(Columns::Few, 3, 50).unwrap();
        let question = Question::new(&resident.schema, &ALL).unwrap();
        let mut swapped = ALL;
        swapped.swap(1, 3);
        assert!(compare(&question, &swapped, &resident, 3).is_err());
    }

    #[test]
    fn windows_exclude_their_beginning_and_include_their_end() {
        let event = |number, at_ms| Kept {
            at_ms,
            number,
            cents: 250,
            country: *b"FR",
            declined: true,
        };
        let asked = 100 * DAY_MS;
        let mut adder = Adder::new(asked, 9);
        for kept in [
            event(9, asked),
            event(8, asked - DAY_MS + 1),
            event(7, asked - DAY_MS),
            event(6, asked - 3 * DAY_MS),
        ] {
            adder.add(&kept);
        }
        let counts: Vec<f64> = adder.finish().iter().map(|sums| sums.count).collect();
        assert_eq!(counts, [2.0, 3.0, 4.0, 4.0, 4.0]);
    }

    #[test]
    fn what_redis_keeps_can_be_read_back() {
        let kept = Kept::of(&Event::new(3, 7, 1_770_000_000_123));
        assert_eq!(Kept::decode(&kept.encode()), Some(kept));
        assert_eq!(Kept::decode(&[0; 18]), None);
    }
}
