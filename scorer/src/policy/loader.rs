//! Where a policy is loaded from and what its models run on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate_models::{Error, Runtime};
use tollgate_rules::{Guard, Kept};
use tollgate_source::Diagnostics;

use super::{ModelLimits, Policy};

/// Loads one policy folder, as often as it changes.
#[derive(Debug)]
pub struct Loader {
    folder: PathBuf,
    runtime: Result<Runtime, Error>,
    limits: ModelLimits,
    guard: Option<Guard>,
}

impl Loader {
    /// A `runtime` that could not be loaded is an error only where the policy names a model.
    pub const fn new(
        folder: PathBuf,
        runtime: Result<Runtime, Error>,
        limits: ModelLimits,
    ) -> Self {
        Self {
            folder,
            runtime,
            limits,
            guard: None,
        }
    }

    /// Gives a guard to rules that decline and do not name their own.
    #[must_use]
    pub fn with_guard(mut self, guard: Option<Guard>) -> Self {
        self.guard = guard;
        self
    }

    /// Loads the policy, its models included, verifies all of it and runs the tests of its rules. Warnings come with the
    /// policy; if anything is wrong, every error is reported at once.
    pub fn load(&self) -> Result<(Policy, Diagnostics), Diagnostics> {
        Policy::assemble(tollgate_rules::load(&self.folder)?, self, &[])
    }

    /// As [`Loader::load`], for a service that runs already: what its store cannot serve is an error, and models that a
    /// policy of `earlier` runs are not started again.
    pub(crate) fn reload(
        &self,
        kept: &Kept<'_>,
        earlier: &[Arc<Policy>],
    ) -> Result<(Policy, Diagnostics), Diagnostics> {
        let logic = tollgate_rules::load_onto(&self.folder, kept)?;
        Policy::assemble(logic, self, earlier)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) const fn runtime(&self) -> &Result<Runtime, Error> {
        &self.runtime
    }

    pub(super) const fn guard(&self) -> Option<Guard> {
        self.guard
    }

    pub(super) const fn limits(&self) -> ModelLimits {
        self.limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(threads: usize) -> Loader {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let library = std::env::var_os("TOLLGATE_ONNXRUNTIME").map_or_else(
            || root.join("target/onnxruntime/libonnxruntime.so"),
            PathBuf::from,
        );
        let limits = ModelLimits {
            threads,
            queue_rows_max: 16,
            ..ModelLimits::default()
        };
        Loader::new(root.join("policy"), Runtime::load(&library), limits)
    }

    #[test]
    fn a_model_that_has_not_changed_is_not_started_again() {
        let loader = sample(1);
        let (first, _) = loader.load().unwrap();
        let kept = Kept {
            schema: &first.logic().schema.clone(),
            base: first.logic().rates.base(),
        };
        let earlier = [Arc::new(first)];
        let shares = |loader: &Loader| {
            let (second, _) = loader.reload(&kept, &earlier).unwrap();
            let champion = second.champion().unwrap();
            champion.shares_threads_with(earlier[0].champion().unwrap())
        };
        assert!(shares(&loader));
        // Another number of threads is another way to run it.
        assert!(!shares(&sample(2)));
    }
}
