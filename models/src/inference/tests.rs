//! The queue and the threads, with an engine that does what each test says.

use std::collections::BTreeMap;
use std::sync::mpsc;

use super::*;
use crate::Calibration;
use crate::manifest::{InputKind, Output, OutputKind, Value};

fn manifest() -> Manifest {
    Manifest {
        name: "scripted".to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        model_sha256: String::new(),
        features_sha256: String::new(),
        inputs: vec![Input {
            feature: "only".to_owned(),
            kind: InputKind::Number,
            missing: Value::Number(-1.0),
            tensor: None,
            baseline: Value::Number(-1.0),
            reason: None,
            distribution: None,
        }],
        tensor: Some("input".to_owned()),
        output: Output {
            name: "output".to_owned(),
            kind: OutputKind::Probability,
        },
        calibration: Calibration::None,
        score_distribution: None,
        trained: None,
        metrics: BTreeMap::new(),
    }
}

/// An engine that says how many rows a run has, waits to be let go, and puts out what it was given.
struct Gate {
    entered: mpsc::Receiver<usize>,
    go: mpsc::Sender<()>,
}

fn gated() -> (Engine, Gate) {
    let (enter, entered) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    let script = move |rows: &Rows, outputs: &mut Vec<f64>| {
        enter.send(rows.count).unwrap();
        gone.recv().unwrap();
        outputs.extend_from_slice(&rows.numbers);
        Ok(())
    };
    (Engine::Scripted(Box::new(script)), Gate { entered, go })
}

fn start(engine: Engine, queue_rows_max: usize) -> Inference {
    start_all(vec![engine], queue_rows_max)
}

/// A thread for each engine; no run is ended for the time it takes.
fn start_all(engines: Vec<Engine>, queue_rows_max: usize) -> Inference {
    let options = Options {
        queue_rows_max,
        run_max: Duration::MAX,
        ..Options::default()
    };
    Inference::launch(&manifest(), engines, options, None).unwrap()
}

fn row(numbers: &[f64]) -> Rows {
    Rows::one(numbers.to_vec(), Vec::new())
}

fn value(reply: Reply) -> f64 {
    reply.blocking_recv().unwrap().unwrap().value()
}

#[test]
fn a_row_beyond_the_queue_is_refused_at_once() {
    let (engine, gate) = gated();
    let inference = start(engine, 2);
    let running = inference.submit(row(&[0.0])).unwrap();
    assert_eq!(gate.entered.recv().unwrap(), 1);
    let waiting = [
        inference.submit(row(&[0.25])).unwrap(),
        inference.submit(row(&[0.5])).unwrap(),
    ];
    assert_eq!(inference.rows_waiting(), 2);
    assert_eq!(inference.submit(row(&[0.75])).unwrap_err(), QueueFull);
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();
    assert_eq!(value(running), 0.0);
    assert_eq!(waiting.map(value), [0.25, 0.5]);
}

#[test]
fn rows_that_wait_run_together_up_to_the_largest_batch() {
    let (engine, gate) = gated();
    let inference = start(engine, 100);
    let first = inference.submit(row(&[0.0])).unwrap();
    assert_eq!(gate.entered.recv().unwrap(), 1);
    let waiting: Vec<Reply> = (0..40)
        .map(|_| inference.submit(row(&[0.5])).unwrap())
        .collect();
    for rows in [BATCH_MAX, 40 - BATCH_MAX] {
        gate.go.send(()).unwrap();
        assert_eq!(gate.entered.recv().unwrap(), rows);
    }
    gate.go.send(()).unwrap();
    assert_eq!(value(first), 0.0);
    for reply in waiting {
        assert_eq!(value(reply), 0.5);
    }
}

#[test]
fn two_threads_share_what_waits() {
    let (one, gate_one) = gated();
    let (two, gate_two) = gated();
    let inference = start_all(vec![one, two], 100);
    let busy = [
        inference.submit(row(&[0.0])).unwrap(),
        inference.submit(row(&[0.0])).unwrap(),
    ];
    assert_eq!(gate_one.entered.recv().unwrap(), 1);
    assert_eq!(gate_two.entered.recv().unwrap(), 1);
    let waiting: Vec<Reply> = (0..10)
        .map(|_| inference.submit(row(&[0.5])).unwrap())
        .collect();
    gate_one.go.send(()).unwrap();
    assert_eq!(gate_one.entered.recv().unwrap(), 5);
    gate_two.go.send(()).unwrap();
    assert_eq!(gate_two.entered.recv().unwrap(), 3);
    for gate in [&gate_one, &gate_two] {
        for _ in 0..10 {
            gate.go.send(()).unwrap();
        }
    }
    assert_eq!(busy.map(value), [0.0, 0.0]);
    for reply in waiting {
        assert_eq!(value(reply), 0.5);
    }
}

