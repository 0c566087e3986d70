//! A text file as it was read, with the name by which messages call it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::Diagnostic;

/// Most bytes of a file that people write by hand; more is a wrong file, not a long policy.
pub const BYTES_MAX: u64 = 1 << 20;

/// A text and where it came from.
#[derive(Debug)]
pub struct SourceFile {
    /// As the user named it, for instance `policy/rules/velocity.yaml`.
    pub path: String,
    pub text: String,
    /// Where lines begin, found once a position is asked for: a file may have a mistake on each of its lines.
    lines: OnceLock<Vec<usize>>,
}

impl PartialEq for SourceFile {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.text) == (&other.path, &other.text)
    }
}

impl Eq for SourceFile {}

impl SourceFile {
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            path: path.into(),
            text: text.into(),
            lines: OnceLock::new(),
        })
    }

    /// Line and column of a byte offset, both from 1, columns in characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let (start, number) = self.line_at(offset);
        (
            number,
            self.text[start..self.boundary(offset)].chars().count() + 1,
        )
    }

    /// The line with a byte offset, without its end: what is shown of a mistake there.
    pub fn line(&self, offset: usize) -> &str {
        let rest = &self.text[self.line_at(offset).0..];
        rest.lines().next().unwrap_or_default()
    }

    /// Where the line with a byte offset begins, and its number from 1.
    pub(crate) fn line_at(&self, offset: usize) -> (usize, usize) {
        let lines = self.lines.get_or_init(|| {
            let breaks = self.text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(breaks).collect()
        });
        let offset = self.boundary(offset);
        // The first one begins at 0, so there is always one.
        let number = lines.partition_point(|start| *start <= offset).max(1);
        (lines.get(number - 1).copied().unwrap_or_default(), number)
    }

    /// The offset, or the nearest one before it that is inside the text and between two characters.
    pub(crate) fn boundary(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset)
    }
}

/// Reads a file of at most [`BYTES_MAX`] bytes. `shown_as` is the name messages use.
pub fn read(path: &Path, shown_as: &str) -> Result<Arc<SourceFile>, Diagnostic> {
    read_up_to(path, shown_as, BYTES_MAX)
}

/// Reads a file of at most `bytes_max` bytes. What cannot be read is an error without a position.
pub fn read_up_to(
    path: &Path,
    shown_as: &str,
    bytes_max: u64,
) -> Result<Arc<SourceFile>, Diagnostic> {
    let unreadable = |message: String, help: &str| {
        Diagnostic::error(&SourceFile::new(shown_as, ""), 0..0, message).with_help(help)
    };
    let bytes = read_bytes(path, bytes_max).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unreadable(
            "the file does not exist".to_owned(),
            "create it, or point to the folder that has it",
        ),
        io::ErrorKind::FileTooLarge => unreadable(
            format!("the file is larger than {bytes_max} bytes"),
            "split it, or check that it is the file you meant",
        ),
        _ => unreadable(
            format!("the file cannot be read: {error}"),
            "check that it is a file and that its permissions allow reading it",
        ),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("the file is not UTF-8 text: byte {at} cannot be read");
        unreadable(message, "save it with the encoding UTF-8")
    })?;
    // Editors on Windows put a byte order mark first; it means nothing in UTF-8 and would shift columns.
    let text = text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text);
    Ok(SourceFile::new(shown_as, text))
}

fn read_bytes(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for somebody to write into it, and a device may have no end.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a file",
        ));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= bytes_max) {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::FileTooLarge.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_content(content: &[u8]) -> Result<Arc<SourceFile>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, content).unwrap();
        read_up_to(&path, "policy/a.yaml", 16).map_err(|error| error.message)
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let file = SourceFile::new("a", "é: 1\n\nb: 2");
        let positions = [
            (0, (1, 1)),
            (2, (1, 2)),
            (5, (1, 5)),
            (6, (2, 1)),
            (7, (3, 1)),
            (99, (3, 5)),
        ];
        for (offset, position) in positions {
            assert_eq!(file.position(offset), position, "{offset}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_left_out() {
        assert_eq!(
            read_content("\u{feff}a: 1".as_bytes()).unwrap().text,
            "a: 1"
        );
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        assert_eq!(
            read_content(&[b'a'; 17]).unwrap_err(),
            "the file is larger than 16 bytes"
        );
        assert!(read_content(&[b'a'; 16]).is_ok());
        let error = read_content(b"ab\xff").unwrap_err();
        assert_eq!(error, "the file is not UTF-8 text: byte 2 cannot be read");
        let missing = read(Path::new("/nonexistent/a.yaml"), "policy/a.yaml").unwrap_err();
        assert_eq!(missing.message, "the file does not exist");
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path(), "policy").unwrap_err();
        assert!(
            error.message.starts_with("the file cannot be read: "),
            "{}",
            error.message
        );
    }
}
