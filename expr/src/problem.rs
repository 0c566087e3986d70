//! What is wrong with an expression, where, and what to write instead.
//!
//! A problem knows nothing of files: whoever read the expression from one moves the span there.

use std::ops::Range;

/// One finding about an expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub severity: Severity,
    /// What is wrong, in a sentence for someone who does not program.
    pub message: String,
    /// The offending part: bytes of the expression's source, always on character boundaries.
    pub span: Range<usize>,
    /// What to write instead.
    pub help: Option<String>,
    /// Whether the source may be shown with it; not if it has a card number.
    pub shows_source: bool,
}

/// Whether the expression can be used all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Error,
    Warning,
}

impl Problem {
    pub(crate) fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span,
            help: None,
            shows_source: true,
        }
    }

    pub(crate) fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// A card number where a token belongs. Says nothing of what is written.
    pub(crate) fn card_number(span: Range<usize>) -> Self {
        Self {
            shows_source: false,
            ..Self::error(span, "this is a card number, which no policy may hold")
        }
        .with_help("write the token that stands for the card, as `transaction.card_id` has it")
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With help where there is any.
    pub(crate) fn with_help_if(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}
