//! A YAML file as a tree in which every key and value knows where it stands.
//!
//! Deserializing stops at the first mistake. Reading a tree does not, so files in which all mistakes are to be
//! shown at once are read as trees (see [`crate::Fields`]).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;

use crate::yaml::{diagnostic, options};
use crate::{Diagnostic, Located, SourceFile};

/// A value of a YAML file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    pub span: Range<usize>,
    pub kind: NodeKind,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// Nothing is written, or `null`, or `~`.
    Empty,
    /// Any scalar, as it is written: `yes`, `1.0` and `007` are texts until someone asks for more.
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file; no key twice.
    Map(Vec<(Located<String>, Node)>),
}

impl NodeKind {
    /// What it is, in words.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map of keys and values",
        }
    }
}

/// Reads a file as a tree. A mistake in the YAML itself is the only one reported: what follows it cannot be
/// understood.
pub fn parse(file: &Arc<SourceFile>) -> Result<Node, Diagnostic> {
    if is_blank(&file.text) {
        return Ok(Node {
            span: 0..0,
            kind: NodeKind::Empty,
        });
    }
    // Only whoever wants a number can say of one that it is too large.
    let mut options = options();
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    let tree: Located<Raw> = serde_saphyr::from_str_with_options(&file.text, options)
        .map_err(|error| diagnostic(file, &error))?;
    Ok(node(tree, &file.text))
}

/// Whether a file has nothing but comments and white space.
fn is_blank(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// The tree as deserialized: scalars that look like something else than text must be looked up in the file.
enum Raw {
    Empty,
    Text(String),
    /// A number or flag, whose spelling only the file knows.
    Other,
    List(Vec<Located<Raw>>),
    Map(Vec<(Located<String>, Located<Raw>)>),
}

fn node(raw: Located<Raw>, text: &str) -> Node {
    let Located { value, span } = raw;
    let kind = match value {
        Raw::Empty => NodeKind::Empty,
        Raw::Text(text) => NodeKind::Scalar(text),
        Raw::Other => {
            NodeKind::Scalar(text.get(span.clone()).unwrap_or_default().trim().to_owned())
        }
        Raw::List(items) => {
            NodeKind::List(items.into_iter().map(|item| node(item, text)).collect())
        }
        Raw::Map(entries) => NodeKind::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key, node(value, text)))
                .collect(),
        ),
    };
    Node { span, kind }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a map")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Empty)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Empty)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> NodeKind {
        parse(&SourceFile::new("a.yaml", yaml)).unwrap().kind
    }

    #[test]
    fn scalars_are_texts_as_they_are_written() {
        for text in [
            "yes",
            "true",
            "007",
            "1.080",
            "-5",
            "1e3",
            "0x1F",
            "2026-01-01",
            "a b",
            ".5",
            "1e400",
            "-.inf",
        ] {
            assert_eq!(read(text), NodeKind::Scalar(text.to_owned()));
        }
        assert_eq!(read("'true'"), NodeKind::Scalar("true".to_owned()));
        assert_eq!(read("[007, ]"), {
            let span = 1..4;
            NodeKind::List(vec![Node {
                span,
                kind: NodeKind::Scalar("007".to_owned()),
            }])
        });
    }

    #[test]
    fn nothing_is_empty() {
        for text in ["", "\n", "# only words\n", "---\n", "~", "null"] {
            assert_eq!(read(text), NodeKind::Empty, "{text:?}");
        }
    }

    #[test]
    fn maps_keep_the_order_of_the_file() {
        let NodeKind::Map(entries) = read("b: 1\na: {c: 2}\n5: x\ntrue:\n") else {
            panic!("no map")
        };
        let keys: Vec<&str> = entries.iter().map(|(key, _)| key.value.as_str()).collect();
        assert_eq!(keys, ["b", "a", "5", "true"]);
        assert_eq!(entries[1].0.span, 5..6);
        assert_eq!(entries[3].1.kind, NodeKind::Empty);
    }

    #[test]
    fn a_key_written_twice_is_refused() {
        let error = parse(&SourceFile::new("a.yaml", "a: 1\nb: 2\na: 3\n")).unwrap_err();
        assert_eq!(error.message, "the key `a` is written twice");
        assert_eq!(error.span, 10..11);
    }

    /// Nine levels of nine aliases each are a billion values; a long text repeated is as bad.
    #[test]
    fn aliases_that_multiply_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let alias = format!("*a{}, ", level - 1).repeat(9);
            bomb.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
        }
        let long = format!(
            "a: &a {}\nb: [{}]\n",
            "x".repeat(100_000),
            "*a, ".repeat(1_000)
        );
        for text in [bomb, long] {
            let error = parse(&SourceFile::new("a.yaml", text)).unwrap_err();
            assert_eq!(
                error.message,
                "the file has too many values, those that aliases repeat included"
            );
        }
        let few = SourceFile::new("a.yaml", "a: &a [x]\nb: [*a, *a]\n");
        assert!(parse(&few).is_ok());
    }
}
