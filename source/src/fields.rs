//! Reading a map of a YAML tree key by key, noting every mistake on the way.

use std::ops::Range;
use std::sync::Arc;

use crate::{Diagnostic, Diagnostics, Located, Node, NodeKind, SourceFile, did_you_mean};

/// The keys of one map. Each asking method returns `None` where the key is absent or its value is of the wrong
/// kind; the latter is noted, so a caller only needs to carry on.
#[derive(Debug)]
pub struct Fields<'n> {
    file: &'n Arc<SourceFile>,
    entries: &'n [(Located<String>, Node)],
    /// Where the map begins: missing keys are reported there.
    span: Range<usize>,
}

impl<'n> Fields<'n> {
    /// The map `node`, of which only the keys `known` make sense. `what` says what it describes, for messages:
    /// "a rule". `None`, and a note, if it is no map.
    pub fn of(
        what: &str,
        node: &'n Node,
        file: &'n Arc<SourceFile>,
        known: &[&str],
        notes: &mut Diagnostics,
    ) -> Option<Self> {
        let fields = Self::open(what, node, file, notes)?;
        for (key, _) in fields.entries {
            if !known.contains(&key.value.as_str()) {
                let message = format!("{what} has no key `{}`", key.value);
                let help = did_you_mean(&key.value, known.iter().copied());
                notes.push(Diagnostic::error(file, key.span.clone(), message).with_help(help));
            }
        }
        Some(fields)
    }

    /// The map `node`, whatever its keys.
    pub fn open(
        what: &str,
        node: &'n Node,
        file: &'n Arc<SourceFile>,
        notes: &mut Diagnostics,
    ) -> Option<Self> {
        let NodeKind::Map(entries) = &node.kind else {
            let message = format!(
                "{what} must be a map of keys and values; this is {}",
                node.kind.name()
            );
            notes.push(
                Diagnostic::error(file, node.span.clone(), message)
                    .with_help("write `key: value` lines, indented alike"),
            );
            return None;
        };
        let start = entries
            .first()
            .map_or_else(|| node.span.clone(), |(key, _)| key.span.clone());
        Some(Self {
            file,
            entries,
            span: start,
        })
    }

    pub fn entries(&self) -> &'n [(Located<String>, Node)] {
        self.entries
    }

    /// Where the map begins.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of a key. A key with nothing behind it counts as absent.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(name, node)| name.value == key && node.kind != NodeKind::Empty)
            .map(|(_, node)| node)
    }

    /// The value of a key that must be there; `help` says what to write.
    pub fn required(&self, key: &str, help: &str, notes: &mut Diagnostics) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() {
            let named = self.entries.iter().find(|(name, _)| name.value == key);
            let (span, message) = match named {
                Some((name, _)) => (name.span.clone(), format!("the key `{key}` has no value")),
                None => (self.span.clone(), format!("the key `{key}` is missing")),
            };
            notes.push(Diagnostic::error(self.file, span, message).with_help(help));
        }
        found
    }

    pub fn text(&self, key: &str, notes: &mut Diagnostics) -> Option<Located<String>> {
        text(key, self.get(key)?, self.file, notes)
    }

    pub fn required_text(
        &self,
        key: &str,
        help: &str,
        notes: &mut Diagnostics,
    ) -> Option<Located<String>> {
        text(key, self.required(key, help, notes)?, self.file, notes)
    }

    pub fn flag(&self, key: &str, notes: &mut Diagnostics) -> Option<Located<bool>> {
        let text = self.text(key, notes)?;
        let value = match text.value.as_str() {
            "true" => true,
            "false" => false,
            other => {
                let message = format!("`{key}` must be true or false; this is `{other}`");
                notes.push(
                    Diagnostic::error(self.file, text.span, message)
                        .with_help(format!("write `{key}: true` or `{key}: false`")),
                );
                return None;
            }
        };
        Some(Located::new(value, text.span))
    }

    /// A list of texts; a single text counts as a list of one.
    pub fn texts(&self, key: &str, notes: &mut Diagnostics) -> Option<Vec<Located<String>>> {
        let node = self.get(key)?;
        match &node.kind {
            NodeKind::List(items) => Some(
                items
                    .iter()
                    .filter_map(|item| text(key, item, self.file, notes))
                    .collect(),
            ),
            NodeKind::Scalar(only) => Some(vec![Located::new(only.clone(), node.span.clone())]),
            other => {
                let message = format!("`{key}` must be a list of values; this is {}", other.name());
                notes.push(
                    Diagnostic::error(self.file, node.span.clone(), message)
                        .with_help(format!("write `{key}: [a, b]`")),
                );
                None
            }
        }
    }

    /// A list, each item of which is read by the caller.
    pub fn list(&self, key: &str, notes: &mut Diagnostics) -> Option<&'n [Node]> {
        let node = self.get(key)?;
        if let NodeKind::List(items) = &node.kind {
            return Some(items);
        }
        let message = format!("`{key}` must be a list; this is {}", node.kind.name());
        notes.push(
            Diagnostic::error(self.file, node.span.clone(), message).with_help(format!(
                "write `{key}:` and below it lines that begin with `- `"
            )),
        );
        None
    }
}

