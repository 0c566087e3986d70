//! What a history costs the store when a service reads it for the first time: the generator's travelers under the sample
//! policy, where most rows go to entities that are new or have few, in memory that no cache holds.
//!
//!     cargo bench -p tollgate-benches --bench replay -- --threads 2
//!
//! Each thread has the cards that a reader of some partitions would have, lays out as many records as are looked ahead
//! for, and applies them. Only what the store does is counted, in CPU time of its threads, so that other
//! programs on the machine move the figures little. Labels are applied too, between the counted parts.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up should stop"
)]

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use tollgate_benches::memory::resident_bytes;
use tollgate_benches::timing::{float, nanos, now, number};
use tollgate_features::{Applied, Origin, Store};
use tollgate_loadtest::generate::{Config, Event, Generator, KnownLabel};
use tollgate_proto::v1;
use tollgate_proto::v1::attribute_value::Kind;
use tollgate_rules::Logic;
use tollgate_types::{
    AttributeValue, CardId, Channel, Currency, EventTime, Label, Money, Record, Transaction,
    TransactionId,
};

/// As the service has it: a new entity is an allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Transactions made ready at a time.
const CHUNK: usize = 1 << 16;

/// Figures along the way.
const STATIONS: usize = 5;

#[derive(Parser, Debug)]
struct Arguments {
    /// A card pays some 40 times in five weeks
    #[arg(long, default_value_t = 50_000)]
    cards: u32,
    #[arg(long, default_value_t = 2_000_000)]
    events: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// What cargo says to benches
    #[arg(long, hide = true)]
    bench: bool,
}

/// Transactions of one reader, in order, and whether they were authorized.
type Lane = Vec<(Transaction, bool)>;

/// What was measured of some events.
#[derive(Clone, Copy, Default)]
struct Spent {
    events: usize,
    /// CPU time in the store, of all threads together.
    cpu: Duration,
    /// Of all threads, until the last was done, laying out the records included.
    wall: Duration,
}

impl Spent {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.cpu += other.cpu;
        self.wall += other.wall;
    }
}

fn main() {
    let arguments = Arguments::parse();
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy");
    let (logic, _) = tollgate_rules::load(&policy).unwrap();
    let store = Store::new(logic.schema.clone());
    let empty = resident_bytes().unwrap();
    let mut events = Generator::new(Config::new(arguments.cards, u32::MAX, 1));
    let (mut all, mut part) = (Spent::default(), Spent::default());
    while all.events < arguments.events {
        let (lanes, labels) = read(&mut events, arguments.threads);
        let spent = apply(&store, &logic, &lanes);
        all.add(spent);
        part.add(spent);
        for label in &labels {
            store.label(&converted_label(label));
        }
        let last = lanes.iter().filter_map(|lane| lane.last()).max_by_key(at);
        store.advance_watermark(last.map_or(EventTime::MIN, |(last, _)| last.event_time));
        if part.events >= arguments.events / STATIONS || all.events >= arguments.events {
            say(&format!("{:>9} events", all.events), part);
            part = Spent::default();
        }
    }
    say("all together", all);
    let (size, resident) = (store.size(), resident_bytes().unwrap() - empty);
    println!(
        "{} entities, {:.1} bytes an event as the store counts them, {:.1} as the kernel does",
        size.entities,
        number(size.bytes) / number(all.events),
        float(resident) / number(all.events),
    );
}

fn at(last: &&(Transaction, bool)) -> EventTime {
    last.0.event_time
}

fn say(which: &str, spent: Spent) {
    let each = |time: Duration| float(nanos(time)) / number(spent.events);
    println!(
        "{which}: {:.0} ns CPU an event in the store, {:.0} ns wall with laying out",
        each(spent.cpu),
        each(spent.wall)
    );
}

