//! Decisions outside of a service: one at a time, on an empty store, with time for the model.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tollgate_features::Store;
use tollgate_types::{EventTime, Span};

use crate::clock;
use crate::decide::Context;
use crate::policy::Policy;

/// No client waits, so the model may take its time.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a decision needs that a service would have.
pub(super) struct Alone<'p> {
    policy: &'p Policy,
    store: Store,
    runtime: tokio::runtime::Runtime,
}

impl<'p> Alone<'p> {
    pub(super) fn new(policy: &'p Policy) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Ok(Self {
            policy,
            store: Store::new(Arc::clone(&policy.logic().schema)),
            runtime: runtime.context("cannot start the asynchronous runtime")?,
        })
    }

    pub(super) fn context(&self, now: EventTime, model_reasons_max: usize) -> Context<'_> {
        Context {
            policy: self.policy,
            store: &self.store,
            now,
            deadline: clock::instant() + PATIENCE,
            behind: Span::ZERO,
            stale_after: Span::from_seconds(1),
            in_flight_expires: Span::from_seconds(1),
            model_reasons_max,
        }
    }

    pub(super) fn run<T>(&self, deciding: impl Future<Output = T>) -> T {
        self.runtime.block_on(deciding)
    }
}
