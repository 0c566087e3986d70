//! `tollgate-loadtest stuck-model`: under a steady load the champion becomes a model that takes ten seconds for a row, and
//! after a while a good one again.
//!
//! Every answer must come in time, measured from when its request was due. How often requests are late with the good
//! model, before and after, says what the machine itself has in it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};
use tollgate_proto::v1::{Degradation, Outcome};
use tollgate_report::{Goal, Row};

use super::choose;
use crate::figures::{self, count, figure};
use crate::kafka::Admin;
use crate::lock;
use crate::score::{Answer, Tally};
use crate::steady::Load;

/// Has the champion stick under load, and reports what requests noticed of it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The policy folder that the service watches.
    #[arg(long)]
    policy: PathBuf,
    /// Where the service answers gRPC.
    #[arg(long)]
    grpc: String,
    /// The service's admin port.
    #[arg(long)]
    admin: String,
    /// The model that sticks.
    #[arg(long, default_value = "stuck/1")]
    stuck: String,
    /// The one before and after it.
    #[arg(long, default_value = "travel-fraud/1")]
    good: String,
    /// What every request gives as its deadline, in milliseconds.
    #[arg(long, default_value_t = 50)]
    deadline_ms: u64,
    /// How long the model stays stuck.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    #[command(flatten)]
    load: Load,
    #[arg(long, default_value = "target/reports/stuck-model.json")]
    report: PathBuf,
}

/// Connections open, caches fill; nothing of it is counted.
const WARM_UP: Duration = Duration::from_secs(3);

/// With the good model, before it sticks and once it is back.
const GOOD: Duration = Duration::from_secs(5);

/// A change of the policy that shows in no answer within this never will.
const PATIENCE: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(5);

/// From saving the good model until decisions are full again.
const FULL_AGAIN_MS_MAX: f64 = 2_000.0;

/// Counts how often the circuit of the champion has opened.
const OPENED: &str = "tollgate_model_circuit_opened_total";

/// Counts answers that the service itself knows were late.
const LATE: &str = "tollgate_late_total";

pub fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let (seen, course) = runtime.block_on(play(args))?;
    figures::report(&args.report, &rows(&seen, &course))
}

/// What requests are sent in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The good model, before.
    Before,
    Stuck,
    /// The good model, after.
    After,
    Between,
}

struct Seen {
    before: Tally,
    stuck: Tally,
    after: Tally,
    /// The policy that made the latest decision, which tells the phases apart: a level may be low for other reasons.
    policy_version: String,
    /// Declines that nothing could have changed: nobody was asked, and nothing is left out. Before, and while the model is
    /// stuck.
    certain_before: u64,
    certain: u64,
    /// The time of the latest answer that was full and had a score, and of the latest that was not.
    full_at: Instant,
    not_full_at: Instant,
}

/// What happened, besides answers.
struct Course {
    opened: u64,
    late_by_service: u64,
    /// From saving the good model to the first full answer, and to the last that was not.
    full_again: Option<Duration>,
    last_not_full: Duration,
}

#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Seen>>,
    phase: Arc<AtomicU8>,
}

async fn play(args: &Args) -> Result<(Seen, Course)> {
    let deadline = Duration::from_millis(args.deadline_ms);
    let client = args.load.connect(&args.grpc, deadline).await?;
    let shared = Shared::new(deadline);
    shared.set(Phase::Between);
    let (marking, noting) = (shared.clone(), shared.clone());
    let course = args.load.during(
        (client, false),
        move || marking.phase(),
        move |phase, answer| noting.note(phase, &answer),
        change(args, &shared),
    );
    let course = course.await??;
    let fresh = Seen::new(deadline);
    let seen = std::mem::replace(&mut *lock(&shared.seen), fresh);
    Ok((seen, course))
}

