//! Changes of the policy folder go live while requests are answered.
//!
//! A thread of its own looks at the folder whenever the file system tells of a change, and every few seconds in case it
//! did not. It loads what it finds once two looks have seen the same, and takes it only if a third one still does: so a
//! set of files of which some are not written yet is never judged. Loading is done here, off the threads that
//! answer; what they see of it is one pointer that changes ([`Versions`]).

mod look;
mod versions;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tollgate_features::Store;
use tollgate_rules::Kept;
use tollgate_types::Currency;

use crate::clock;
use crate::policy::Loader;
use look::Look;
pub(crate) use versions::{Problem, Versions, VersionsReport};
use watch::Watch;

/// Between the two looks that must have seen the same.
const SETTLE: Duration = Duration::from_millis(50);

/// Looks at a folder that does not come to rest, two minutes of them; after that it is left until the next change.
const LOOKS_MAX: usize = 2_400;

/// Calls to look that may wait. One is enough: it sees all that happened before it.
const WAITING_MAX: usize = 1;

/// A load takes tens of milliseconds of a core. Requests that come meanwhile go first; at a tenth of the weight of the
/// threads that answer them, a load still comes to its end on a machine that is busy with nothing else. On Linux the
/// priority is the thread's own.
const NICE: i32 = 10;

/// The running thread; it ends when this is dropped.
pub(crate) struct Reload {
    wake: SyncSender<()>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Wakes the reload. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Wake {
    wake: SyncSender<()>,
    anew: Arc<AtomicBool>,
}

/// What a reload works with.
pub(crate) struct Parts {
    pub(crate) loader: Loader,
    pub(crate) versions: Arc<Versions>,
    /// What it was filled under cannot change.
    pub(crate) store: Arc<Store>,
    pub(crate) base: Currency,
    /// Between two looks that nothing called for.
    pub(crate) poll: Duration,
}

impl Reload {
    pub(crate) fn start(parts: Parts) -> std::io::Result<(Self, Wake)> {
        let (wake, woken) = sync_channel(WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        // The folder may have changed since the policy was loaded.
        let anew = Arc::new(AtomicBool::new(true));
        let call = wake.clone();
        let watch = Watch::new(move || {
            // If it is full, somebody has called already.
            let _ = call.try_send(());
        });
        let reloading = Reloading {
            parts,
            watch,
            judged: None,
            anew: Arc::clone(&anew),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new()
            .name("policy-reload".to_owned())
            .spawn(move || reloading.run(&woken))?;
        let reload = Self {
            wake: wake.clone(),
            stop,
            thread: Some(thread),
        };
        Ok((reload, Wake { wake, anew }))
    }
}

impl Drop for Reload {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.wake.try_send(());
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Wake {
    /// Has the folder judged anew, even if nothing in it has changed.
    pub(crate) fn look_anew(&self) {
        self.anew.store(true, Ordering::Release);
        let _ = self.wake.try_send(());
    }
}

struct Reloading {
    parts: Parts,
    watch: Watch,
    /// What the folder had when it was judged last.
    judged: Option<u128>,
    anew: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Reloading {
    fn run(mut self, woken: &Receiver<()>) {
        // Where threads have no priority of their own it stays as it is.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "the policy is loaded at the priority of requests");
        }
        loop {
            self.look_after();
            match woken.recv_timeout(self.parts.poll) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Looks at the folder and, if it has changed, waits until it rests and judges it.
    fn look_after(&mut self) {
        let mut seen = self.look();
        let anew = self.anew.swap(false, Ordering::Acquire);
        if !anew && self.judged == Some(seen.content) {
            return;
        }
        for _ in 0..LOOKS_MAX {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(SETTLE);
            let again = self.look();
            let rests = again.content == seen.content && !self.watch.is_being_written();
            seen = again;
            if rests && self.judge(&mut seen) {
                return;
            }
        }
        tracing::warn!(
            "the policy folder keeps changing; it is looked at again with its next change"
        );
    }

    /// Loads the folder and judges what came of it. `false` if it changed while it was read: then nothing is known.
    fn judge(&mut self, seen: &mut Look) -> bool {
        let Parts {
            loader,
            versions,
            store,
            base,
            ..
        } = &self.parts;
        let kept = Kept {
            schema: store.schema(),
            base: *base,
        };
        let earlier = versions.policies();
        let loaded = loader.reload(&kept, &earlier);
        drop(earlier);
        let after = self.look();
        if after.content != seen.content {
            *seen = after;
            return false;
        }
        self.judged = Some(seen.content);
        let judged = self.parts.versions.judge(loaded, clock::steady_time());
        tracing::debug!(?judged, "looked at the policy folder");
        true
    }

    fn look(&mut self) -> Look {
        let look = look::look(self.parts.loader.folder());
        self.watch.set(&look.places);
        look
    }
}
