//! The two sides: a bare run, and the whole call through the model's queue and thread.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tollgate_models::{Bare, Bundle, Inference, Options, Reply, Rows};

use crate::timing::{float, nanos, now, timed};

/// Different rows, asked in turn.
const ROWS: usize = 1_000;

/// What the two sides may differ by: a batch may round differently.
const TOLERANCE: f64 = 1e-6;

/// A model, both ways, and what it is asked.
pub(super) struct Calls {
    bare: Bare,
    inference: Inference,
    narrow: Vec<Vec<f32>>,
    rows: Vec<Rows>,
}

impl Calls {
    /// Loads the bundle both ways; an error if they do not answer alike.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let bundle = Bundle::open(folder, &|name| Some(name.to_owned()))?;
        let manifest = bundle.manifest();
        let width = manifest.inputs.len();
        let columns = match manifest.output.kind {
            tollgate_models::OutputKind::ProbabilityPair => 2,
            _ => 1,
        };
        let output = manifest.output.name.clone();
        let bare = Bare::load(&folder.join("model.onnx"), width, &output, columns)?;
        let inference = Inference::start(bundle, Options::default())?;
        let mut draw = ChaCha8Rng::seed_from_u64(5);
        let mut row = || -> Vec<f32> { (0..width).map(|_| draw.random_range(-2.0..2.0)).collect() };
        let narrow: Vec<Vec<f32>> = (0..ROWS).map(|_| row()).collect();
        let wide = |row: &Vec<f32>| {
            let numbers = row.iter().map(|&value| f64::from(value)).collect();
            Rows::one(numbers, Vec::new())
        };
        let rows = narrow.iter().map(wide).collect();
        let mut calls = Self {
            bare,
            inference,
            narrow,
            rows,
        };
        calls
            .compare()
            .with_context(|| folder.display().to_string())?;
        Ok(calls)
    }

    fn compare(&mut self) -> anyhow::Result<()> {
        let replies: Vec<Reply> = (0..ROWS.min(200))
            .map(|n| self.submit(n))
            .collect::<anyhow::Result<_>>()?;
        for (n, reply) in replies.into_iter().enumerate() {
            let (bare, whole) = (self.bare(n)?, score(reply)?);
            if (f64::from(bare) - whole).abs() > TOLERANCE {
                bail!("row {n}: {bare} by a bare run, {whole} by the whole call");
            }
        }
        Ok(())
    }

    fn bare(&mut self, n: usize) -> anyhow::Result<f32> {
        Ok(self.bare.run(&self.narrow[n % ROWS])?)
    }

    fn submit(&self, n: usize) -> anyhow::Result<Reply> {
        Ok(self.inference.submit(self.rows[n % ROWS].clone())?)
    }

    fn whole(&self, n: usize) -> anyhow::Result<f64> {
        score(self.submit(n)?)
    }

    /// Times of bare runs, each after a pause in which nothing happens.
    pub(super) fn bare_alone(&mut self, calls: usize, pause: Duration) -> anyhow::Result<Vec<u64>> {
        let mut times = Vec::with_capacity(calls);
        for n in 0..calls {
            std::thread::sleep(pause);
            let mut answer = Ok(0.0);
            times.push(timed(|| answer = self.bare(n)));
            answer?;
        }
        Ok(times)
    }

    /// The same of whole calls.
    pub(super) fn whole_alone(&self, calls: usize, pause: Duration) -> anyhow::Result<Vec<u64>> {
        let mut times = Vec::with_capacity(calls);
        for n in 0..calls {
            std::thread::sleep(pause);
            let mut answer = Ok(0.0);
            times.push(timed(|| answer = self.whole(n)));
            answer?;
        }
        Ok(times)
    }

    /// Nanoseconds of this process' CPU that one bare run takes, and how many run in a second of one thread.
    pub(super) fn bare_busy(&mut self, calls: usize) -> anyhow::Result<(f64, f64)> {
        let (cpu, start) = (cpu_time(), now());
        for n in 0..calls {
            self.bare(n)?;
        }
        Ok(per_call(calls, cpu_time() - cpu, start.elapsed()))
    }

    /// The same of whole calls, `in_flight` of them at any time, and the time of each from submitting to its score.
    pub(super) fn whole_busy(
        &self,
        calls: usize,
        in_flight: usize,
    ) -> anyhow::Result<((f64, f64), Vec<u64>)> {
        let mut times = Vec::with_capacity(calls);
        let mut waiting = VecDeque::with_capacity(in_flight);
        let (cpu, start) = (cpu_time(), now());
        for n in 0..calls + in_flight {
            if n >= in_flight
                && let Some((submitted, reply)) = waiting.pop_front()
            {
                score(reply)?;
                times.push(nanos(now() - submitted));
            }
            if n < calls {
                waiting.push_back((now(), self.submit(n)?));
            }
        }
        let figures = per_call(calls, cpu_time() - cpu, start.elapsed());
        Ok((figures, times))
    }

    /// Calls in a second by so many callers, each of which waits for its answer before it asks again.
    pub(super) fn callers(&self, callers: usize, calls: usize) -> anyhow::Result<f64> {
        // Without the bare run's session, which only one thread may have.
        let (inference, rows) = (&self.inference, &self.rows);
        let ask = |n: usize| -> anyhow::Result<()> {
            score(inference.submit(rows[n % ROWS].clone())?).map(|_| ())
        };
        let start = now();
        std::thread::scope(|scope| {
            let asking: Vec<_> = (0..callers)
                .map(|_| scope.spawn(|| (0..calls).try_for_each(ask)))
                .collect();
            asking.into_iter().try_for_each(|caller| {
                let ended = caller.join();
                ended.unwrap_or_else(|_| bail!("a caller panicked"))
            })
        })?;
        let calls = float(u64::try_from(callers * calls)?);
        Ok(calls / start.elapsed().as_secs_f64())
    }
}

fn score(reply: Reply) -> anyhow::Result<f64> {
    Ok(reply.blocking_recv()??.value())
}

/// Of the whole process, all of its threads.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn per_call(calls: usize, cpu: Duration, elapsed: Duration) -> (f64, f64) {
    let calls = float(u64::try_from(calls).unwrap_or(u64::MAX));
    (float(nanos(cpu)) / calls, calls / elapsed.as_secs_f64())
}