/// Good, stuck, good.
async fn change(args: &Args, shared: &Shared) -> Result<Course> {
    let admin = Admin::new(args.admin.clone());
    sleep(WARM_UP).await;
    shared.set(Phase::Before);
    sleep(GOOD).await;
    shared.set(Phase::Between);
    let opened = admin.sum(OPENED).await?;
    let late = admin.sum(LATE).await?;
    let good = lock(&shared.seen).policy_version.clone();
    choose(&args.policy, &args.stuck)?;
    let saved = Instant::now();
    shared
        .wait_for(saved, |seen| seen.policy_version != good)
        .await?;
    shared.set(Phase::Stuck);
    sleep(Duration::from_secs(args.seconds)).await;
    shared.set(Phase::Between);
    let course = Course {
        opened: admin.sum(OPENED).await? - opened,
        late_by_service: admin.sum(LATE).await? - late,
        full_again: None,
        last_not_full: Duration::ZERO,
    };
    choose(&args.policy, &args.good)?;
    let saved = Instant::now();
    let full_again = shared
        .wait_for(saved, |seen| seen.full_at > saved)
        .await
        .ok();
    shared.set(Phase::After);
    sleep(GOOD).await;
    shared.set(Phase::Between);
    let not_full_at = lock(&shared.seen).not_full_at;
    Ok(Course {
        full_again,
        last_not_full: not_full_at.saturating_duration_since(saved),
        ..course
    })
}

impl Seen {
    fn new(deadline: Duration) -> Self {
        let now = Instant::now();
        Self {
            before: Tally::with_deadline(deadline),
            stuck: Tally::with_deadline(deadline),
            after: Tally::with_deadline(deadline),
            policy_version: String::new(),
            certain_before: 0,
            certain: 0,
            full_at: now,
            not_full_at: now,
        }
    }
}

impl Shared {
    fn new(deadline: Duration) -> Self {
        Self {
            seen: Arc::new(Mutex::new(Seen::new(deadline))),
            phase: Arc::default(),
        }
    }

    fn note(&self, phase: Phase, answer: &Answer) {
        let mut seen = lock(&self.seen);
        match phase {
            Phase::Before => seen.before.count(answer),
            Phase::Stuck => seen.stuck.count(answer),
            Phase::After => seen.after.count(answer),
            Phase::Between => {}
        }
        if let Ok(response) = &answer.result {
            let is_full = response.degradation() == Degradation::Full;
            let is_certain =
                is_full && !response.has_score && response.outcome() == Outcome::Decline;
            seen.certain_before += u64::from(is_certain && phase == Phase::Before);
            seen.certain += u64::from(is_certain && phase == Phase::Stuck);
            if seen.policy_version != response.policy_version {
                seen.policy_version.clone_from(&response.policy_version);
            }
            if is_full && response.has_score {
                seen.full_at = Instant::now();
            } else if !is_certain {
                seen.not_full_at = Instant::now();
            }
        }
    }

    /// Waits until answers show something, and returns how long that took.
    async fn wait_for(&self, since: Instant, shown: impl Fn(&Seen) -> bool) -> Result<Duration> {
        while !shown(&lock(&self.seen)) {
            if since.elapsed() > PATIENCE {
                bail!("a change of models.yaml shows in no answer after {PATIENCE:?}");
            }
            sleep(POLL).await;
        }
        Ok(since.elapsed())
    }

    fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        let phase = self.phase.load(Ordering::Relaxed);
        [Phase::Before, Phase::Stuck, Phase::After]
            .into_iter()
            .find(|known| *known as u8 == phase)
            .unwrap_or(Phase::Between)
    }
}

