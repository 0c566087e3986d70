//! Being told of changes by the file system. The only place that knows the library which does it.
//!
//! What is told here is only a reason to look: whether anything has changed is decided by what a look sees. So an event
//! that is lost costs time until the next look of its own accord, and one too many costs a look.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{
    DebounceEventResult, DebouncedEvent, Debouncer, RecommendedCache, new_debouncer,
};

use super::look::Places;
use crate::clock;

/// How long events are held back, so that one save, which is several, is told once.
const DEBOUNCE: Duration = Duration::from_millis(40);

/// A file that was written to and not closed is being written; but not for longer than this since its last write, or
/// a program that keeps a file open would keep the policy from being loaded.
const WRITE_MAX: Duration = Duration::from_secs(2);

/// Watches the places where changes can come from.
pub(super) struct Watch {
    debouncer: Option<Debouncer<RecommendedWatcher, RecommendedCache>>,
    known: Arc<Mutex<Known>>,
    watched: BTreeSet<PathBuf>,
    /// Whether it has been said that some place cannot be watched.
    warned: bool,
}

/// What the thread that events come on knows.
#[derive(Default)]
struct Known {
    places: Places,
    /// Files that were written to and not closed yet, and when they last were.
    writing: BTreeMap<PathBuf, Instant>,
}

impl Watch {
    /// Calls `wake` whenever something may have changed.
    pub(super) fn new(wake: impl Fn() + Send + 'static) -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let heard = Arc::clone(&known);
        let handler = move |result: DebounceEventResult| match result {
            Ok(events) => {
                if lock(&heard).note(&events) {
                    wake();
                }
            }
            Err(errors) => {
                tracing::warn!(?errors, "watching the policy folder");
                wake();
            }
        };
        let debouncer = new_debouncer(DEBOUNCE, None, handler);
        let debouncer = debouncer.map_err(|error| {
            tracing::warn!(%error, "the file system does not tell of changes; the policy folder is only polled");
        });
        Self {
            debouncer: debouncer.ok(),
            known,
            watched: BTreeSet::new(),
            warned: false,
        }
    }

    /// Watches these places from now on. Those watched already are set anew: a folder that was replaced by another of
    /// the same name has lost its watch.
    pub(super) fn set(&mut self, places: &Places) {
        lock(&self.known).places = places.clone();
        let Some(debouncer) = &mut self.debouncer else {
            return;
        };
        let parents = places.names.iter().filter_map(|name| name.parent());
        let wanted: BTreeSet<PathBuf> = parents
            .map(Path::to_owned)
            .chain(places.folders.iter().cloned())
            .collect();
        for path in self.watched.difference(&wanted) {
            // It may be gone, and its watch with it.
            let _ = debouncer.unwatch(path);
        }
        for path in &wanted {
            if let Err(error) = debouncer.watch(path, RecursiveMode::NonRecursive)
                && !std::mem::replace(&mut self.warned, true)
            {
                let path = path.display();
                tracing::warn!(%error, %path, "cannot be watched, changes to it are only polled for");
            }
        }
        self.watched = wanted;
    }

    /// Whether some file of the policy is open and half written, as far as can be known.
    pub(super) fn is_being_written(&self) -> bool {
        let now = clock::instant();
        let mut known = lock(&self.known);
        known
            .writing
            .retain(|_, written| now.saturating_duration_since(*written) < WRITE_MAX);
        !known.writing.is_empty()
    }
}

impl Known {
    /// Whether any of the events is a reason to look.
    fn note(&mut self, events: &[DebouncedEvent]) -> bool {
        let mut matters = false;
        for event in events {
            for path in &event.paths {
                if self.places.has(path) {
                    matters |= self.note_one(event.kind, path, event.time);
                }
            }
            matters |= event.need_rescan();
        }
        matters
    }

    fn note_one(&mut self, kind: EventKind, path: &Path, time: Instant) -> bool {
        match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                self.writing.remove(path);
            }
            // Looks open files as well.
            EventKind::Access(_) => return false,
            // A link is created and never written.
            EventKind::Create(CreateKind::File) if path.is_symlink() => {}
            EventKind::Create(CreateKind::File) | EventKind::Modify(ModifyKind::Data(_)) => {
                self.writing.insert(path.to_owned(), time);
            }
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                self.writing.remove(path);
            }
            _ => {}
        }
        true
    }
}

impl Places {
    fn has(&self, path: &Path) -> bool {
        self.names.contains(path)
            || self.folders.contains(path)
            || path
                .parent()
                .is_some_and(|folder| self.folders.contains(folder))
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // Nothing is left half done by a panic while the lock is held.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use notify::Event;
    use notify::event::{DataChange, RenameMode};

    use super::*;

    const DATA: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const OPENED: EventKind = EventKind::Access(AccessKind::Open(AccessMode::Any));
    const RENAMED: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));

    fn known() -> Known {
        Known {
            places: Places {
                folders: ["/p/policy".into(), "/p/policy/rules".into()].into(),
                names: ["/p/policy".into()].into(),
            },
            writing: BTreeMap::new(),
        }
    }

    fn note(known: &mut Known, kind: EventKind, path: &str) -> bool {
        let event = Event::new(kind).add_path(path.into());
        known.note(&[DebouncedEvent::new(event, clock::instant())])
    }

    #[test]
    fn only_what_can_change_the_policy_is_a_reason_to_look() {
        for (kind, path, expected) in [
            (DATA, "/p/policy/rules/a.yaml", true),
            (RENAMED, "/p/policy/..data", true),
            (RENAMED, "/p/policy", true),
            (CLOSED, "/p/policy/schema.yaml", true),
            (OPENED, "/p/policy/schema.yaml", false),
            (DATA, "/p/log.txt", false),
            (DATA, "/p/policy/rules/old/a.yaml", false),
        ] {
            assert_eq!(note(&mut known(), kind, path), expected, "{kind:?} {path}");
        }
    }

    #[test]
    fn a_file_is_being_written_until_it_is_closed_renamed_or_removed() {
        let removed = EventKind::Remove(notify::event::RemoveKind::File);
        for end in [CLOSED, RENAMED, removed] {
            let mut known = known();
            note(&mut known, DATA, "/p/policy/rules/a.yaml");
            note(&mut known, OPENED, "/p/policy/rules/a.yaml");
            assert_eq!(known.writing.len(), 1);
            note(&mut known, end, "/p/policy/rules/a.yaml");
            assert_eq!(known.writing.len(), 0, "{end:?}");
        }
    }
}
