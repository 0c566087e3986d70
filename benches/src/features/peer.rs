//! The same reads on Redis, in every form we know a service to use.
//!
//! Cards are kept twice: as a sorted set by time, which is what such a service has, and as one packed string, which can only be
//! appended to but is the least work to read. Both hold the events in a fixed width of nineteen bytes, much less than
//! JSON, and fewer cards than ours: both favour Redis.

use std::fmt::Write as _;

use anyhow::{Context, ensure};

use super::plain::{Adder, KEPT_BYTES, Kept, Sums, agree, expected, values};
use super::population::{Event, history};
use super::question::WINDOW_DAYS;
use crate::redis::{Client, Server};

const DAY_MS: i64 = 86_400_000;

/// Cards whose commands are sent together while filling.
const CARDS_PER_WRITE: u32 = 64;

/// How a decision gets its thirty values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Form {
    /// One `ZRANGEBYSCORE` of the longest window; the client adds up.
    OneRange,
    /// One per window, sent together; the client adds each up.
    FiveRanges,
    /// A script adds up inside Redis and returns sums.
    Script,
    /// `GET` of a string into which every event was appended; the client adds up.
    PackedString,
}

impl Form {
    pub(crate) const ALL: [Self; 4] = [
        Self::OneRange,
        Self::FiveRanges,
        Self::Script,
        Self::PackedString,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OneRange => "sorted_set_one_range",
            Self::FiveRanges => "sorted_set_five_ranges",
            Self::Script => "sorted_set_script",
            Self::PackedString => "packed_string",
        }
    }
}

/// A Redis that holds cards `0..cards`.
#[derive(Debug)]
pub(crate) struct Peer {
    // Before the server, so that the connection is closed first.
    client: Client,
    _server: Server,
    script: Vec<u8>,
    cards: u32,
    total: u32,
}

impl Peer {
    /// Starts a server and fills it with the histories of the first `cards` cards.
    pub(crate) fn filled(cards: u32, total: u32) -> anyhow::Result<Self> {
        let server = Server::start()?;
        let mut client = server.client()?;
        client.add(&[b"SCRIPT", b"LOAD", script().as_bytes()]);
        client.send()?;
        let script = client.bulk()?.to_vec();
        let mut peer = Self {
            client,
            _server: server,
            script,
            cards,
            total,
        };
        peer.fill()?;
        Ok(peer)
    }

    pub(crate) const fn cards(&self) -> u32 {
        self.cards
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        for first in (0..self.cards).step_by(usize::try_from(CARDS_PER_WRITE)?) {
            let cards = first..self.cards.min(first + CARDS_PER_WRITE);
            for card in cards.clone() {
                self.add_card(card)?;
            }
            self.client.send()?;
            for _ in cards {
                let added = self.client.integer()?;
                ensure!(
                    added == usize::try_from(self.total)?,
                    "{added} members added"
                );
                let word = self.client.word()?;
                ensure!(word == "OK", "SET replied {word}");
            }
        }
        Ok(())
    }

    fn add_card(&mut self, card: u32) -> anyhow::Result<()> {
        let kept: Vec<[u8; KEPT_BYTES]> = history(card, self.total)
            .map(|event| Kept::of(&event).encode())
            .collect();
        let scores: Vec<String> = kept
            .iter()
            .map(|bytes| Kept::decode(bytes).map(|kept| kept.at_ms.to_string()))
            .collect::<Option<_>>()
            .context("a kept event cannot be read")?;
        let key = set_key(card);
        let mut words: Vec<&[u8]> = vec![b"ZADD", key.as_bytes()];
        for (score, member) in scores.iter().zip(&kept) {
            words.push(score.as_bytes());
            words.push(member);
        }
        self.client.add(&words);
        self.client
            .add(&[b"SET", string_key(card).as_bytes(), &kept.concat()]);
        Ok(())
    }

    /// The five windows of a card as of `latest`, in one form.
    pub(crate) fn read(
        &mut self,
        form: Form,
        card: u32,
        latest: &Event,
    ) -> anyhow::Result<Vec<Sums>> {
        self.ask(form, card, latest)?;
        self.client.send()?;
        self.answer(form, latest)
    }

    /// Several decisions' reads sent together, as only a service that can wait for others could.
    pub(crate) fn read_together(
        &mut self,
        form: Form,
        asked: &[(u32, Event)],
    ) -> anyhow::Result<f64> {
        for (card, latest) in asked {
            self.ask(form, *card, latest)?;
        }
        self.client.send()?;
        let mut sum = 0.0;
        for (_, latest) in asked {
            sum += self
                .answer(form, latest)?
                .iter()
                .map(|sums| sums.sum)
                .sum::<f64>();
        }
        Ok(sum)
    }