fn rows(seen: &Seen, course: &Course) -> Vec<Row> {
    let stuck = &seen.stuck;
    let of = |tally: &Tally, level: &str| tally.degraded.get(level).copied().unwrap_or(0);
    let cause = |cause: &str| count(stuck.causes.get(cause).copied().unwrap_or(0));
    let other_level = stuck.answered - of(stuck, "no_model") - seen.certain;
    // The traffic is the same before, so about as many are certain; without a bound, any decline could pass for one.
    let certain_before = count(seen.certain_before) / count(seen.before.answered).max(1.0);
    let certain_max = (2.0 * certain_before * count(stuck.answered) + 20.0).round();
    let failed = |tally: &Tally| count(tally.ended() - tally.answered);
    let millis = |span: Duration| span.as_secs_f64() * 1_000.0;
    let with_good = |quantile: f64| count(seen.before.latency_us(quantile));
    let latency = |id: &str, quantile: f64| {
        let ours = count(stuck.latency_us(quantile));
        let good = with_good(quantile);
        Row::new(id, "µs", ours).beside(good, good / ours.max(1.0))
    };
    let after = seen.after.answered;
    let full_after = after - seen.after.degraded.values().sum::<u64>();
    vec![
        Row::new("stuck.requests", "count", count(stuck.ended())).goal(Goal::AtLeast(1.0)),
        Row::new("stuck.failed", "count", failed(stuck)).goal(Goal::AtMost(0.0)),
        Row::new("stuck.late", "count", count(stuck.late)).goal(Goal::AtMost(0.0)),
        Row::new(
            "stuck.late_by_service",
            "count",
            count(course.late_by_service),
        )
        .goal(Goal::AtMost(0.0)),
        Row::new("stuck.certain_declines", "count", count(seen.certain))
            .goal(Goal::AtMost(certain_max)),
        Row::new("stuck.not_no_model", "count", count(other_level)).goal(Goal::AtMost(0.0)),
        Row::new("stuck.circuit_opened", "count", count(course.opened)).goal(Goal::AtLeast(1.0)),
        Row::new("stuck.model_timeout", "count", cause("model_timeout")),
        Row::new(
            "stuck.model_circuit_open",
            "count",
            cause("model_circuit_open"),
        ),
        Row::new("stuck.model_queue_full", "count", cause("model_queue_full")),
        latency("stuck.latency.p50", 0.5),
        latency("stuck.latency.p99", 0.99),
        latency("stuck.latency.p999", 0.999),
        Row::new("stuck.latency.max", "µs", count(stuck.latency_us_max())),
        Row::new("before.late", "count", count(seen.before.late)),
        Row::new(
            "before.latency.max",
            "µs",
            count(seen.before.latency_us_max()),
        ),
        figure("full_again", "ms", course.full_again.map(millis))
            .goal(Goal::AtMost(FULL_AGAIN_MS_MAX)),
        Row::new(
            "full_again.last_not_full",
            "ms",
            millis(course.last_not_full),
        ),
        Row::new(
            "after.full",
            "share",
            count(full_after) / count(after).max(1.0),
        )
        .goal(Goal::AtLeast(0.99)),
        Row::new("after.late", "count", count(seen.after.late)),
    ]
}

#[cfg(test)]
mod tests {
    use tollgate_proto::v1;

    use super::*;

    fn answer(level: Degradation, cause: &str, millis: u64) -> Answer {
        let response = v1::ScoreResponse {
            degradation: level.into(),
            degradation_causes: vec![cause.to_owned()],
            ..v1::ScoreResponse::default()
        };
        Answer {
            result: Ok(response),
            latency: Duration::from_millis(millis),
        }
    }

    #[test]
    fn late_full_and_never_recovering_answers_each_miss_their_goal() {
        let deadline = Duration::from_millis(50);
        let missed = |stuck: &Answer, full_again: Option<Duration>| {
            let shared = Shared::new(deadline);
            shared.note(Phase::Stuck, stuck);
            shared.note(Phase::After, &answer(Degradation::Full, "", 1));
            let course = Course {
                opened: 1,
                late_by_service: 0,
                full_again,
                last_not_full: Duration::ZERO,
            };
            let rows = rows(&lock(&shared.seen), &course);
            let missed = rows.iter().filter(|row| row.is_missed());
            missed.map(|row| row.id.clone()).collect::<Vec<_>>()
        };
        let in_time = Some(Duration::from_millis(900));
        let without = |millis| answer(Degradation::NoModel, "model_circuit_open", millis);
        assert_eq!(missed(&without(50), in_time), Vec::<&str>::new());
        assert_eq!(missed(&without(51), in_time), ["stuck.late"]);
        assert_eq!(missed(&without(1), None), ["full_again"]);
        let full = answer(Degradation::Full, "", 1);
        assert_eq!(missed(&full, in_time), ["stuck.not_no_model"]);
        let mut certain = full;
        if let Ok(response) = &mut certain.result {
            response.set_outcome(Outcome::Decline);
        }
        assert_eq!(missed(&certain, in_time), Vec::<&str>::new());
    }
}
