//! Finding and reading the files of a policy folder.
//!
//! A folder may be a mounted Kubernetes ConfigMap: its files are symbolic links through a link `..data` to a
//! folder with a time in its name. Links are followed, and names that begin with a dot are not looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate_source::{BYTES_MAX, Diagnostic, Diagnostics, SourceFile, nearest, read_up_to};
use tollgate_types::contains_card_number;

use crate::Digest;

/// A policy folder, what was read of it, and what was wrong.
pub(crate) struct Folder {
    root: PathBuf,
    pub(crate) digest: Digest,
    /// Names of files that are there and could not be read, which has been said.
    unreadable: Vec<String>,
}

/// Largest list, in bytes: a million values of the length of an identifier.
const LIST_BYTES_MAX: u64 = 128 << 20;

/// What a policy folder has at its top, for the others to be warned about. Models are read elsewhere.
const TOP_FILES: [&str; 5] = [
    "schema.yaml",
    "fx.yaml",
    "features.yaml",
    "fallback.yaml",
    "models.yaml",
];
const TOP_FOLDERS: [&str; 3] = ["rules", "lists", "models"];

/// Every policy has it.
const SCHEMA_FILE: &str = "schema.yaml";

impl Folder {
    pub(crate) fn open(root: &Path) -> Result<Self, Diagnostic> {
        let folder = Self {
            root: root.to_owned(),
            digest: Digest::default(),
            unreadable: Vec::new(),
        };
        if root.is_dir() {
            return folder.check_is_whole();
        }
        let message = if root.exists() {
            "this is not a folder"
        } else {
            "the folder does not exist"
        };
        Err(folder
            .without_position("", message)
            .with_help("name the folder that has schema.yaml"))
    }

    /// Refuses the folder of rules or of lists in place of the one around it.
    fn check_is_whole(self) -> Result<Self, Diagnostic> {
        let is_part = |name| self.root.ends_with(name);
        let around = self.root.parent().map(|around| around.join(SCHEMA_FILE));
        if TOP_FOLDERS.into_iter().any(is_part) && around.is_some_and(|schema| schema.exists()) {
            return Err(self
                .without_position("", "this is a part of a policy")
                .with_help("name the folder around it, which has schema.yaml"));
        }
        Ok(self)
    }

    /// A file that must be there.
    pub(crate) fn required(
        &mut self,
        name: &str,
        help: &str,
        notes: &mut Diagnostics,
    ) -> Option<Arc<SourceFile>> {
        if self.root.join(name).exists() {
            return self.read(name, BYTES_MAX, notes);
        }
        notes.push(
            self.without_position(name, "the file is missing")
                .with_help(help),
        );
        None
    }

    /// A file that may be absent.
    pub(crate) fn optional(
        &mut self,
        name: &str,
        notes: &mut Diagnostics,
    ) -> Option<Arc<SourceFile>> {
        self.root
            .join(name)
            .exists()
            .then(|| self.read(name, BYTES_MAX, notes))
            .flatten()
    }

    /// The files of a folder that may be absent, by name; those without the extension are warned about.
    pub(crate) fn files(
        &mut self,
        folder: &str,
        extension: &str,
        notes: &mut Diagnostics,
    ) -> Vec<(String, Arc<SourceFile>)> {
        let bytes_max = if extension == "csv" {
            LIST_BYTES_MAX
        } else {
            BYTES_MAX
        };
        let mut files = Vec::new();
        for name in self.names(folder, notes) {
            let path = format!("{folder}/{name}");
            let is_file = self.root.join(&path).is_file();
            if let Some(stem) = name
                .strip_suffix(&format!(".{extension}"))
                .filter(|_| is_file)
            {
                files.extend(
                    self.read(&path, bytes_max, notes)
                        .map(|file| (stem.to_owned(), file)),
                );
            } else {
                let message = format!("this is not read: only files named *.{extension} are");
                notes.push(Diagnostic {
                    severity: tollgate_source::Severity::Warning,
                    ..self
                        .without_position(&path, message)
                        .with_help("rename it, or move it out of the policy")
                });
            }
        }
        files
    }

