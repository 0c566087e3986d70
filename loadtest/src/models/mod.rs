//! Runs that change what a service scores with: a model that sticks, and a new model every half a second.
//!
//! Both work on a policy folder that the service watches, whose models `benches/python/models.py` has made, and know of
//! the service what answers, metrics and the system's own figures of its process say.

pub mod stuck;
pub mod swaps;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Names another champion, in one step, as editors save.
pub(crate) fn choose(policy: &Path, champion: &str) -> Result<()> {
    let beside = policy.join(".models.yaml.new");
    let save = || {
        fs::write(&beside, format!("champion: {champion}\n"))?;
        fs::rename(&beside, policy.join("models.yaml"))
    };
    save().with_context(|| format!("cannot change {}/models.yaml", policy.display()))
}
