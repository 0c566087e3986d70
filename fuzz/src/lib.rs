//! What the fuzz targets share: texts out of bytes, and the store behind the tests of rules.
//!
//! What must hold is said where the tests can ask it too: in `tollgate_expr::fuzz` and `tollgate_rules::fuzz`.

use std::sync::Arc;

use libfuzzer_sys::Corpus;
use tollgate_expr::Frame;
use tollgate_features::{Origin, ReadPlan, Store};
use tollgate_rules::Scene;
use tollgate_types::{EventTime, Record};

/// Gives a check the text that the bytes are. Files that are not UTF-8 are refused before anything reads them, so
/// such bytes would only swell the corpus.
pub fn with_text(bytes: &[u8], check: impl FnOnce(&str)) -> Corpus {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Corpus::Reject;
    };
    check(text);
    Corpus::Keep
}

/// Computes the aggregates of a rule's test, as a load does.
pub fn fill_aggregates(scene: &Scene<'_>, frame: &mut Frame<'_>) {
    let store = Store::new(Arc::clone(scene.schema));
    for past in scene.history {
        let Ok(record) = Record::new(&past.transaction, scene.schema, scene.rates) else {
            continue;
        };
        let authorized = !past.declined;
        store.apply(&record, Origin::Log { authorized });
        if let Some(label) = &past.label {
            store.label(label);
        }
    }
    let expires_at = EventTime::MAX;
    store.apply(scene.record, Origin::Scored { expires_at });
    let plan = ReadPlan::new(scene.schema, scene.layout);
    let _reading = store.read(&plan, scene.record, frame);
}