    fn ask(&mut self, form: Form, card: u32, latest: &Event) -> anyhow::Result<()> {
        let key = set_key(card);
        let until = latest.at_ms.to_string();
        let after = |days: i64| format!("({}", latest.at_ms - days * DAY_MS);
        let mut range = |days: i64| {
            let after = after(days);
            self.client.add(&[
                b"ZRANGEBYSCORE",
                key.as_bytes(),
                after.as_bytes(),
                until.as_bytes(),
            ]);
        };
        match form {
            Form::OneRange => range(longest()),
            Form::FiveRanges => WINDOW_DAYS.into_iter().for_each(range),
            Form::Script => {
                let number = latest.number.to_string();
                self.client.add(&[
                    b"EVALSHA",
                    &self.script,
                    b"1",
                    key.as_bytes(),
                    until.as_bytes(),
                    number.as_bytes(),
                ]);
            }
            Form::PackedString => self.client.add(&[b"GET", string_key(card).as_bytes()]),
        }
        Ok(())
    }

    fn answer(&mut self, form: Form, latest: &Event) -> anyhow::Result<Vec<Sums>> {
        match form {
            Form::OneRange => {
                let events = self.events()?;
                Ok(added(events.iter(), latest))
            }
            Form::FiveRanges => {
                let mut windows = Vec::with_capacity(WINDOW_DAYS.len());
                for at in 0..WINDOW_DAYS.len() {
                    // All windows of the adder are the same but for those that end sooner.
                    let events = self.events()?;
                    windows.extend(added(events.iter(), latest).get(at));
                }
                Ok(windows)
            }
            Form::Script => sums_of(self.client.bulk()?),
            Form::PackedString => {
                let bytes = self.client.bulk()?;
                let mut adder = Adder::new(latest.at_ms, latest.number);
                let begin = latest.at_ms - longest() * DAY_MS;
                for bytes in bytes.rchunks_exact(KEPT_BYTES) {
                    let kept = Kept::decode(bytes).context("an event cannot be read")?;
                    if kept.at_ms <= begin {
                        break;
                    }
                    adder.add(&kept);
                }
                Ok(adder.finish())
            }
        }
    }

    fn events(&mut self) -> anyhow::Result<Vec<Kept>> {
        let mut events = Vec::with_capacity(128);
        self.client.array(|bytes| {
            events.push(Kept::decode(bytes).context("a member cannot be read")?);
            Ok(())
        })?;
        Ok(events)
    }

    /// An error unless every form gives what a plain pass over the history gives, for `cards` cards.
    pub(crate) fn compare(&mut self, cards: u32) -> anyhow::Result<()> {
        let step = usize::try_from((self.cards / cards).max(1))?;
        for card in (0..self.cards).step_by(step) {
            let latest = history(card, self.total).last().context("no events")?;
            let wanted = expected(card, self.total);
            for form in Form::ALL {
                let got = values(&self.read(form, card, &latest)?);
                ensure!(
                    agree(&got, &wanted),
                    "card {card}: Redis by {} says {got:?}, a plain computation {wanted:?}",
                    form.name()
                );
            }
        }
        Ok(())
    }
}

fn longest() -> i64 {
    WINDOW_DAYS.into_iter().max().unwrap_or_default()
}

fn set_key(card: u32) -> String {
    format!("z{card}")
}

fn string_key(card: u32) -> String {
    format!("s{card}")
}

fn added<'k>(events: impl DoubleEndedIterator<Item = &'k Kept>, latest: &Event) -> Vec<Sums> {
    let mut adder = Adder::new(latest.at_ms, latest.number);
    events.rev().for_each(|event| adder.add(event));
    adder.finish()
}

/// Reads the script's reply: five little-endian doubles per window.
fn sums_of(bytes: &[u8]) -> anyhow::Result<Vec<Sums>> {
    let mut numbers = Vec::with_capacity(25);
    for bytes in bytes.chunks_exact(8) {
        numbers.push(f64::from_le_bytes(bytes.try_into()?));
    }
    let sums = |five: &[f64]| Sums {
        count: five[0],
        sum: five[1],
        max: five[2],
        distinct: five[3],
        declined: five[4],
    };
    Ok(numbers.chunks_exact(5).map(sums).collect())
}

/// What runs inside Redis: one pass from the latest event back, sums noted where a window begins.
fn script() -> String {
    let mut days = String::new();
    for window in WINDOW_DAYS {
        let _ = write!(days, "{}, ", window * DAY_MS);
    }
    let longest = longest() * DAY_MS;
    format!(
        r"
local asked, own = tonumber(ARGV[1]), tonumber(ARGV[2])
local spans = {{ {days} }}
local events = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. (asked - {longest}), ARGV[1])
local unpack, pack = struct.unpack, struct.pack
local window, edge = 1, asked - spans[1]
local count, sum, max, distinct, declined = 0, 0, 0, 0, 0
local seen, out = {{}}, {{}}
for i = #events, 1, -1 do
    local at, number, cents, country, refused = unpack('>I8I4I4c2B', events[i])
    while at <= edge do
        out[window] = pack('<ddddd', count, sum, max, distinct, declined)
        window = window + 1
        edge = asked - spans[window]
    end
    local amount = cents / 100
    count = count + 1
    sum = sum + amount
    if amount > max then max = amount end
    if refused == 1 and number ~= own then declined = declined + 1 end
    if not seen[country] then seen[country] = true; distinct = distinct + 1 end
end
for rest = window, #spans do
    out[rest] = pack('<ddddd', count, sum, max, distinct, declined)
end
return table.concat(out)
"
    )
}
