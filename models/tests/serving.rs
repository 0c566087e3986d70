//! Real models that take too long, and threads that must not be slow for it.
#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{Folder, Model, library};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tollgate_models::{
    Bundle, Error, Inference, Options, Reply, Rows, RunError, Runtime, features_digest,
};

/// About a microsecond each: a quarter of an hour.
const ENDLESS: f64 = 1e9;

const OPTIONS: Options = Options {
    threads: 1,
    queue_rows_max: 100,
    run_max: Duration::from_millis(40),
    counts_cpu: false,
};

/// The model that scorer/tests/models/make_slow.py makes: its input says how often a loop goes round.
fn slow(missing: f64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scorer/tests/models/slow.onnx");
    let model = fs::read(source).unwrap();
    let digest: String = Sha256::digest(&model)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let definition = ("amount", "transaction.amount");
    let manifest = format!(
        "name: slow\nversion: \"1\"\nmodel_sha256: {digest}\nfeatures_sha256: {}\n\
         inputs: [{{ feature: amount, missing: {missing:.1} }}]\ntensor: input\n\
         output: {{ name: probability, kind: probability }}\n",
        features_digest([definition].into_iter()),
    );
    let golden = r#"{"tolerance": 1e-6, "rows": [{"inputs": [0], "score": 0.25}]}"#;
    fs::write(folder.path().join("model.onnx"), model).unwrap();
    fs::write(folder.path().join("manifest.yaml"), manifest).unwrap();
    fs::write(folder.path().join("golden.json"), golden).unwrap();
    folder
}

fn start(folder: &TempDir, options: Options) -> Result<Inference, Error> {
    Runtime::load(&library()).unwrap();
    let definition = |_: &str| Some("transaction.amount".to_owned());
    let bundle = Bundle::open(folder.path(), &definition).unwrap();
    Inference::start(bundle, options)
}

fn submit(inference: &Inference, amount: f64) -> Reply {
    inference
        .submit(Rows::one(vec![amount], Vec::new()))
        .unwrap()
}

/// Asks until it is not told that every thread is stuck, which it is until the next look.
fn ask(inference: &Inference, amount: f64) -> Result<f64, RunError> {
    loop {
        match submit(inference, amount).blocking_recv().unwrap() {
            Err(RunError::Stuck) => {}
            answer => return answer.map(|score| score.value()),
        }
    }
}

#[test]
fn onnx_runtime_ends_a_run_that_takes_too_long_and_runs_the_next() {
    let inference = start(&slow(0.0), OPTIONS).unwrap();
    for _ in 0..3 {
        assert_eq!(
            ask(&inference, ENDLESS),
            Err(RunError::Stopped(OPTIONS.run_max))
        );
        assert_eq!(ask(&inference, 10.0), Ok(0.25));
    }
}

#[test]
fn with_two_threads_one_stuck_run_holds_up_nobody_else() {
    let options = Options {
        threads: 2,
        run_max: Duration::MAX,
        ..OPTIONS
    };
    let inference = start(&slow(0.0), options).unwrap();
    // A few seconds, far longer than all the others together.
    let stuck = submit(&inference, 5e6);
    for _ in 0..100 {
        assert_eq!(ask(&inference, 10.0), Ok(0.25));
    }
    let mut stuck = stuck;
    assert!(stuck.try_recv().is_err(), "it is still running");
}

#[test]
fn a_model_that_cannot_run_in_time_is_refused() {
    // A third of a second: fast enough to be verified, not to be served.
    let error = start(&slow(3e5), OPTIONS).err().unwrap();
    assert!(
        matches!(&error, Error::Warm { version, error: RunError::Stopped(_) } if version == "slow/1")
    );
}

/// A changed policy is loaded at a low priority, and threads inherit it from whoever starts them.
#[cfg(target_os = "linux")]
#[test]
fn threads_of_a_model_that_is_loaded_at_a_low_priority_have_the_usual_one() {
    let folder = Folder::new(Model::Pair);
    // Loads the runtime, at the usual priority.
    let bundle = folder.open().unwrap();
    let load = std::thread::spawn(move || {
        rustix::process::setpriority_process(None, 10).unwrap();
        Inference::start(bundle, OPTIONS).unwrap()
    });
    let _inference = load.join().unwrap();
    let mut found = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // Threads of other tests come and go.
        let Ok(stat) = fs::read_to_string(task.unwrap().path().join("stat")) else {
            continue;
        };
        let (head, fields) = stat.rsplit_once(") ").unwrap();
        if head.contains("(model-0") {
            // The seventeenth behind the name, by proc(5).
            assert_eq!(fields.split(' ').nth(16), Some("0"), "{stat}");
            found += 1;
        }
    }
    assert!(found > 0);
}