    /// The files that [`Self::files`] could not read, by name and without their content.
    pub(crate) fn unreadable(
        &self,
        folder: &str,
        extension: &str,
    ) -> Vec<(String, Arc<SourceFile>)> {
        let stem = |path: &String| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?;
            let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
            Some((stem.to_owned(), SourceFile::new(self.shown(path), "")))
        };
        self.unreadable.iter().filter_map(stem).collect()
    }

    /// That there is no file of rules: more likely lost than meant, and a policy without rules approves nearly everything.
    pub(crate) fn note_no_rules(&self, notes: &mut Diagnostics) {
        notes.push(
            self.without_position("rules", "there is no file of rules in this folder")
                .with_help(
                    "put one in, named like velocity.yaml; if there are to be no rules, one that says `rules: []`",
                ),
        );
    }

    /// Warns of files at the top that look as if they should be read: a misspelt name would go unnoticed.
    pub(crate) fn warn_of_strays(&self, notes: &mut Diagnostics) {
        let names = match visible_names(&self.root) {
            Ok(names) => names,
            Err(error) => return notes.push(self.without_position("", error)),
        };
        for name in names {
            let known = TOP_FILES.contains(&name.as_str()) || TOP_FOLDERS.contains(&name.as_str());
            let looks_read = [".yaml", ".yml", ".csv"]
                .iter()
                .any(|end| name.ends_with(end))
                || self.root.join(&name).is_dir();
            if known || !looks_read {
                continue;
            }
            let help = match nearest(&name, TOP_FILES.into_iter().chain(TOP_FOLDERS)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "rules belong into rules/, lists into lists/".to_owned(),
            };
            notes.push(Diagnostic {
                severity: tollgate_source::Severity::Warning,
                ..self
                    .without_position(&name, "this is not read")
                    .with_help(help)
            });
        }
    }

    fn names(&self, folder: &str, notes: &mut Diagnostics) -> Vec<String> {
        let path = self.root.join(folder);
        if !path.exists() {
            return Vec::new();
        }
        visible_names(&path).unwrap_or_else(|error| {
            notes.push(
                self.without_position(folder, error)
                    .with_help("make it a folder"),
            );
            Vec::new()
        })
    }

    fn read(
        &mut self,
        name: &str,
        bytes_max: u64,
        notes: &mut Diagnostics,
    ) -> Option<Arc<SourceFile>> {
        match read_up_to(&self.root.join(name), &self.shown(name), bytes_max) {
            Ok(file) => {
                self.digest.add(name, file.text.as_bytes());
                // Lists look for card numbers themselves, among millions of lines.
                let is_yaml = name.ends_with(".yaml");
                (!is_yaml || !has_card_number(&file, notes)).then_some(file)
            }
            Err(error) => {
                notes.push(error);
                self.unreadable.push(name.to_owned());
                None
            }
        }
    }

    fn without_position(&self, name: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&SourceFile::new(self.shown(name), ""), 0..0, message)
    }

    fn shown(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }
}

/// Notes each line that has a card number. A file with one is not read any further: another mistake could show the line.
fn has_card_number(file: &Arc<SourceFile>, notes: &mut Diagnostics) -> bool {
    let mut found = false;
    let mut start = 0;
    for line in file.text.split_inclusive('\n') {
        let end = start + line.trim_end().len();
        if contains_card_number(line) {
            found = true;
            notes.push(
                Diagnostic::error(file, start..end, "this line has a card number")
                    .with_help(
                        "write the token that stands for the card; the line is not shown here",
                    )
                    .without_source(),
            );
        }
        start += line.len();
    }
    found
}

/// The names in a folder in order, without those that begin with a dot.
fn visible_names(path: &Path) -> Result<Vec<String>, String> {
    let unreadable = |error| format!("the folder cannot be read: {error}");
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let name = entry
            .map_err(unreadable)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
