//! Models come and go: nothing of those that are gone stays. Alone in its process, because it counts threads and memory.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

mod common;

use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

use common::{Folder, Model};
use tollgate_models::{Inference, Options, Rows};

/// As a service keeps the policies before the live one.
const KEPT: usize = 3;

/// A session that stays behind with every swap would be some 80 MiB in the end.
const GROWTH_KIB_MAX: u64 = 16 * 1_024;

fn model_threads() -> usize {
    let names = fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("model-") && name.trim() != "model-starter")
        .count()
}

/// Threads end by themselves, so it may take a moment.
fn wait_for_threads(expected: usize) {
    for _ in 0..5_000 {
        if model_threads() == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(model_threads(), expected);
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_hundred_swaps_leave_no_thread_and_no_memory_behind() {
    let options = Options {
        threads: 2,
        ..Options::default()
    };
    let models: Vec<Folder> = Model::ALL.into_iter().map(Folder::new).collect();
    let mut kept: VecDeque<Inference> = VecDeque::new();
    let mut settled_kib = 0;
    for swap in 0..100 {
        let inference = models[swap % models.len()].start(options);
        let row = Rows::one(vec![1.0, 2.0, 0.5], Vec::new());
        // Asked before and after it is dropped: the last run of each ends with an answer.
        let replies: Vec<_> = (0..50)
            .map(|_| inference.submit(row.clone()).unwrap())
            .collect();
        kept.push_back(inference);
        if kept.len() > KEPT {
            kept.pop_front();
        }
        for reply in replies {
            assert!(reply.blocking_recv().unwrap().is_ok());
        }
        if swap == 20 {
            settled_kib = resident_kib();
        }
    }
    // Two that run the model and one that watches them, of each that is kept.
    wait_for_threads(3 * KEPT);
    let grown = resident_kib().saturating_sub(settled_kib);
    assert!(
        grown < GROWTH_KIB_MAX,
        "{grown} KiB more than after 20 swaps"
    );
    drop(kept);
    wait_for_threads(0);
}
