//! Starts threads that run at the priority the process has, whoever asks for them.
//!
//! A thread begins with the priority of the one that starts it. A changed policy is loaded at a low priority, so that
//! requests come first, and the threads of its models must not stay there: a process may not raise a priority again
//! without privileges. So all of them are started by one thread that was started first, when ONNX Runtime was loaded.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread;

type Work = Box<dyn FnOnce() + Send>;

/// A thread to be started.
struct Order {
    name: String,
    work: Work,
    started: SyncSender<io::Result<()>>,
}

/// Starts the thread that starts others, if it does not run yet: at the priority of whoever calls this first.
pub(crate) fn prepare() {
    let _ = starter();
}

/// Runs `work` on a thread of its own that nobody waits for.
pub(crate) fn start(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (started, answer) = sync_channel(1);
    let order = Order {
        name,
        work: Box::new(work),
        started,
    };
    let gone = || io::Error::other("the thread that starts others has ended");
    match starter() {
        Some(starter) => starter.send(order).map_err(|_| gone())?,
        // Without it there are threads all the same, at the priority of the caller.
        None => return start_here(order.name, order.work),
    }
    answer.recv().map_err(|_| gone())?
}

fn starter() -> Option<&'static Sender<Order>> {
    static STARTER: OnceLock<Option<Sender<Order>>> = OnceLock::new();
    let spawn = || {
        let (orders, waiting) = channel::<Order>();
        let serve = move || {
            for order in waiting {
                // Whoever ordered it waits for the answer.
                let _ = order.started.send(start_here(order.name, order.work));
            }
        };
        start_here("model-starter".to_owned(), Box::new(serve)).ok()?;
        Some(orders)
    };
    STARTER.get_or_init(spawn).as_ref()
}

fn start_here(name: String, work: Work) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(work).map(|_| ())
}
