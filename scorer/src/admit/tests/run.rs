//! Permits and waits as the runtime sees them.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::fixed;
use crate::admit::{Admission, Ask, ConnectionId, Permit, Priority, Shed};
use crate::clock;
use crate::metrics::Metrics;

fn admission(limit: u32, waiting_max: usize) -> Arc<Admission> {
    let metrics = Metrics::new().unwrap().admission;
    Arc::new(Admission::new(&fixed(limit, waiting_max), metrics))
}

fn ask(priority: Priority) -> Ask {
    let now = clock::instant();
    Ask {
        arrived: now,
        until: now + Duration::from_secs(60),
        connection: ConnectionId::new(1),
        priority,
    }
}

async fn admitted(admission: &Arc<Admission>) -> Permit {
    admission.admit(ask(Priority::Normal)).await.ok().unwrap()
}

#[tokio::test]
async fn a_permit_goes_to_the_next_one_when_it_is_dropped() {
    let admission = admission(1, 4);
    let first = admitted(&admission).await;
    let mut second = Box::pin(admission.admit(ask(Priority::Low)));
    let mut third = Box::pin(admission.admit(ask(Priority::High)));
    assert!(second.as_mut().now_or_never().is_none());
    assert!(third.as_mut().now_or_never().is_none());
    first.decided(Some(Duration::from_millis(1)));
    assert!(second.as_mut().now_or_never().is_none());
    let third = third.now_or_never().unwrap().ok().unwrap();
    drop(third);
    second.now_or_never().unwrap().ok().unwrap();
    assert_eq!(admission.load().in_progress, 0);
}

#[tokio::test]
async fn whoever_is_dropped_while_waiting_or_just_told_keeps_no_place() {
    let admission = admission(1, 4);
    let first = admitted(&admission).await;
    let mut second = Box::pin(admission.admit(ask(Priority::Normal)));
    let mut third = Box::pin(admission.admit(ask(Priority::Normal)));
    assert!(second.as_mut().now_or_never().is_none());
    assert!(third.as_mut().now_or_never().is_none());
    drop(second);
    assert_eq!(admission.load().waiting, 1);
    // The third is told, and dropped before it has looked.
    drop(first);
    assert_eq!(admission.load().in_progress, 1);
    drop(third);
    assert_eq!(admission.load().in_progress, 0);
    assert_eq!(admission.load().waiting, 0);
}

#[tokio::test]
async fn whoever_has_waited_long_enough_is_shed() {
    let admission = admission(1, 1);
    let _held = admitted(&admission).await;
    let now = clock::instant();
    let impatient = Ask {
        until: now + Duration::from_millis(10),
        ..ask(Priority::Normal)
    };
    let (waits, full) = tokio::join!(
        admission.admit(impatient),
        admission.admit(ask(Priority::Normal))
    );
    assert_eq!(waits.err(), Some(Shed::TimedOut));
    assert_eq!(full.err(), Some(Shed::QueueFull));
    assert_eq!(admission.load().waiting, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn permits_are_neither_lost_nor_made_whoever_is_dropped_when() {
    let admission = admission(3, 8);
    let tasks: Vec<_> = (0..400_u32)
        .map(|number| {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move {
                let until = Duration::from_micros(u64::from(number % 7) * 100);
                let priority = Priority::ALL[number as usize % 4];
                let admitting = admission.admit(ask(priority));
                let permit = tokio::time::timeout(until, admitting).await;
                assert!(admission.load().in_progress <= 3);
                tokio::task::yield_now().await;
                drop(permit);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(admission.load().in_progress, 0);
    assert_eq!(admission.load().waiting, 0);
}
