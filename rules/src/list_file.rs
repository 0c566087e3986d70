//! `lists/<name>.csv`: a value per line, with an expiry and a note where wanted.
//!
//! A list whose every value is a number is a list of numbers, for category codes and the like. Where numbers
//! are names (merchants called 4821), the header says so: `value:text`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord, Trim};
use tollgate_source::{Diagnostic, Diagnostics, SourceFile, did_you_mean};
use tollgate_types::{EventTime, contains_card_number};

use crate::answer::{as_name, is_name};
use crate::lists::List;
use crate::moment;

/// Most values of one list, so that memory and loading stay bounded.
const ENTRIES_MAX: usize = 1_000_000;

/// Most mistakes shown of one list: they tend to be the same one on every line.
const NOTES_MAX: usize = 20;

const COLUMNS: [&str; 3] = ["value", "expires_at", "note"];

/// Reads a list. With a mistake in it, the list still exists, so that expressions that name it can be checked.
pub(crate) fn read(name: &str, file: &Arc<SourceFile>, notes: &mut Diagnostics) -> Option<List> {
    let mut reader = Reader {
        file,
        notes,
        noted: 0,
    };
    if !is_name(name, '_') {
        let help = match as_name(name, '_') {
            Some(meant) => format!("rename the file to `{meant}.csv`"),
            None => "use small letters, digits and underscores".to_owned(),
        };
        reader.note(0..0, format!("`{name}` is not a name for a list"), &help);
        return None;
    }
    // Without its entries the list still exists, so that expressions that name it are not wrong as well.
    let entries = reader.entries().unwrap_or_default();
    let value = |entry: &(String, EventTime)| Some((number(&entry.0)?, entry.1));
    let numbers: Option<Vec<(f64, EventTime)>> = entries.values.iter().map(value).collect();
    let is_numbers = !entries.texts_only && !entries.values.is_empty();
    Some(match numbers.filter(|_| is_numbers) {
        Some(numbers) => List::numbers(name, numbers),
        None => {
            let texts = entries
                .values
                .iter()
                .map(|(value, until)| (value.as_str(), *until));
            List::texts(name, texts)
        }
    })
}

#[derive(Default)]
struct Entries {
    texts_only: bool,
    values: Vec<(String, EventTime)>,
}

struct Reader<'r> {
    file: &'r Arc<SourceFile>,
    notes: &'r mut Diagnostics,
    noted: usize,
}

