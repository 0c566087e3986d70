//! `lists/<name>.csv`: a value per line, with an expiry and a note where wanted.
//!
//! The header says what the values are: `value:text`, `value:number`, `value:network` or `value:card`. With `value`
//! alone, a list whose every value is a number is a list of numbers, for category codes and the like, and any
//! other one of texts.

use std::io::Read as _;
use std::ops::Range;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord};
use tollgate_source::{Diagnostic, Diagnostics, Severity, SourceFile, did_you_mean};
use tollgate_types::{EventTime, contains_card_number};

use crate::answer::{as_name, is_name};
use crate::list_values::{Asked, Finding, Written};
use crate::lists::{List, ListKind};
use crate::moment;

/// Most values of one list, so that memory and loading stay bounded.
const ENTRIES_MAX: usize = 1_000_000;

/// Longest line in bytes: far more than a value and a note. Looking for card numbers in it takes time and memory.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Most mistakes shown of one list: they tend to be the same one on every line.
const NOTES_MAX: usize = 20;

const COLUMNS: [&str; 3] = ["value", "expires_at", "note"];

/// A list file that was read. What its values must be is settled once it is known who asks for them.
pub(crate) struct WrittenList {
    name: String,
    file: Arc<SourceFile>,
    written: Written,
    /// As many were noted.
    mistakes: usize,
    warnings: usize,
}

