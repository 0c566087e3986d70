//! Compiling an expression that stands in a file: what is wrong with it is shown where it stands there.

use std::sync::Arc;

use tollgate_expr::{Problem, Severity};
use tollgate_source::{Diagnostic, Diagnostics, Located, SourceFile};

/// Notes the problems of `source` at their places in `file`.
pub(crate) fn note_problems(
    problems: Vec<Problem>,
    source: &Located<String>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) {
    notes.extend(problems.into_iter().map(|problem| {
        let span = source.span_of(file, problem.span);
        let diagnostic = match problem.severity {
            Severity::Error => Diagnostic::error(file, span, problem.message),
            Severity::Warning => Diagnostic::warning(file, span, problem.message),
        };
        Diagnostic {
            help: problem.help,
            ..diagnostic
        }
    }));
}
