//! One look at a policy folder: what is in it, and where changes to it can come from.
//!
//! Links are followed, so a mounted Kubernetes ConfigMap, whose files are links through `..data`, is seen as what it
//! shows. A look never fails: what cannot be read is part of what was seen.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use xxhash_rust::xxh3::Xxh3;

/// The folders below a policy's own whose files are read, and how deep they lie.
const SUBFOLDERS: [(&str, usize); 3] = [("rules", 0), ("lists", 0), (MODELS, 2)];

/// Models are large, and a load believes none of them without their digests: their files are known by size and time.
const MODELS: &str = "models";

/// Read at a time: lists have up to 128 MB.
const CHUNK_BYTES: usize = 64 * 1024;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// A digest of every file that a load would read: equal looks saw equal files.
    pub(super) content: u128,
    pub(super) places: Places,
}

/// Where to watch for changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Places {
    /// Folders in which everything matters.
    pub(super) folders: BTreeSet<PathBuf>,
    /// Single names in folders in which nothing else matters: the policy folder itself, and links on the way to it.
    pub(super) names: BTreeSet<PathBuf>,
}

struct Looking {
    digest: Xxh3,
    places: Places,
}

/// Looks at the folder.
pub(super) fn look(root: &Path) -> Look {
    let mut looking = Looking {
        digest: Xxh3::new(),
        places: Places::default(),
    };
    looking.note_way(root);
    looking.folder(root, "", 0);
    for (name, depth) in SUBFOLDERS {
        looking.folder(&root.join(name), name, depth);
    }
    Look {
        content: looking.digest.digest128(),
        places: looking.places,
    }
}

impl Looking {
    /// The folder may be replaced as a whole, by a rename or by a link that is set anew.
    fn note_way(&mut self, root: &Path) {
        let Ok(absolute) = std::path::absolute(root) else {
            return;
        };
        for (at, place) in absolute.ancestors().enumerate() {
            if at == 0 || place.is_symlink() {
                let parent = place.parent().and_then(|parent| parent.canonicalize().ok());
                let named = parent.zip(place.file_name());
                self.places
                    .names
                    .extend(named.map(|(parent, name)| parent.join(name)));
            }
        }
    }

    /// The files of a folder by name, and of the folders below it down to `depth`.
    fn folder(&mut self, path: &Path, shown: &str, depth: usize) {
        let Ok(entries) = fs::read_dir(path) else {
            // There is none: its parent tells when there is.
            return;
        };
        self.places.folders.extend(path.canonicalize());
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort_unstable();
        for name in names {
            let path = path.join(&name);
            if path.is_symlink() {
                let target = path.canonicalize().ok();
                let parent = target.as_deref().and_then(Path::parent);
                self.places.folders.extend(parent.map(Path::to_owned));
            }
            let shown = format!("{shown}/{name}");
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    if depth > 0 {
                        self.folder(&path, &shown, depth - 1);
                    }
                }
                Ok(metadata) if metadata.is_file() => self.file(&path, &shown, &metadata),
                // A pipe or a device, which no load reads either.
                Ok(_) => self.note(&shown, b"no file"),
                Err(error) => self.note(&shown, format!("{:?}", error.kind()).as_bytes()),
            }
        }
    }

    fn file(&mut self, path: &Path, shown: &str, metadata: &Metadata) {
        if shown.starts_with(MODELS) {
            let changed = metadata.modified().ok();
            let changed = changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let nanos = changed.map_or(0, |since| since.as_nanos());
            return self.note(shown, format!("{} {nanos}", metadata.len()).as_bytes());
        }
        match content(path) {
            Ok(digest) => self.note(shown, &digest.to_le_bytes()),
            Err(error) => self.note(shown, format!("{:?}", error.kind()).as_bytes()),
        }
    }

    fn note(&mut self, name: &str, what: &[u8]) {
        for part in [name.as_bytes(), what] {
            self.digest.update(&part.len().to_le_bytes());
            self.digest.update(part);
        }
    }
}

fn content(path: &Path) -> std::io::Result<u128> {
    let mut file = fs::File::open(path)?;
    let mut digest = Xxh3::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(digest.digest128()),
            bytes => digest.update(&chunk[..bytes]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("rules")).unwrap();
        fs::create_dir_all(folder.path().join("models/m/1")).unwrap();
        fs::write(folder.path().join("schema.yaml"), "a").unwrap();
        fs::write(folder.path().join("rules/a.yaml"), "b").unwrap();
        fs::write(folder.path().join("models/m/1/model.onnx"), "c").unwrap();
        folder
    }

    #[test]
    fn every_file_that_a_load_reads_counts_and_no_other() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        let first = look(folder.path()).content;
        assert_eq!(look(folder.path()).content, first);
        let mut seen = vec![first];
        for (name, text) in [
            ("schema.yaml", "b"),
            ("rules/a.yaml", ""),
            ("rules/b.yaml", ""),
            ("models/m/1/model.onnx", "longer"),
        ] {
            fs::write(at(name), text).unwrap();
            let now = look(folder.path()).content;
            assert!(!seen.contains(&now), "{name}");
            seen.push(now);
        }
        let now = look(folder.path()).content;
        fs::write(at(".schema.yaml.swp"), "x").unwrap();
        fs::create_dir(at("rules/old")).unwrap();
        fs::write(at("rules/old/a.yaml"), "x").unwrap();
        assert_eq!(look(folder.path()).content, now);
        fs::remove_file(at("rules/b.yaml")).unwrap();
        assert_ne!(look(folder.path()).content, now);
    }

    #[test]
    fn links_are_seen_as_what_they_show_and_watched_where_they_can_change() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().canonicalize().unwrap();
        let real = root.join("..2026");
        fs::create_dir_all(real.join("rules")).unwrap();
        fs::write(real.join("schema.yaml"), "a").unwrap();
        fs::write(real.join("rules/a.yaml"), "b").unwrap();
        let mounted = root.join("mounted");
        fs::create_dir(&mounted).unwrap();
        symlink("../..2026", mounted.join("..data")).unwrap();
        symlink("..data/schema.yaml", mounted.join("schema.yaml")).unwrap();
        symlink("..data/rules", mounted.join("rules")).unwrap();
        symlink("mounted", root.join("policy")).unwrap();
        let seen = look(&root.join("policy"));
        assert_eq!(seen.content, look(&real).content);
        let folders = [mounted, real.clone(), real.join("rules")];
        assert_eq!(seen.places.folders, folders.into());
        assert!(seen.places.names.contains(&root.join("policy")));
    }

    #[test]
    fn a_folder_that_is_not_there_is_waited_for() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().canonicalize().unwrap();
        let seen = look(&root.join("policy"));
        assert_eq!(seen.places.folders, BTreeSet::new());
        assert!(seen.places.names.contains(&root.join("policy")));
    }
}
