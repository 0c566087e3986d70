//! Admission against a model of it that is too simple to be wrong, in a simulated service under load, and at run time.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod brute;
mod loads;
mod run;
mod simulation;

use crate::config::OverloadConfig;

/// A limit that stays as it is, and no age that is too much.
fn fixed(limit: u32, waiting_max: usize) -> OverloadConfig {
    OverloadConfig {
        limit_min: limit,
        limit_max: limit,
        waiting_max,
        target_ms: 1_000_000,
        ..OverloadConfig::default()
    }
}
