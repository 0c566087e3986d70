//! What is asked of the store: six aggregates over five windows of one card, compiled as a policy's features are.

use std::collections::BTreeMap;

use anyhow::{anyhow, ensure};
use tollgate_expr::{Compiler, Frame, Layout};
use tollgate_features::ReadPlan;
use tollgate_types::Schema;

use super::population::{Event, Writer};
use super::resident::Resident;

/// Windows in days. With a hundred events in thirty days they hold about 3, 10, 23, 47 and all of them.
pub(crate) const WINDOW_DAYS: [i64; 5] = [1, 3, 7, 14, 30];

/// The functions of the read that goals are set for, in the order in which [`super::plain`] computes them.
pub(crate) const ALL: [&str; 6] = [
    "count()",
    "sum(amount)",
    "avg(amount)",
    "max(amount)",
    "distinct(merchant_country)",
    "rate(declined)",
];

/// Those that can be computed from differences of running sums.
pub(crate) const INVERTIBLE: [&str; 4] =
    ["count()", "sum(amount)", "avg(amount)", "rate(declined)"];

/// Aggregates compiled against a schema, and the plan that reads them.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) layout: Layout,
    pub(crate) plan: ReadPlan,
}

impl Question {
    /// `functions` over each of [`WINDOW_DAYS`], window by window.
    pub(crate) fn new(schema: &Schema, functions: &[&str]) -> anyhow::Result<Self> {
        let mut compiler = Compiler::new(schema, BTreeMap::new());
        for days in WINDOW_DAYS {
            for (at, function) in functions.iter().enumerate() {
                let source = format!("card.last(\"{days}d\").{function}");
                compiler
                    .feature(&format!("f_{days}_{at}"), &source)
                    .map_err(|problem| anyhow!("{source}: {problem:?}"))?;
            }
        }
        let layout = compiler.finish();
        let expected = WINDOW_DAYS.len() * functions.len();
        ensure!(
            layout.aggregates.len() == expected,
            "{} aggregates were compiled, not {expected}",
            layout.aggregates.len()
        );
        let plan = ReadPlan::new(schema, &layout);
        Ok(Self { layout, plan })
    }

    /// The values for the latest event of a card; missing as `None`.
    pub(crate) fn values(
        &self,
        resident: &Resident,
        card: u32,
    ) -> anyhow::Result<Vec<Option<f64>>> {
        let mut writer = Writer::new(resident.columns)?;
        let transaction = writer.write(card, &resident.latest(card))?;
        let record = resident.record(transaction)?;
        let mut frame = Frame::new(&self.layout, &record);
        let _ = resident.store.read(&self.plan, &record, &mut frame);
        frame.evaluate_features(&self.layout);
        let features = self.layout.features.iter();
        Ok(features
            .map(|feature| frame.cell(feature.slot).as_number())
            .collect())
    }
}

impl Resident {
    /// The event that a card is asked about: its latest, as when it has just been applied.
    pub(crate) fn latest(&self, card: u32) -> Event {
        let at = usize::try_from(card).unwrap_or(usize::MAX);
        let at_ms = self.last_ms.get(at).copied().unwrap_or_default();
        Event::new(card, self.filled.saturating_sub(1), at_ms)
    }
}