/// Reads a list. With a mistake in it, the list still exists, so that expressions that name it can be checked.
pub(crate) fn read(
    name: &str,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<WrittenList> {
    let mut reader = Reader {
        file,
        notes,
        mistakes: 0,
        warnings: 0,
    };
    if !is_name(name, '_') {
        let help = match as_name(name, '_') {
            Some(meant) => format!("rename the file to `{meant}.csv`"),
            None => "use small letters, digits and underscores".to_owned(),
        };
        reader.note(0..0, format!("`{name}` is not a name for a list"), &help);
        return None;
    }
    let written = reader.written().unwrap_or_default();
    let Reader {
        mistakes, warnings, ..
    } = reader;
    Some(WrittenList {
        name: name.to_owned(),
        file: Arc::clone(file),
        written,
        mistakes,
        warnings,
    })
}

impl WrittenList {
    /// A list whose file could not be read, which has been said. Nothing is in it.
    pub(crate) fn unreadable(name: String, file: Arc<SourceFile>) -> Self {
        Self {
            name,
            file,
            written: Written::default(),
            mistakes: 1,
            warnings: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn file(&self) -> &Arc<SourceFile> {
        &self.file
    }

    /// The list, as it is asked for values of these fields.
    pub(crate) fn settle(self, asked: &[Asked<'_>], notes: &mut Diagnostics) -> List {
        let mut reader = Reader {
            file: &self.file,
            notes,
            mistakes: self.mistakes,
            warnings: self.warnings,
        };
        self.written
            .into_list(&self.name, asked, &mut |line, value, finding| {
                reader.found(line, value, finding);
            })
    }
}

struct Reader<'r> {
    file: &'r Arc<SourceFile>,
    notes: &'r mut Diagnostics,
    mistakes: usize,
    warnings: usize,
}

impl Reader<'_> {
    fn written(&mut self) -> Option<Written> {
        let file = Arc::clone(self.file);
        let mut csv = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            // A quote that opens on the last line swallows a line break too, so that it is seen.
            .from_reader(file.text.as_bytes().chain(b"\n".as_slice()));
        let mut record = StringRecord::new();
        if !matches!(csv.read_record(&mut record), Ok(true)) {
            self.note(0..0, "the list has no header".to_owned(), HEADER_HELP);
            return None;
        }
        let is_open = holds_line_break(&record);
        record.trim();
        if self.is_too_long(&record, is_open)
            || self.has_card_number(&record)
            || self.has_open_quote(&record, is_open)
        {
            return None;
        }
        let columns = self.header(&record)?;
        let mut written = Written::new(columns.kind);
        loop {
            match csv.read_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let message = format!("the list cannot be read: {error}");
                    self.note(0..0, message, HEADER_HELP);
                    break;
                }
            }
            let is_open = holds_line_break(&record);
            record.trim();
            let line = line_of(&record, &file);
            if written.len() == ENTRIES_MAX {
                let message = format!("the list has more than {ENTRIES_MAX} values");
                self.note(line, message, "split it, or ask for the entries by a rule");
                break;
            }
            let is_readable = !self.is_too_long(&record, is_open)
                && !self.has_card_number(&record)
                && !self.has_open_quote(&record, is_open);
            if is_readable && let Some(until) = self.until(&record, &columns) {
                written.push(line.start, record.get(0).unwrap_or_default(), until);
            }
        }
        Some(written)
    }

    /// What was found out about a value once it was known what the list holds.
    fn found(&mut self, line: usize, value: &str, finding: Finding) {
        let line = first_line(line, self.file);
        match finding {
            Finding::Mistake { message, help } => {
                let text = &self.file.text[line.clone()];
                let start = line.start + text.find(value).unwrap_or(0);
                self.note(start..(start + value.len()).min(line.end), message, &help);
            }
            Finding::CardNumber => self.note_card_number(line),
            Finding::Twice { first } => {
                let first = self.file.position(first).0;
                let message = format!("this value is listed on line {first} already");
                let help = "remove one of them; until then, the later expiry counts";
                self.warn(line, message, help);
            }
            Finding::Networks => {
                let message = "these are networks, but the list compares them as texts".to_owned();
                let help = "begin the first line with `value:network` instead of `value`";
                self.warn(line, message, help);
            }
        }
    }

    fn header(&mut self, header: &StringRecord) -> Option<Columns> {
        let mut columns = Columns {
            count: header.len(),
            kind: None,
            expires_at: None,
        };
        for (at, name) in header.iter().enumerate() {
            match (at, name) {
                (0, "value") | (1.., "note") => {}
                (0, _) if let Some(sign) = other_separator(name) => {
                    let message = format!("{sign} stand between the columns instead of commas");
                    self.refuse(header, 0, message, SEPARATOR_HELP);
                    return None;
                }
                (0, _) if name.starts_with("value:") => {
                    columns.kind = Some(self.kind(header, name)?);
                }
                (1.., "expires_at") => columns.expires_at = Some(at),
                (0, _) => {
                    let message = "the first column must be called `value`".to_owned();
                    self.refuse(header, 0, message, HEADER_HELP);
                    return None;
                }
                (_, name) => {
                    let message = format!("a list has no column `{name}`");
                    self.refuse(header, at, message, &did_you_mean(name, COLUMNS));
                    return None;
                }
            }
        }
        Some(columns)
    }

    /// What the header says that the values are.
    fn kind(&mut self, header: &StringRecord, name: &str) -> Option<ListKind> {
        let word = name.strip_prefix("value:").unwrap_or_default();
        let kind = ListKind::ALL.into_iter().find(|kind| kind.name() == word);
        if kind.is_none() {
            let help = match word {
                "cidr" | "ip" | "address" | "subnet" => "write `value:network`".to_owned(),
                "string" => "write `value:text`".to_owned(),
                _ => did_you_mean(word, ListKind::ALL.map(ListKind::name)),
            };
            let message = format!("a list cannot hold values of the kind `{word}`");
            self.refuse(header, 0, message, &help);
        }
        kind
    }

    /// Until when the value of a line is listed; `None` if there is a mistake in the line.
    fn until(&mut self, record: &StringRecord, columns: &Columns) -> Option<EventTime> {
        if record.len() > columns.count {
            let message = format!(
                "this line has {} columns, the header has {}",
                record.len(),
                columns.count
            );
            self.refuse(
                record,
                columns.count,
                message,
                "put a note that has commas in double quotes",
            );
            return None;
        }
        let value = record.get(0).unwrap_or_default();
        if value.is_empty() {
            self.note(
                line_of(record, self.file),
                "the value is empty".to_owned(),
                "write a value or remove the line",
            );
            return None;
        }
        match columns
            .expires_at
            .and_then(|at| Some((at, record.get(at)?)))
        {
            None | Some((_, "")) => Some(EventTime::MAX),
            Some((at, written)) => {
                let until = moment::parse(written);
                if until.is_none() {
                    let (message, help) = moment::mistake(written);
                    self.refuse(record, at, message, &help);
                }
                until
            }
        }
    }

    fn is_too_long(&mut self, record: &StringRecord, is_open: bool) -> bool {
        let too_long = record.as_slice().len() > LINE_BYTES_MAX;
        if too_long && !self.has_open_quote(record, is_open) {
            let message = format!("this line has more than {LINE_BYTES_MAX} bytes");
            let help = "shorten its note, or begin a new line for each value";
            self.note(line_of(record, self.file), message, help);
        }
        too_long
    }

    /// Notes a quote that swallows the lines after it into one field, unseen.
    fn has_open_quote(&mut self, record: &StringRecord, is_open: bool) -> bool {
        if is_open {
            let message = "a quote that opens on this line does not close on it".to_owned();
            let help = "close it; a quote inside a quoted text is written twice";
            self.note(line_of(record, self.file), message, help);
        }
        is_open
    }

    /// Notes a line that has a card number, before any other mistake on it could show the line.
    fn has_card_number(&mut self, record: &StringRecord) -> bool {
        let found = record.iter().any(contains_card_number);
        if found {
            self.note_card_number(line_of(record, self.file));
        }
        found
    }

    fn note_card_number(&mut self, span: Range<usize>) {
        if self.may_note(Severity::Error) {
            self.notes.push(
                Diagnostic::error(self.file, span, "this line has a card number")
                    .with_help(
                        "write the token that stands for the card; the line is not shown here",
                    )
                    .without_source(),
            );
        }
    }

    fn warn(&mut self, line: Range<usize>, message: String, help: &str) {
        if self.may_note(Severity::Warning) {
            let warning = Diagnostic::warning(self.file, line, message).with_help(help);
            self.push(warning);
        }
    }

    /// Notes a mistake in one column of a line.
    fn refuse(&mut self, record: &StringRecord, column: usize, message: String, help: &str) {
        let line = line_of(record, self.file);
        let written = record.get(column).unwrap_or_default();
        // Columns before it may have the same text, so the search begins behind them.
        let text = &self.file.text[line.clone()];
        let skipped = text
            .match_indices(',')
            .nth(column.wrapping_sub(1))
            .map_or(0, |(at, _)| at + 1);
        let skipped = if column == 0 { 0 } else { skipped };
        let span = match text[skipped..].find(written) {
            Some(at) => line.start + skipped + at..line.start + skipped + at + written.len(),
            None => line,
        };
        self.note(span, message, help);
    }

    fn note(&mut self, span: Range<usize>, message: String, help: &str) {
        if self.may_note(Severity::Error) {
            let error = Diagnostic::error(self.file, span, message).with_help(help);
            self.push(error);
        }
    }

    /// A carriage return by itself ends a record but not a line, so the line that would be shown may have records
    /// that were not looked at yet.
    fn push(&mut self, diagnostic: Diagnostic) {
        let shown = self.file.line(diagnostic.span.start);
        let is_hidden = shown.len() > LINE_BYTES_MAX || contains_card_number(shown);
        self.notes.push(if is_hidden {
            diagnostic.without_source()
        } else {
            diagnostic
        });
    }

    /// Counts a finding; of too many, the last one shown says that there are more. Too many warnings make no error.
    fn may_note(&mut self, severity: Severity) -> bool {
        let (noted, what) = match severity {
            Severity::Error => (&mut self.mistakes, "mistakes"),
            Severity::Warning => (&mut self.warnings, "warnings"),
        };
        *noted += 1;
        if *noted == NOTES_MAX + 1 {
            let message = format!("the list has more {what} than the {NOTES_MAX} shown");
            let end = self.file.text.len();
            let more = Diagnostic::error(self.file, end..end, message)
                .with_help("mend those shown and check again")
                .without_source();
            self.notes.push(Diagnostic { severity, ..more });
        }
        *noted <= NOTES_MAX
    }
}

