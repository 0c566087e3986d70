//! How long a future took, without the time in which it could have gone on and waited for a thread.
//!
//! Between being woken and being polled a task waits behind whatever else there is to do, shed requests included. The
//! limit of decisions must not take that for time that its own decisions cost one another, so the wake is noted on its
//! way to the runtime.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;

use crate::clock;

/// Drives `F` and returns, beside its output, how long it took from its first poll without waiting for a thread.
pub(crate) struct Measured<F> {
    future: F,
    waited: Duration,
    began: Instant,
    woken: Option<Arc<Woken>>,
}

/// The first wake since the last poll.
struct Woken {
    began: Instant,
    /// Nanoseconds since then, and one; 0 if nobody has woken it.
    at: AtomicU64,
    task: AtomicWaker,
}

impl<F: Future + Unpin> Measured<F> {
    pub(crate) fn new(future: F) -> Self {
        Self {
            future,
            waited: Duration::ZERO,
            began: clock::instant(),
            woken: None,
        }
    }
}

impl<F: Future + Unpin> Future for Measured<F> {
    type Output = (F::Output, Duration);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let began = this.began;
        let woken = this.woken.get_or_insert_with(|| {
            Arc::new(Woken {
                began,
                at: AtomicU64::new(0),
                task: AtomicWaker::new(),
            })
        });
        woken.task.register(context.waker());
        let at = woken.at.swap(0, Ordering::AcqRel);
        if at > 0 {
            let woken_at = Duration::from_nanos(at - 1);
            this.waited += clock::instant()
                .saturating_duration_since(began)
                .saturating_sub(woken_at);
        }
        let waker = Waker::from(Arc::clone(woken));
        let mut context = Context::from_waker(&waker);
        let polled = Pin::new(&mut this.future).poll(&mut context);
        polled.map(|output| {
            let passed = clock::instant().saturating_duration_since(began);
            (output, passed.saturating_sub(this.waited))
        })
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let passed = clock::instant()
            .saturating_duration_since(self.began)
            .as_nanos();
        let at = u64::try_from(passed)
            .unwrap_or(u64::MAX - 1)
            .saturating_add(1);
        // Only the first counts: the task could go on from then.
        let _ = self
            .at
            .compare_exchange(0, at, Ordering::AcqRel, Ordering::Relaxed);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits to be told, and tells how it is to be woken.
    struct Told {
        polls_left: u32,
        waker: Arc<AtomicWaker>,
    }

    impl Future for Told {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            self.waker.register(context.waker());
            if self.polls_left == 0 {
                return Poll::Ready(());
            }
            self.polls_left -= 1;
            Poll::Pending
        }
    }

    /// Time passes.
    fn pass() -> Duration {
        let began = clock::instant();
        std::thread::yield_now();
        while clock::instant() == began {}
        clock::instant().saturating_duration_since(began)
    }

    #[test]
    fn only_time_between_wake_and_poll_is_waited() {
        let waker = Arc::new(AtomicWaker::new());
        let mut measured = Measured::new(Told {
            polls_left: 2,
            waker: Arc::clone(&waker),
        });
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = || Pin::new(&mut measured).poll(&mut context);
        assert!(poll().is_pending());
        pass();
        assert!(poll().is_pending());
        waker.wake();
        let passed = pass();
        let began = measured.began;
        let Poll::Ready(((), served)) = Pin::new(&mut measured).poll(&mut context) else {
            unreachable!("there was no poll left to wait for");
        };
        let whole = clock::instant().saturating_duration_since(began);
        assert!(
            served + passed <= whole,
            "{served:?} and {passed:?} of {whole:?}"
        );
    }

    #[test]
    fn what_nobody_woke_has_not_waited() {
        let mut measured = Measured::new(Told {
            polls_left: 2,
            waker: Arc::new(AtomicWaker::new()),
        });
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = || Pin::new(&mut measured).poll(&mut context);
        let mut passed = Duration::ZERO;
        for _ in 0..2 {
            assert!(poll().is_pending());
            passed += pass();
        }
        let Poll::Ready(((), served)) = poll() else {
            unreachable!("there was no poll left to wait for");
        };
        assert!(served >= passed, "{served:?} of {passed:?}");
    }
}