fn text(
    key: &str,
    node: &Node,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) -> Option<Located<String>> {
    if let NodeKind::Scalar(text) = &node.kind {
        return Some(Located::new(text.clone(), node.span.clone()));
    }
    let message = match node.kind {
        NodeKind::Empty => format!("`{key}` has a value that is empty"),
        _ => format!(
            "`{key}` must be a single value; this is {}",
            node.kind.name()
        ),
    };
    let help = match node.kind {
        NodeKind::Empty => "write a value or remove this one; the words `null` and `~`, and nothing at all, count as \
                            empty unless they are in quotes"
            .to_owned(),
        NodeKind::List(_) => format!("write `{key}: ` and one value, without brackets or `- `"),
        _ => format!("write `{key}: ` and the value; put it in quotes if it has `: ` or `#`"),
    };
    notes.push(Diagnostic::error(file, node.span.clone(), message).with_help(help));
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn every_mistake_of_a_map_is_noted() {
        let file = SourceFile::new(
            "a.yaml",
            "idd: x\nwhen:\ntags: {a: b}\noff: yes\nid: [1]\ncases: 5\nmore: [a, null]\n",
        );
        let node = parse(&file).unwrap();
        let mut notes = Diagnostics::default();
        let known = ["id", "when", "then", "tags", "off", "cases", "more"];
        let fields = Fields::of("a rule", &node, &file, &known, &mut notes).unwrap();
        assert_eq!(fields.text("id", &mut notes), None);
        assert_eq!(
            fields.required_text("when", "write a condition", &mut notes),
            None
        );
        assert_eq!(
            fields.required_text("then", "write an outcome", &mut notes),
            None
        );
        assert_eq!(fields.texts("tags", &mut notes), None);
        assert_eq!(fields.flag("off", &mut notes), None);
        assert!(fields.list("cases", &mut notes).is_none());
        assert_eq!(fields.texts("more", &mut notes).unwrap().len(), 1);
        let messages: Vec<_> = notes
            .iter()
            .map(|note| (note.position(), note.message.as_str()))
            .collect();
        assert_eq!(
            messages,
            [
                ((1, 1), "a rule has no key `idd`"),
                ((5, 5), "`id` must be a single value; this is a list"),
                ((2, 1), "the key `when` has no value"),
                ((1, 1), "the key `then` is missing"),
                (
                    (3, 7),
                    "`tags` must be a list of values; this is a map of keys and values"
                ),
                ((4, 6), "`off` must be true or false; this is `yes`"),
                ((6, 8), "`cases` must be a list; this is a single value"),
                ((7, 11), "`more` has a value that is empty"),
            ]
        );
    }

    #[test]
    fn what_is_there_is_read() {
        let file = SourceFile::new("a.yaml", "id: x\ntags: a\nmore: [b, c]\noff: true\n");
        let node = parse(&file).unwrap();
        let mut notes = Diagnostics::default();
        let fields = Fields::open("a rule", &node, &file, &mut notes).unwrap();
        assert_eq!(
            fields.text("id", &mut notes).unwrap(),
            Located::new("x".to_owned(), 4..5)
        );
        assert_eq!(fields.texts("tags", &mut notes).unwrap().len(), 1);
        assert_eq!(fields.texts("more", &mut notes).unwrap().len(), 2);
        assert!(fields.flag("off", &mut notes).unwrap().value);
        assert!(notes.is_empty());
        assert!(Fields::open("a rule", &fields.entries()[0].1, &file, &mut notes).is_none());
        assert_eq!(notes.len(), 1);
    }
}
