//! Features that are texts, as the texts that models take.
//!
//! A decision works with texts as numbers (`types::TextKey`); a model wants them as they were written.

use std::sync::Arc;

use tollgate_types::{Cell, FieldId, Record};

/// The texts of one decision's features. Takes no memory where no model takes texts.
#[derive(Debug, Clone, Default)]
pub(crate) struct FeatureTexts(Vec<(usize, Arc<str>)>);

impl FeatureTexts {
    /// Of the `wanted` features, by their place among all `features`.
    pub(crate) fn of(wanted: &[usize], features: &[Cell], record: &Record<'_>) -> Self {
        let text = |at: &usize| Some((*at, feature_text(*features.get(*at)?, record)?));
        Self(wanted.iter().filter_map(text).collect())
    }

    /// The text of the feature at this place; `None` if it is missing.
    pub(super) fn get(&self, feature: usize) -> Option<&Arc<str>> {
        let found = self.0.iter().find(|(at, _)| *at == feature);
        found.map(|(_, text)| text)
    }
}

/// The text a cell stands for: itself if it is short, else the one among the transaction's own fields. A longer text that
/// a transaction before this one had is not kept, and is taken as missing, here and in feature tables alike.
pub(crate) fn feature_text(cell: Cell, record: &Record<'_>) -> Option<Arc<str>> {
    let key = cell.as_text()?;
    if let Some(text) = key.whole() {
        return Some(text.into());
    }
    let cells = record.cells().iter().enumerate();
    cells
        .filter(|(_, field)| **field == cell)
        .filter_map(|(at, _)| record.text(FieldId(u16::try_from(at).ok()?)))
        .map(Arc::from)
        .next()
}
