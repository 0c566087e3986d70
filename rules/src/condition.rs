//! Compiling an expression that stands in a file: what is wrong with it is shown where it stands there.

use std::sync::Arc;

use tollgate_expr::{Problem, Severity};
use tollgate_source::{Diagnostic, Diagnostics, Located, SourceFile};

/// What to write where a comment of YAML has taken the end of a text with it.
const CUT: &str = "YAML takes what follows ` #` for a comment, even inside of a text: write `>-` after the key, and the condition on a line of its own below";

/// Notes the problems of `source` at their places in `file`.
pub(crate) fn note_problems(
    problems: Vec<Problem>,
    source: &Located<String>,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) {
    notes.extend(problems.into_iter().map(|problem| {
        let is_cut = problem.span.end == source.value.len() && is_cut_by_comment(source, file);
        let span = source.span_of(file, problem.span);
        let diagnostic = match problem.severity {
            Severity::Error => Diagnostic::error(file, span, problem.message),
            Severity::Warning => Diagnostic::warning(file, span, problem.message),
        };
        Diagnostic {
            help: if is_cut {
                Some(CUT.to_owned())
            } else {
                problem.help
            },
            shows_source: problem.shows_source,
            ..diagnostic
        }
    }));
}

/// Whether YAML has taken the end of a text for a comment: `when: x == "a #b"` without quotes around all of it.
fn is_cut_by_comment(source: &Located<String>, file: &SourceFile) -> bool {
    let end = source.span_of(file, 0..source.value.len()).end;
    let rest = file.text.get(end..).unwrap_or("");
    let follows = rest.trim_start_matches([' ', '\t']);
    ends_inside_text(&source.value) && follows.len() < rest.len() && follows.starts_with('#')
}

fn ends_inside_text(expression: &str) -> bool {
    let (mut open, mut is_escaped) = (None, false);
    for next in expression.chars() {
        match open {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if next == '\\' => is_escaped = true,
            Some(quote) if next == quote => open = None,
            None if matches!(next, '"' | '\'') => open = Some(next),
            _ => {}
        }
    }
    open.is_some()
}
