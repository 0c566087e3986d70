//! Requests whose code panics.

use std::sync::Mutex;

use super::asked::Stage;

/// The stages that panic.
#[derive(Default)]
pub(crate) struct Sabotage(Mutex<Vec<Stage>>);

impl Sabotage {
    pub(super) fn at(&self, stage: Stage) {
        let stages = self.0.lock().unwrap().clone();
        assert!(!stages.contains(&stage), "a panic at {stage:?}");
    }
}
