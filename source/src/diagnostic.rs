//! What is wrong with a file, where, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::SourceFile;

/// Lines longer than this are cut around the caret when shown.
const SHOWN_COLUMNS_MAX: usize = 200;

/// Lines longer than this, in bytes, are not shown: nobody reads them, and looking for the place takes long.
const SHOWN_BYTES_MAX: usize = 8 << 10;

/// Longest message or help, in bytes. They repeat what is written, which may be of any length.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// Most mistakes kept, and as many warnings. A person mends some and checks again; a file of a megabyte could have
/// hundreds of thousands.
const KEPT_MAX: usize = 1_000;

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
            message: shortened(message.into()),
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
        self.help = Some(shortened(help.into()));
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
        let Some((line, number, marked)) = self.marked_line() else {
            return self.render_without_source();
        };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let group = level.primary_title(self.message.as_str()).element(
            Snippet::source(line)
                .line_start(number)
                .path(self.file.path.as_str())
                .annotation(AnnotationKind::Primary.span(marked)),
        );
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

    /// The first line of the span, its number, and the part of it that the span marks; nothing if it cannot or must
    /// not be shown. Cut out here, because a list may have a million lines and one file many mistakes.
    fn marked_line(&self) -> Option<(&str, usize, Range<usize>)> {
        if self.file.text.is_empty() || !self.shows_source {
            return None;
        }
        let (line_start, number) = self.file.line_at(self.span.start);
        let line = self.file.line(self.span.start);
        let start = self.file.boundary(self.span.start) - line_start;
        let end = self.file.boundary(self.span.end).saturating_sub(line_start);
        let start = start.min(line.len());
        let end = end.clamp(start, line.len());
        (line.len() <= SHOWN_BYTES_MAX).then_some((line, number, start..end))
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
        text.push('…');
    }
    text
}

/// Every mistake found, so that one run shows them all. Of more than anyone would read, the first are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let noted = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *noted += 1;
        if *noted <= KEPT_MAX {
            self.kept.push(diagnostic);
        }
    }

    /// Adds those of another, what it only counted included.
    pub fn append(&mut self, other: Self) {
        let (errors, warnings) = (self.errors + other.errors, self.warnings + other.warnings);
        self.extend(other.kept);
        (self.errors, self.warnings) = (errors, warnings);
    }

    pub const fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether further errors are only counted, so that finding out what to say of them is for nothing.
    pub const fn is_full(&self) -> bool {
        self.errors >= KEPT_MAX
    }

    pub const fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many are kept.
    pub const fn len(&self) -> usize {
        self.kept.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.kept.iter()
    }

    /// All of them as text, by file and position, an empty line between two.
    pub fn render(&self) -> String {
        let mut sorted: Vec<&Diagnostic> = self.kept.iter().collect();
        sorted.sort_by_key(|diagnostic| {
            (
                &diagnostic.file.path,
                diagnostic.span.start,
                diagnostic.severity,
            )
        });
        let mut parts: Vec<String> = sorted.into_iter().map(Diagnostic::render).collect();
        for (severity, noted) in [("error", self.errors), ("warning", self.warnings)] {
            if noted > KEPT_MAX {
                let more = noted - KEPT_MAX;
                parts.push(format!(
                    "{severity}: {more} more are not shown\n  = help: mend those above and check again"
                ));
            }
        }
        parts.join("\n\n")
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, more: I) {
        more.into_iter()
            .for_each(|diagnostic| self.push(diagnostic));
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.into_iter()
    }
}

impl<'d> IntoIterator for &'d Diagnostics {
    type Item = &'d Diagnostic;
    type IntoIter = std::slice::Iter<'d, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.iter()
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(found: I) -> Self {
        let mut all = Self::default();
        all.extend(found);
        all
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::from_iter([diagnostic])
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

    /// A file with a mistake on every line would take minutes to show, and no one would read it.
    #[test]
    fn of_endless_mistakes_the_first_are_shown_and_the_rest_counted() {
        let file = SourceFile::new("a", "x\n".repeat(300_000));
        let mut all = Diagnostics::default();
        all.push(Diagnostic::warning(&file, 0..1, "odd"));
        assert!(!all.has_errors() && !all.is_full());
        for line in 0..300_000 {
            all.push(Diagnostic::error(&file, 2 * line..2 * line + 1, "wrong"));
        }
        assert!(all.is_full());
        assert_eq!(all.len(), KEPT_MAX + 1);
        let shown = all.render();
        assert_eq!(shown.matches("error: wrong").count(), KEPT_MAX);
        assert!(shown.ends_with(
            "error: 299000 more are not shown\n  = help: mend those above and check again"
        ));
    }

    #[test]
    fn an_endless_line_is_named_but_not_shown() {
        let file = SourceFile::new("a", format!("ok\n{}", "é".repeat(100_000)));
        let endless = "é".repeat(100_000);
        let error = Diagnostic::error(&file, 103..105, endless).with_help("write less");
        assert!(error.message.len() < 20_000 && error.message.ends_with("é…"));
        let error = Diagnostic::error(&file, 103..105, "odd").with_help("write less");
        let expected = "error: odd\n --> a:2:51\n  = help: write less";
        assert_eq!(error.render(), expected);
    }
}