#[test]
fn a_row_nobody_waits_for_is_skipped() {
    let (engine, gate) = gated();
    let inference = start(engine, 10);
    let first = inference.submit(row(&[0.0])).unwrap();
    assert_eq!(gate.entered.recv().unwrap(), 1);
    drop(inference.submit(row(&[0.25])).unwrap());
    let kept = inference.submit(row(&[0.5])).unwrap();
    gate.go.send(()).unwrap();
    assert_eq!(
        gate.entered.recv().unwrap(),
        1,
        "the abandoned row must not run"
    );
    gate.go.send(()).unwrap();
    assert_eq!((value(first), value(kept)), (0.0, 0.5));
}

#[test]
fn dropping_the_model_answers_what_was_submitted_and_ends_its_threads() {
    let (engine, gate) = gated();
    let inference = start(engine, 10);
    let running = inference.submit(row(&[0.25])).unwrap();
    assert_eq!(gate.entered.recv().unwrap(), 1);
    let waiting = inference.submit(row(&[0.5])).unwrap();
    // The run is stuck until the gate opens, so this also shows that a drop does not wait for it.
    drop(inference);
    gate.go.send(()).unwrap();
    assert_eq!(gate.entered.recv().unwrap(), 1);
    gate.go.send(()).unwrap();
    assert_eq!((value(running), value(waiting)), (0.25, 0.5));
    // The engine's end of the channel goes with the thread.
    assert!(gate.entered.recv().is_err());
}

/// Answers each value with itself, but fails, panics or gives NaN on a value that says so.
fn moody(run: &mpsc::Sender<usize>, gate: mpsc::Receiver<()>) -> Engine {
    let run = run.clone();
    Engine::Scripted(Box::new(move |rows, outputs| {
        run.send(rows.count).unwrap();
        gate.recv().unwrap();
        if rows.numbers.contains(&FAILS) {
            return Err(RunError::Engine("a bad row".to_owned()));
        }
        assert!(
            !rows.numbers.contains(&PANICS),
            "an assertion in the engine"
        );
        outputs.extend_from_slice(&rows.numbers);
        Ok(())
    }))
}

const FAILS: f64 = 0.111;
const PANICS: f64 = 0.222;

/// Answers to `values`, all submitted so that they run in one batch.
fn answers(values: &[f64]) -> Vec<Result<f64, RunError>> {
    let (run, runs) = mpsc::channel();
    let (go, gate) = mpsc::channel();
    let inference = start(moody(&run, gate), 10);
    let first = inference.submit(row(&[0.0])).unwrap();
    assert_eq!(runs.recv().unwrap(), 1);
    let replies: Vec<Reply> = values
        .iter()
        .map(|&value| inference.submit(row(&[value])).unwrap())
        .collect();
    // As many as there can be: one alone, the batch, and each of its rows again.
    for _ in 0..values.len() + 2 {
        go.send(()).unwrap();
    }
    assert_eq!(value(first), 0.0);
    assert_eq!(runs.recv().unwrap(), values.len());
    replies
        .into_iter()
        .map(|reply| reply.blocking_recv().unwrap().map(Score::value))
        .collect()
}

#[test]
fn one_bad_row_does_not_fail_the_others() {
    let failed = Err(RunError::Engine("a bad row".to_owned()));
    assert_eq!(
        answers(&[0.25, FAILS, 0.5]),
        [Ok(0.25), failed.clone(), Ok(0.5)]
    );
    assert_eq!(answers(&[FAILS]), [failed]);
}

#[test]
fn a_panic_is_an_error_and_the_thread_lives_on() {
    let panicked = Err(RunError::Panicked("an assertion in the engine".to_owned()));
    assert_eq!(answers(&[0.25, PANICS, 0.5]), [Ok(0.25), panicked, Ok(0.5)]);
}

#[test]
fn an_output_that_is_no_probability_fails_its_row_only() {
    let found = answers(&[0.25, f64::NAN, 7.5]);
    assert_eq!(found[0], Ok(0.25));
    assert!(matches!(found[1], Err(RunError::NotAProbability(output)) if output.is_nan()));
    assert_eq!(found[2], Err(RunError::NotAProbability(7.5)));
}

#[test]
fn a_row_of_the_wrong_width_is_an_error_for_itself() {
    let (engine, _gate) = gated();
    let inference = start(engine, 1);
    let reply = inference.submit(row(&[0.0, 0.0])).unwrap();
    let error = reply.blocking_recv().unwrap().unwrap_err();
    assert_eq!(
        error,
        RunError::Width {
            expected: Width {
                numbers: 1,
                texts: 0
            },
            found: row(&[0.0, 0.0])
        }
    );
}

