//! What is wrong with a file, where, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};

use crate::SourceFile;

/// Lines longer than this are cut around the caret when shown.
const SHOWN_COLUMNS_MAX: usize = 200;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    Error,
    Warning,
}

/// One mistake in one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    pub file: Arc<SourceFile>,
    /// Bytes of the file's text. Where the file could not be read at all, the text is empty and only the
    /// file's name is shown.
    pub span: Range<usize>,
    /// What to write instead.
    pub help: Option<String>,
    /// Whether the line itself may be shown; not if it may hold what must never be printed.
    pub shows_source: bool,
}

impl Diagnostic {
    pub fn error(file: &Arc<SourceFile>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            file: Arc::clone(file),
            span,
            help: None,
            shows_source: true,
        }
    }

    pub fn warning(file: &Arc<SourceFile>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(file, span, message)
        }
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Shows the position but not the line, for lines that may hold a card number.
    #[must_use]
    pub fn without_source(mut self) -> Self {
        self.shows_source = false;
        self
    }

    /// Line and column of the beginning, both from 1.
    pub fn position(&self) -> (usize, usize) {
        self.file.position(self.span.start)
    }

    /// The mistake as text: message, `file:line:column`, the line with a caret, and the help.
    pub fn render(&self) -> String {
        if self.file.text.is_empty() || !self.shows_source {
            return self.render_without_source();
        }
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let group = level
            .primary_title(self.message.as_str())
            .element(self.snippet());
        let group = match &self.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        };
        Renderer::plain()
            .term_width(SHOWN_COLUMNS_MAX)
            .render(&[group])
    }

    fn render_without_source(&self) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut text = format!("{severity}: {}\n --> {}", self.message, self.file.path);
        if !self.file.text.is_empty() {
            let (line, column) = self.position();
            text.push_str(&format!(":{line}:{column}"));
        }
        if let Some(help) = &self.help {
            text.push_str("\n  = help: ");
            text.push_str(help);
        }
        text
    }

    /// The first line of the span. Cut out here, because a list may have a million lines and one file many
    /// mistakes.
    fn snippet(&self) -> Snippet<'_, Annotation<'_>> {
        let (line_start, number) = self.file.line_at(self.span.start);
        let rest = &self.file.text[line_start..];
        let line = rest.lines().next().unwrap_or_default();
        let start = self.file.boundary(self.span.start) - line_start;
        let end = self.file.boundary(self.span.end).saturating_sub(line_start);
        let start = start.min(line.len());
        let end = end.clamp(start, line.len());
        Snippet::source(line)
            .line_start(number)
            .path(self.file.path.as_str())
            .annotation(AnnotationKind::Primary.span(start..end))
    }
}

/// Every mistake found, so that one run shows them all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    pub fn has_errors(&self) -> bool {
        self.0
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// All of them as text, by file and position, an empty line between two.
    pub fn render(&self) -> String {
        let mut sorted: Vec<&Diagnostic> = self.0.iter().collect();
        sorted.sort_by_key(|diagnostic| {
            (
                &diagnostic.file.path,
                diagnostic.span.start,
                diagnostic.severity,
            )
        });
        let parts: Vec<String> = sorted.into_iter().map(Diagnostic::render).collect();
        parts.join("\n\n")
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, more: I) {
        self.0.extend(more);
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'d> IntoIterator for &'d Diagnostics {
    type Item = &'d Diagnostic;
    type IntoIter = std::slice::Iter<'d, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

impl std::error::Error for Diagnostic {}
impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_with_its_line_a_caret_and_help() {
        let file = SourceFile::new("policy/a.yaml", "rules:\n  - idd: x\n");
        let error = Diagnostic::error(&file, 11..14, "unknown key `idd`").with_help("write `id`");
        let expected = "\
error: unknown key `idd`
 --> policy/a.yaml:2:5
  |
2 |   - idd: x
  |     ^^^
  |
  = help: write `id`";
        assert_eq!(error.render(), expected);
    }

    #[test]
    fn columns_count_characters_and_long_spans_end_with_their_line() {
        let file = SourceFile::new("a", "é: one\ntwo");
        let expected = "\
warning: odd
 --> a:1:4
  |
1 | é: one
  |    ^^^";
        assert_eq!(Diagnostic::warning(&file, 4..11, "odd").render(), expected);
    }

    #[test]
    fn a_span_outside_the_text_or_inside_a_character_is_moved_not_a_panic() {
        let file = SourceFile::new("a", "é\n");
        for span in [1..2, 0..1, 3..3, 2..99, 50..99] {
            assert!(
                Diagnostic::error(&file, span.clone(), "odd")
                    .render()
                    .contains("a:"),
                "{span:?}"
            );
        }
    }

    #[test]
    fn a_line_that_may_hold_a_card_number_is_not_shown() {
        let file = SourceFile::new("a.csv", "value\n4111111111111111\n");
        let error = Diagnostic::error(&file, 6..22, "a card number")
            .with_help("write the token")
            .without_source();
        let expected = "error: a card number\n --> a.csv:2:1\n  = help: write the token";
        assert_eq!(error.render(), expected);
    }

    #[test]
    fn all_are_shown_by_file_and_position() {
        let (a, b) = (SourceFile::new("a", "x\ny\n"), SourceFile::new("b", ""));
        let mut all = Diagnostics::default();
        assert!(all.is_empty() && !all.has_errors());
        all.push(Diagnostic::error(&b, 0..0, "the file does not exist"));
        all.extend([
            Diagnostic::error(&a, 2..3, "second"),
            Diagnostic::warning(&a, 0..1, "first"),
        ]);
        let expected = "\
warning: first
 --> a:1:1
  |
1 | x
  | ^

error: second
 --> a:2:1
  |
2 | y
  | ^

error: the file does not exist
 --> b";
        assert_eq!(all.render(), expected);
        assert!(all.has_errors());
        assert_eq!(all.len(), 3);
    }
}
