//! Whether a policy can be served on what a running service keeps in memory.
//!
//! Events are kept as the schema said when the service began, their amounts in its base currency. A policy that needs
//! other ones would read values that were never kept, or mean something else; only reading the log anew helps.

use std::path::Path;

use tollgate_source::{Diagnostic, Diagnostics, SourceFile};
use tollgate_types::{Currency, Rates, Schema};

/// What the events in memory were kept under.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'k> {
    pub schema: &'k Schema,
    /// What amounts were converted to.
    pub base: Currency,
}

const RESTART: &str = "undo this change, or restart the service: it then fills its memory anew from the log, under the \
                       policy it finds";

impl Kept<'_> {
    /// Gives the schema the numbers that the store knows; what does not fit is noted.
    pub(crate) fn fit(
        &self,
        dir: &Path,
        schema: &mut Option<Schema>,
        rates: Option<&Rates>,
        notes: &mut Diagnostics,
    ) {
        let note = |name: &str, message: String| {
            let file = SourceFile::new(dir.join(name).display().to_string(), "");
            Diagnostic::error(&file, 0..0, message).with_help(RESTART)
        };
        match schema
            .as_ref()
            .map(|schema| schema.laid_out_as(self.schema))
        {
            Some(Ok(laid_out)) => *schema = Some(laid_out),
            Some(Err(changes)) => notes.extend(changes.into_iter().map(|change| {
                let message =
                    format!("{change}, which cannot be changed while the service is running");
                note("schema.yaml", message)
            })),
            None => {}
        }
        if let Some(rates) = rates
            && rates.base() != self.base
        {
            let message = format!(
                "the base currency was {} and now is {}, which cannot be changed while the service is running",
                self.base,
                rates.base()
            );
            notes.push(note("fx.yaml", message));
        }
    }
}