impl Reader<'_> {
    fn entries(&mut self) -> Option<Entries> {
        let file = Arc::clone(self.file);
        let mut csv = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(file.text.as_bytes());
        let mut records = csv.records();
        let header = match records.next() {
            Some(Ok(header)) => header,
            _ => {
                self.note(0..0, "the list has no header".to_owned(), HEADER_HELP);
                return None;
            }
        };
        if self.has_card_number(&header) {
            return None;
        }
        let columns = self.header(&header)?;
        let mut entries = Entries {
            texts_only: columns.texts_only,
            values: Vec::new(),
        };
        // Where each value stands first; its line is counted only when it is asked for.
        let mut starts: HashMap<String, usize> = HashMap::new();
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    self.note(
                        0..0,
                        format!("the list cannot be read: {error}"),
                        HEADER_HELP,
                    );
                    break;
                }
            };
            if entries.values.len() == ENTRIES_MAX {
                let message = format!("the list has more than {ENTRIES_MAX} values");
                self.note(
                    line_of(&record, &file),
                    message,
                    "split it, or ask for the entries by a rule",
                );
                break;
            }
            let Some((value, until)) = self.entry(&record, &columns) else {
                continue;
            };
            let start = line_of(&record, &file).start;
            if let Some(first) = starts.insert(value.clone(), start) {
                self.twice(&record, first);
            }
            entries.values.push((value, until));
        }
        Some(entries)
    }

    fn header(&mut self, header: &StringRecord) -> Option<Columns> {
        let mut columns = Columns {
            count: header.len(),
            texts_only: false,
            expires_at: None,
        };
        for (at, name) in header.iter().enumerate() {
            match (at, name) {
                (0, "value") | (1.., "note") => {}
                (0, "value:text") => columns.texts_only = true,
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

    fn entry(&mut self, record: &StringRecord, columns: &Columns) -> Option<(String, EventTime)> {
        if self.has_card_number(record) {
            return None;
        }
        if record.iter().any(|field| field.contains(['\n', '\r'])) {
            // The lines after it would be swallowed into one field, unseen.
            self.note(
                line_of(record, self.file),
                "a quote that opens on this line does not close on it".to_owned(),
                "close it; a quote inside a quoted text is written twice",
            );
            return None;
        }
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
        let until = match columns
            .expires_at
            .and_then(|at| Some((at, record.get(at)?)))
        {
            None | Some((_, "")) => EventTime::MAX,
            Some((at, written)) => {
                let Some(time) = moment::parse(written) else {
                    let (message, help) = moment::mistake(written);
                    self.refuse(record, at, message, &help);
                    return None;
                };
                time
            }
        };
        Some((value.to_owned(), until))
    }

    /// Notes a line that has a card number, before any other mistake on it could show the line.
    fn has_card_number(&mut self, record: &StringRecord) -> bool {
        let found = record.iter().any(contains_card_number);
        if found && self.may_note() {
            let span = line_of(record, self.file);
            self.notes.push(
                Diagnostic::error(self.file, span, "this line has a card number")
                    .with_help(
                        "write the token that stands for the card; the line is not shown here",
                    )
                    .without_source(),
            );
        }
        found
    }

    fn twice(&mut self, record: &StringRecord, first: usize) {
        if self.may_note() {
            let first = self.file.position(first).0;
            let message = format!("this value is listed on line {first} already");
            self.notes.push(
                Diagnostic::warning(self.file, line_of(record, self.file), message)
                    .with_help("remove one of them; until then, the later expiry counts"),
            );
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
        if self.may_note() {
            self.notes
                .push(Diagnostic::error(self.file, span, message).with_help(help));
        }
    }

    /// Counts a mistake; of too many, the last one shown says that there are more.
    fn may_note(&mut self) -> bool {
        self.noted += 1;
        if self.noted == NOTES_MAX + 1 {
            let message = format!("the list has more mistakes than the {NOTES_MAX} shown");
            let end = self.file.text.len();
            self.notes.push(
                Diagnostic::error(self.file, end..end, message)
                    .with_help("mend those shown and check again")
                    .without_source(),
            );
        }
        self.noted <= NOTES_MAX
    }
}

struct Columns {
    count: usize,
    texts_only: bool,
    expires_at: Option<usize>,
}

const HEADER_HELP: &str =
    "begin with the line `value,expires_at,note`; the last two may be left out";

/// The bytes of a record's first line.
fn line_of(record: &StringRecord, file: &SourceFile) -> Range<usize> {
    let start = record
        .position()
        .map_or(0, |position| usize::try_from(position.byte()).unwrap_or(0));
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

/// A number as people write one: no leading zeros and no exponent, which names are more likely to have.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if all_digits(whole) && all_digits(fraction) && !leading_zero {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use tollgate_types::{Cell, FieldType, TextKey};

    use super::*;
    use crate::Lists;

    fn read_all(text: &str) -> (Option<List>, String) {
        let mut notes = Diagnostics::default();
        let list = read(
            "blocked",
            &SourceFile::new("lists/blocked.csv", text),
            &mut notes,
        );
        (list, notes.render())
    }

    #[track_caller]
    fn good(text: &str) -> List {
        let (list, notes) = read_all(text);
        assert_eq!(notes, "");
        list.unwrap()
    }

    #[test]
    fn values_expire_and_notes_are_for_people() {
        let list = good(
            "value,expires_at,note\nm1,1970-01-01T00:00:01Z,\"why, oh why\"\n m2 ,,\nm3\n\nm4,1970-01-01T02:00:00+02:00\n",
        );
        assert_eq!((list.kind(), list.len()), (FieldType::Text, 4));
        let lists = Lists::new(vec![list]);
        let listed = |value: &str, micros| {
            let id = lists.find("blocked").unwrap();
            lists.contains(
                id,
                Cell::text(TextKey::of(value)),
                EventTime::from_micros(micros),
            )
        };
        assert!(listed("m1", 999_999) && !listed("m1", 1_000_000));
        assert!(listed("m2", 1) && listed("m3", 1));
        assert!(listed("m4", -1) && !listed("m4", 0));
    }

    #[test]
    fn a_list_of_numbers_only_is_a_list_of_numbers() {
        assert_eq!(good("value\n4511\n7995\n").kind(), FieldType::Number);
        assert_eq!(good("value\n-1.5\n0\n0.25\n").kind(), FieldType::Number);
        assert_eq!(good("value:text\n4511\n7995\n").kind(), FieldType::Text);
        for text in [
            "value\n4511\nm1\n",
            "value\n007\n",
            "value\n1e5\n",
            "value\n",
            "value\n1.\n",
        ] {
            assert_eq!(good(text).kind(), FieldType::Text, "{text}");
        }
    }

    #[test]
    fn a_card_number_is_refused_and_never_shown() {
        let lines = [
            "4111111111111111,,",
            "tok_1,,4111 1111 1111 1111",
            "tok_1,5555-5555-5555-4444,",
            "tok_1,soon,it was 4111111111111111 until May",
        ];
        for line in lines {
            let (_, notes) = read_all(&format!("value,expires_at,note\n{line}\n"));
            let expected = "\
error: this line has a card number
 --> lists/blocked.csv:2:1
  = help: write the token that stands for the card; the line is not shown here";
            assert_eq!(notes, expected, "{line}");
        }
        let (_, notes) = read_all("4111111111111111,x\n5555555555554444,y\n");
        assert!(
            notes.contains("blocked.csv:1:1") && !notes.contains("1111"),
            "{notes}"
        );
    }

    #[test]
    fn of_many_mistakes_the_first_are_shown() {
        let text = format!("value,expires_at\n{}", "m1,soon\n".repeat(1000));
        let (_, notes) = read_all(&text);
        assert_eq!(
            notes.matches("`soon` is not a date or a time").count(),
            NOTES_MAX
        );
        assert!(
            notes.contains("the list has more mistakes than the 20 shown"),
            "{notes}"
        );
    }

    #[test]
    fn a_list_has_at_most_a_million_values() {
        let lines: String = (0..=ENTRIES_MAX).map(|at| format!("m{at}\n")).collect();
        let (_, notes) = read_all(&format!("value\n{lines}"));
        assert!(
            notes.starts_with("error: the list has more than 1000000 values"),
            "{notes}"
        );
        assert!(notes.contains(":1000002:1"), "{notes}");
    }
}