#[test]
fn a_run_has_as_many_rows_as_take_no_longer_than_they_should() {
    let millis = Duration::from_millis;
    let cases = [
        // (allowed, run, took) and what is allowed then, where 6 ms are long.
        ((32, 32, 7), 16),
        ((32, 3, 7), 1),
        ((8, 1, 60), 1),
        ((8, 8, 6), 8),
        ((8, 8, 2), 8),
        ((8, 8, 1), 16),
        // Fewer than allowed say nothing of more.
        ((8, 7, 1), 8),
        ((1, 1, 1), 2),
    ];
    for ((before, rows, took), expected) in cases {
        let fitting = worker::fitting(before, rows, millis(took), millis(6));
        assert_eq!(fitting, expected, "{before} {rows} {took}");
    }
}

#[test]
fn a_thread_runs_no_row_behind_another_while_others_are_idle() {
    assert_eq!(worker::share(9, 0, 2), 5);
    assert_eq!(worker::share(9, 1, 2), 1);
    assert_eq!(worker::share(0, 0, 4), 1);
    assert_eq!(worker::share(40, 0, 1), 41);
}

#[test]
fn what_waits_can_be_given_up_and_what_runs_goes_on() {
    let (engine, gate) = gated();
    let inference = start(engine, 10);
    let running = inference.submit(row(&[0.25])).unwrap();
    assert_eq!(gate.entered.recv().unwrap(), 1);
    let waiting = inference.submit(row(&[0.5])).unwrap();
    inference.give_up();
    assert_eq!(waiting.blocking_recv().unwrap(), Err(RunError::Stuck));
    gate.go.send(()).unwrap();
    assert_eq!(value(running), 0.25);
}

/// Runs on and on if a value says so, until it is asked to end.
fn endless(runs: &mpsc::Sender<usize>) -> Engine {
    let stop = Arc::new(AtomicBool::new(false));
    let (runs, asked) = (runs.clone(), Arc::clone(&stop));
    let script = move |rows: &Rows, outputs: &mut Vec<f64>| {
        runs.send(rows.count).unwrap();
        if rows.numbers.contains(&ENDLESS) {
            while !asked.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            return Err(RunError::Engine("asked to end".to_owned()));
        }
        outputs.extend_from_slice(&rows.numbers);
        Ok(())
    };
    Engine::Stoppable(Box::new(script), stop)
}

const ENDLESS: f64 = 0.333;

#[test]
fn a_run_that_takes_too_long_is_ended_and_its_rows_are_not_tried_again() {
    let (run, runs) = mpsc::channel();
    let options = Options {
        run_max: Duration::from_millis(20),
        ..Options::default()
    };
    let inference = Inference::launch(&manifest(), vec![endless(&run)], options, None).unwrap();
    for _ in 0..3 {
        let reply = inference.submit(row(&[ENDLESS])).unwrap();
        assert_eq!(
            reply.blocking_recv().unwrap(),
            Err(RunError::Stopped(options.run_max))
        );
        assert_eq!(runs.recv().unwrap(), 1);
    }
    // The next look says that the threads are no longer stuck; until then rows are given up.
    loop {
        match inference
            .submit(row(&[0.5]))
            .unwrap()
            .blocking_recv()
            .unwrap()
        {
            Ok(score) => return assert_eq!(score.value(), 0.5),
            Err(error) => assert_eq!(error, RunError::Stuck),
        }
    }
}

#[test]
fn a_model_is_served_only_once_it_has_run_batches_of_every_size() {
    let (run, runs) = mpsc::channel();
    let warm = row(&[0.5]);
    let launch = |row: &Rows| {
        let options = Options {
            run_max: Duration::from_millis(20),
            ..Options::default()
        };
        let engines = vec![endless(&run), endless(&run)];
        Inference::launch(&manifest(), engines, options, Some(row))
    };
    let started = launch(&warm);
    assert!(started.is_ok());
    let mut sizes: Vec<usize> = runs.try_iter().collect();
    sizes.sort_unstable();
    let expected: Vec<usize> = (1..=BATCH_MAX).flat_map(|size| [size, size]).collect();
    assert_eq!(sizes, expected);
    let error = launch(&row(&[ENDLESS])).err().unwrap().to_string();
    assert!(
        error.contains("scripted/1") && error.contains("run_ms_max"),
        "{error}"
    );
}

#[test]
fn rows_that_can_be_done_without_are_run_while_no_other_waits() {
    let (engine, gate) = gated();
    let inference = start(engine, 100);
    let first = inference.submit(row(&[0.0])).unwrap();
    assert_eq!(gate.entered.recv().unwrap(), 1);
    let explaining: Vec<Reply> = (0..3)
        .map(|_| inference.submit_when_idle(row(&[0.25])).unwrap())
        .collect();
    // It comes last and goes first, and not with the others.
    let score = inference.submit(row(&[0.5])).unwrap();
    assert_eq!(inference.rows_waiting(), 1);
    for rows in [1, 3] {
        gate.go.send(()).unwrap();
        assert_eq!(gate.entered.recv().unwrap(), rows);
    }
    gate.go.send(()).unwrap();
    assert_eq!(value(first), 0.0);
    assert_eq!(value(score), 0.5);
    for reply in explaining {
        assert_eq!(value(reply), 0.25);
    }
}
