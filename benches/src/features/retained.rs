//! Bytes of memory per retained event and per card, as the kernel counts them for this process.

use anyhow::Context;
use tollgate_report::{Goal, Row};

use super::population::Columns;
use super::resident::Resident;
use super::sizes::Sizes;
use crate::memory::resident_bytes;
use crate::timing::float;

/// What a retained event may take.
const EVENT_BYTES: f64 = 32.0;
/// What a card may take beyond its events.
const CARD_BYTES: f64 = 128.0;

/// Events per card at the first of the two points between which the bytes of one more event are taken.
const EVENTS_FEW: u32 = 10;

/// A population filled under the eye of the kernel.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) resident: Resident,
    pub(crate) rows: Vec<Row>,
    /// Bytes of all of it.
    pub(crate) bytes: u64,
}

/// Fills a population, which must be the first thing its process does, and says what it took.
pub(crate) fn measure(columns: Columns, sizes: &Sizes) -> anyhow::Result<Measured> {
    let (cards, events) = (sizes.cards, sizes.events);
    let mut resident = Resident::new(columns, cards, events)?;
    let empty = resident_bytes()?;
    let since = |empty: u64| anyhow::Ok(resident_bytes()?.saturating_sub(empty));
    resident.fill(EVENTS_FEW)?;
    resident.settle();
    let few = since(empty)?;
    resident.fill(events)?;
    resident.settle();
    let bytes = since(empty).context("resident memory")?;

    let (cards, events) = (f64::from(cards), f64::from(events));
    let slope = float(bytes - few.min(bytes)) / cards / (events - f64::from(EVENTS_FEW));
    let id = |what: &str| sizes.id(&format!("memory.{}.{what}", columns.name()));
    // The promise: 32 bytes an event, and 128 a card beyond them.
    let beyond = |bytes: u64, events: f64| {
        let per_card = float(bytes) / cards - EVENT_BYTES * events;
        let what = format!("per_card_beyond_{events}_events");
        Row::new(id(&what), "bytes", per_card).goal(Goal::AtMost(CARD_BYTES))
    };
    let rows = vec![
        Row::new(
            id("per_event_all_included"),
            "bytes",
            float(bytes) / cards / events,
        )
        .goal(Goal::AtMost(EVENT_BYTES + CARD_BYTES / events)),
        Row::new(id("per_event"), "bytes", slope).goal(Goal::AtMost(EVENT_BYTES)),
        beyond(few, f64::from(EVENTS_FEW)),
        beyond(bytes, events),
    ];
    Ok(Measured {
        resident,
        rows,
        bytes,
    })
}
