//! `features.yaml`: named expressions that models and other expressions read.

use std::sync::Arc;

use tollgate_source::{Diagnostic, Diagnostics, Fields, Located, NodeKind, SourceFile, parse};

use crate::answer::{as_name, is_name};

/// A feature as it is written.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) source: Located<String>,
    pub(crate) file: Arc<SourceFile>,
}

/// Reads names and expressions in the order of the file; those with a mistake are noted and left out.
pub(crate) fn read(file: &Arc<SourceFile>, notes: &mut Diagnostics) -> Vec<Named> {
    let Ok(node) = parse(file).map_err(|error| notes.push(error)) else {
        return Vec::new();
    };
    if node.kind == NodeKind::Empty {
        return Vec::new();
    }
    let Some(fields) = Fields::open("features.yaml", &node, file, notes) else {
        return Vec::new();
    };
    let mut features = Vec::new();
    for (name, node) in fields.entries() {
        if !is_name(&name.value, '_') {
            let message = format!("`{}` is not a name for a feature", name.value);
            let help = match as_name(&name.value, '_') {
                Some(meant) => format!("write `{meant}`"),
                None => "write small letters, digits and underscores".to_owned(),
            };
            notes.push(Diagnostic::error(file, name.span.clone(), message).with_help(help));
        } else if let NodeKind::Scalar(source) = &node.kind {
            features.push(Named {
                name: name.value.clone(),
                source: Located::new(source.clone(), node.span.clone()),
                file: Arc::clone(file),
            });
        } else {
            let message = format!("the feature `{}` must be one expression", name.value);
            notes.push(
                Diagnostic::error(file, name.span.clone(), message)
                    .with_help(format!("write `{}: ` and an expression", name.value)),
            );
        }
    }
    features
}