/// The next transactions, by reader, and the labels that come meanwhile.
fn read(events: &mut Generator, threads: usize) -> (Vec<Lane>, Vec<KnownLabel>) {
    let mut lanes = vec![Lane::new(); threads];
    let mut labels = Vec::new();
    let mut left = CHUNK;
    for event in events {
        match event {
            Event::Label(label) => labels.push(label),
            Event::Transaction(generated) => {
                let message = generated.event.transaction.unwrap();
                let sum: usize = message.card_id.bytes().map(usize::from).sum();
                lanes[sum % threads].push((converted(message), generated.event.authorized));
                left -= 1;
            }
        }
        if left == 0 {
            break;
        }
    }
    (lanes, labels)
}

/// Applies each lane on a thread of its own.
fn apply(store: &Store, logic: &Logic, lanes: &[Lane]) -> Spent {
    let began = now();
    let cpu = std::thread::scope(|scope| {
        let start = |lane| scope.spawn(move || apply_lane(store, logic, lane));
        let threads: Vec<_> = lanes.iter().map(start).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    Spent {
        events: lanes.iter().map(Vec::len).sum(),
        cpu,
        wall: began.elapsed(),
    }
}

fn apply_lane(store: &Store, logic: &Logic, lane: &Lane) -> Duration {
    let mut spent = Duration::ZERO;
    for few in lane.chunks(Store::LOOK_AHEAD) {
        let record = |(transaction, _)| Record::new(transaction, &logic.schema, &logic.rates);
        let records = few
            .iter()
            .map(|(transaction, authorized)| (transaction, *authorized));
        let records: Vec<Record<'_>> = records.map(|of| record(of).unwrap()).collect();
        let began = cpu_time();
        store.look_ahead(records.iter());
        for (record, (_, authorized)) in records.iter().zip(few) {
            let authorized = *authorized;
            let applied = store.apply(record, Origin::Log { authorized });
            assert!(
                matches!(applied, Applied::New | Applied::Late),
                "{applied:?}"
            );
        }
        spent += cpu_time() - began;
    }
    spent
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

fn converted(message: v1::Transaction) -> Transaction {
    let text = |text: String| (!text.is_empty()).then_some(text);
    let channel = match message.channel() {
        v1::Channel::CardPresent => Some(Channel::CardPresent),
        v1::Channel::Ecommerce => Some(Channel::Ecommerce),
        v1::Channel::MailOrTelephone => Some(Channel::MailOrTelephone),
        v1::Channel::Recurring => Some(Channel::Recurring),
        v1::Channel::CashWithdrawal => Some(Channel::CashWithdrawal),
        v1::Channel::Unspecified => None,
    };
    let attributes = message.attributes.into_iter();
    let attributes = attributes.map(|(name, value)| {
        let value = match value.kind.unwrap() {
            Kind::Number(number) => AttributeValue::Number(number),
            Kind::Text(text) => AttributeValue::Text(text),
            Kind::Flag(flag) => AttributeValue::Flag(flag),
            Kind::Time(time) => AttributeValue::Time(moment(Some(time))),
        };
        (name, value)
    });
    Transaction {
        id: TransactionId::parse(&message.transaction_id).unwrap(),
        event_time: moment(message.event_time),
        card_id: CardId::parse(&message.card_id).unwrap(),
        amount: Money {
            amount_minor: message.amount_minor,
            currency: Currency::parse(&message.currency).unwrap(),
        },
        merchant_id: message.merchant_id,
        merchant_category_code: u16::try_from(message.merchant_category_code).ok(),
        merchant_country: text(message.merchant_country),
        terminal_id: text(message.terminal_id),
        channel,
        card_country: text(message.card_country),
        device_id: text(message.device_id),
        ip_address: text(message.ip_address),
        attributes: attributes.collect(),
    }
}

fn converted_label(known: &KnownLabel) -> Label {
    Label {
        transaction_id: TransactionId::parse(&known.label.transaction_id).unwrap(),
        fraud: known.label.fraud,
        known_at: known.known_at,
    }
}

fn moment(timestamp: Option<prost_types::Timestamp>) -> EventTime {
    let at = timestamp.unwrap();
    EventTime::from_micros(at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000)
}