struct Columns {
    count: usize,
    kind: Option<ListKind>,
    expires_at: Option<usize>,
}

/// What a header that begins well is cut into columns by, if not by commas.
fn other_separator(header: &str) -> Option<&'static str> {
    [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")]
        .into_iter()
        .find(|(sign, _)| header.starts_with("value") && header.contains(*sign))
        .map(|(_, name)| name)
}

const SEPARATOR_HELP: &str = "write commas on every line, such as `value,expires_at,note`; \
                              spreadsheets save semicolons where numbers have decimal commas";

const HEADER_HELP: &str =
    "begin with the line `value,expires_at,note`; the last two may be left out";

/// Whether a quote of a record, as it is before white space is taken off it, holds a line break.
fn holds_line_break(record: &StringRecord) -> bool {
    record.iter().any(|field| field.contains(['\n', '\r']))
}

/// The bytes of a record's first line.
fn line_of(record: &StringRecord, file: &SourceFile) -> Range<usize> {
    let start = record
        .position()
        .map_or(0, |position| usize::try_from(position.byte()).unwrap_or(0));
    first_line(start, file)
}

fn first_line(start: usize, file: &SourceFile) -> Range<usize> {
    // The reader counts blank lines before a record into it.
    let rest = file.text.get(start..).unwrap_or_default();
    let start = start + (rest.len() - rest.trim_start_matches(['\r', '\n']).len());
    let line = file
        .text
        .get(start..)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default();
    start..start + line.len()
}

#[cfg(test)]
mod tests;
