//! Line 1: the service is killed again and again, and restarts on the same log.
//!
//! Beside it runs another one on the same topics that is never killed and writes no snapshots: the uninterrupted run. After each
//! restart, once both have read everything, they must know the same. Half of the rounds are with each way to log decisions.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};
use tollgate_report::{Goal, Row};

use super::aggregates::{self, Sample};
use super::decisions;
use super::digest::digest;
use super::log::{DECISIONS, Log, Shape};
use super::traffic::Traffic;
use super::{Stage, text};
use crate::chaos::drive::Client;
use crate::figures::count;
use crate::generate::Dice;
use crate::service::{Launch, Service};
use crate::swaps::folder::{Change, Folder};

const SHAPE: Shape = Shape {
    partitions: 6,
    replicas: 1,
};

/// Rounds with each way to log decisions.
const ROUNDS: u64 = 50;
const ROUNDS_QUICK: u64 = 4;

/// Events and requests a second.
const EVENTS_PER_S: u64 = 400;
const REQUESTS_PER_S: f64 = 200.0;

/// `decision_log.memory_records_max`: far more than waits while Kafka keeps up.
const MEMORY_RECORDS_MAX: u32 = 1_024;

/// `decision_log.spool_after_ms` as it is by default: a crash may lose no decision that is older, while Kafka or the disk keep up.
const LOST_AGE_MS_MAX: f64 = 2_000.0;

/// So no more than are made meanwhile, and a quarter: requests come at random moments.
const LOST_MAX: f64 = 1.25 * REQUESTS_PER_S * LOST_AGE_MS_MAX / 1_000.0;

/// How long anything may take that ends by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// A snapshot is due every second; one that does not come is not waited for any longer.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(5);

/// Once nothing was written for so long, nothing more comes: what a restart finds in its spool it sends at once.
const QUIET: Duration = Duration::from_secs(3);

/// Cards whose aggregates are compared.
const SAMPLED: usize = 40;

/// What the service is about when it is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    /// It reads events, and answers.
    Ingest,
    /// It writes a snapshot.
    Snapshot,
    /// The policy was just changed.
    Swap,
    /// It was told to stop.
    Drain,
}

impl Moment {
    const ALL: [Self; 4] = [Self::Ingest, Self::Snapshot, Self::Swap, Self::Drain];
}

/// Those after which the folder can be started from: a mistake would have to be mended first.
const CHANGES: [Change; 3] = [Change::Good, Change::HalfWritten, Change::ConfigMap];

/// The ways to log decisions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Durability {
    Async,
    SpoolFirst,
}

impl Durability {
    const fn name(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::SpoolFirst => "spool-first",
        }
    }
}

pub(super) async fn run(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for durability in [Durability::Async, Durability::SpoolFirst] {
        let mut own = match Campaign::begin(stage, durability).await {
            Ok(campaign) => campaign.carry_out().await?,
            Err(error) => return Err(error.context(durability.name())),
        };
        for row in &mut own {
            row.id = format!("{}.{}", durability.name(), row.id);
        }
        rows.extend(own);
    }
    Ok(rows)
}

/// Rounds on one log.
struct Campaign<'a> {
    durability: Durability,
    rounds: u64,
    seed: u64,
    dice: Dice,
    log: Log,
    launch: Launch<'a>,
    snapshots: PathBuf,
    policy: Folder,
    traffic: Arc<Traffic>,
    /// Never killed.
    uninterrupted: Service,
    /// Reads the whole log once, at the end.
    fresh: Launch<'a>,
    seen: Seen,
}

/// What rounds have shown.
#[derive(Default)]
struct Seen {
    /// Rounds after which the two services did not know the same.
    different: u64,
    /// Kills that left a snapshot unfinished.
    torn: u64,
    /// Kills of a service that was stopping and had not ended.
    stopping: u64,
    /// From the start of the process until it was ready.
    restarts: Vec<Duration>,
    /// When each kill was, and how many were answered by then.
    kills: Vec<(Instant, usize)>,
}

impl<'a> Campaign<'a> {
    async fn begin(stage: &Stage<'a>, durability: Durability) -> Result<Self> {
        let name = durability.name();
        let log = stage.log(name, SHAPE).await?;
        let folder = stage.folder().join(name);
        let (snapshots, spool) = (folder.join("snapshots"), folder.join("spool"));
        let records = MEMORY_RECORDS_MAX.to_string();
        let variables = [
            ("TOLLGATE_SNAPSHOT__PATH", text(&snapshots)?),
            ("TOLLGATE_SNAPSHOT__EVERY_S", "1"),
            ("TOLLGATE_FEATURES__IN_FLIGHT_EXPIRES_S", "2"),
            ("TOLLGATE_LATE_VERDICT__AGE_MAX_S", "2"),
            ("TOLLGATE_GRPC__LAME_DUCK_MS", "300"),
            ("TOLLGATE_DECISION_LOG__DURABILITY", name),
            ("TOLLGATE_DECISION_LOG__MEMORY_RECORDS_MAX", &records),
            ("TOLLGATE_DECISION_LOG__SPOOL_PATH", text(&spool)?),
            // An answer that was given before its decision was on disk says so, for the disk of this machine may be slow.
            ("TOLLGATE_DECISION_LOG__WHEN_UNLOGGED", "degrade"),
            ("TOLLGATE_DECISION_LOG__SYNC_WAIT_MS_MAX", "100"),
        ];
        let launch = stage.launch(name, &log, &variables)?;
        let policy = Folder::prepare(&launch.policy)?;
        let plain = [
            ("TOLLGATE_FEATURES__IN_FLIGHT_EXPIRES_S", "2"),
            ("TOLLGATE_LATE_VERDICT__AGE_MAX_S", "2"),
        ];
        let beside = log.beside("uninterrupted", SHAPE).await?;
        let uninterrupted = stage.launch(&format!("{name}-uninterrupted"), &beside, &plain)?;
        let uninterrupted = uninterrupted.start().await?;
        let fresh = stage.launch(&format!("{name}-fresh"), &beside, &plain)?;
        uninterrupted.wait_until_ready(PATIENCE).await?;
        let seed = stage.setting.seed;
        Ok(Self {
            durability,
            rounds: stage.count(ROUNDS, ROUNDS_QUICK),
            seed,
            dice: Dice::new(seed, durability as u64),
            traffic: Traffic::new(seed, log.producer()?)?,
            log,
            launch,
            snapshots,
            policy,
            uninterrupted,
            fresh,
            seen: Seen::default(),
        })
    }

    async fn carry_out(mut self) -> Result<Vec<Row>> {
        let mut service = self.launch.start().await?;
        service.wait_until_ready(PATIENCE).await?;
        let client = Client::connect(
            &service.addresses.grpc,
            1,
            Arc::clone(&self.traffic.requests),
        );
        let client = client.await?;
        for round in 0..self.rounds {
            let moment = Moment::ALL[usize::try_from(round % 4)?];
            service = Box::pin(self.round(round, moment, service, &client))
                .await
                .with_context(|| format!("round {round}, {moment:?}"))?;
        }
        self.end(service).await
    }

    /// Kills the service at some moment under load, starts it again, and holds it against the one that was not killed.
    async fn round(
        &mut self,
        round: u64,
        moment: Moment,
        service: Service,
        client: &Client,
    ) -> Result<Service> {
        let client = client.beside(&service.addresses.grpc, 4).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let feeding = {
            let (traffic, stop) = (Arc::clone(&self.traffic), Arc::clone(&stop));
            tokio::spawn(async move { traffic.feed(EVENTS_PER_S, &stop).await })
        };
        let traffic = Arc::clone(&self.traffic);
        let killing = self.kill(round, moment, service);
        let (_, killed) = traffic.ask(&client, REQUESTS_PER_S, killing).await?;
        let said = killed?;
        let began = Instant::now();
        let service = self.launch.start().await?;
        service.wait_until_ready(PATIENCE).await?;
        let restarted = began.elapsed();
        self.seen.restarts.push(restarted);
        stop.store(true, Ordering::Relaxed);
        feeding.await.context("the feeder panicked")??;
        self.traffic.producer.flush().await?;
        let ours = digest(&service, &self.log, PATIENCE).await?;
        let theirs = digest(&self.uninterrupted, &self.log, PATIENCE).await?;
        let verdict = if ours.is_same(&theirs) {
            "same"
        } else {
            self.seen.different += 1;
            "DIFFERENT"
        };
        println!(
            "   {} round {round}: {moment:?}, {said}; ready after {:.2} s; {} events, {verdict}",
            self.durability.name(),
            restarted.as_secs_f64(),
            ours.events,
        );
        if !ours.is_same(&theirs) {
            println!("   {ours:?}\n   {theirs:?}");
        }
        Ok(service)
    }

    /// Kills it, and says when.
    async fn kill(&mut self, round: u64, moment: Moment, mut service: Service) -> Result<String> {
        let mut random = |low, high| Duration::from_secs_f64(self.dice.between(low, high));
        // Some load in any case.
        sleep(random(0.1, 0.9)).await;
        let (at, after) = match moment {
            Moment::Ingest => ("", random(0.0, 1.0)),
            Moment::Snapshot => {
                unfinished_comes(&self.snapshots).await?;
                (" into a snapshot", random(0.0, 0.006))
            }
            Moment::Swap => {
                let (policy, number) = (self.policy.clone(), usize::try_from(round)?);
                let kind = CHANGES[number / Moment::ALL.len() % CHANGES.len()];
                let change = move || policy.change(kind, number);
                tokio::task::spawn_blocking(change).await??;
                (" after a change of the policy", random(0.0, 0.8))
            }
            Moment::Drain => {
                service.terminate()?;
                (" after SIGTERM", random(0.0, 0.8))
            }
        };
        sleep(after).await;
        let has_ended = service.ended()?.is_some();
        self.seen.stopping += u64::from(moment == Moment::Drain && !has_ended);
        service.kill()?;
        self.seen.torn += u64::from(has_unfinished(&self.snapshots)?);
        let answered = self.traffic.answered().len();
        self.seen.kills.push((Instant::now(), answered));
        let ended = if has_ended { ", had ended" } else { "" };
        Ok(format!("{} ms{at}{ended}", after.as_millis()))
    }

    /// Holds what is left at the end against a service that reads the whole log once, and decisions against their log.
    async fn end(self, service: Service) -> Result<Vec<Row>> {
        let answered = self.traffic.answered();
        let fresh = self.fresh.start().await?;
        fresh.wait_until_ready(PATIENCE).await?;
        let (events, labels) = self.traffic.published();
        let known = digest(&fresh, &self.log, PATIENCE).await?;
        let ours = digest(&service, &self.log, PATIENCE).await?;
        // Before the service is asked of sample cards, which are decisions, too.
        self.log.wait_until_quiet(DECISIONS, QUIET).await?;
        let compared = decisions::compare(&self.log, answered.clone()).await?;
        let sample = Sample {
            cards: super::traffic::CARDS,
            seed: self.seed,
            count: SAMPLED,
        };
        let at_s = self.traffic.last_event_time_s() + 60;
        let from_fresh = aggregates::ask(&fresh, sample, at_s).await?;
        let from_killed = aggregates::ask(&service, sample, at_s).await?;
        let from_uninterrupted = aggregates::ask(&self.uninterrupted, sample, at_s).await?;
        let differing = aggregates::differing(&from_fresh, &from_killed)
            + aggregates::differing(&from_fresh, &from_uninterrupted);
        let features = from_fresh.iter().map(Vec::len).sum::<usize>();
        let none = Goal::AtMost(0.0);
        let off = known.events.abs_diff(events) + known.labels.abs_diff(labels);
        let mut restarts = self.seen.restarts.clone();
        restarts.sort_unstable();
        let restart = |at: usize| restarts.get(at).map_or(0.0, Duration::as_secs_f64);
        let mut rows = vec![
            Row::new("rounds", "count", count(self.seen.kills.len()))
                .goal(Goal::AtLeast(count(self.rounds))),
            Row::new("rounds_different", "count", count(self.seen.different)).goal(none),
            Row::new(
                "end_different",
                "count",
                count(u64::from(!ours.is_same(&known))),
            )
            .goal(none),
            Row::new("events", "count", count(events)).goal(Goal::AtLeast(1.0)),
            Row::new("labels", "count", count(labels)).goal(Goal::AtLeast(1.0)),
            Row::new("events_lost_or_doubled", "count", count(off)).goal(none),
            Row::new("aggregates", "count", count(features)).goal(Goal::AtLeast(1.0)),
            Row::new("cards_different", "count", count(differing)).goal(none),
            Row::new("snapshots_torn", "count", count(self.seen.torn)),
            Row::new("killed_while_stopping", "count", count(self.seen.stopping)),
            Row::new("restart_p50", "s", restart(restarts.len() / 2)),
            Row::new(
                "restart_max",
                "s",
                restart(restarts.len().saturating_sub(1)),
            ),
            Row::new("answered", "count", count(answered.len())).goal(Goal::AtLeast(1.0)),
        ];
        rows.extend(self.decision_rows(&compared, &answered));
        Ok(rows)
    }

    fn decision_rows(
        &self,
        compared: &decisions::Compared,
        answered: &[super::traffic::Answered],
    ) -> Vec<Row> {
        let missing: HashSet<u64> = compared.missing.iter().copied().collect();
        let (mut per_kill_max, mut oldest, mut before) = (0, Duration::ZERO, 0);
        for (killed_at, by_then) in &self.seen.kills {
            let of_round = answered[before..*by_then].iter();
            let lost = of_round.filter(|answered| missing.contains(&answered.number));
            let ages = lost.map(|answered| killed_at.saturating_duration_since(answered.at));
            let ages: Vec<Duration> = ages.collect();
            per_kill_max = per_kill_max.max(ages.len());
            oldest = oldest.max(ages.into_iter().max().unwrap_or_default());
            before = *by_then;
        }
        let lost = Row::new("decisions_missing", "count", count(missing.len()));
        let per_kill = Row::new(
            "decisions_missing_per_kill_max",
            "count",
            count(per_kill_max),
        );
        let age_ms = oldest.as_secs_f64() * 1_000.0;
        let age = Row::new("decisions_missing_age_max", "ms", age_ms);
        let [lost, per_kill, age] = match self.durability {
            Durability::Async => [
                lost,
                per_kill.goal(Goal::AtMost(LOST_MAX)),
                age.goal(Goal::AtMost(LOST_AGE_MS_MAX)),
            ],
            Durability::SpoolFirst => [lost.goal(Goal::AtMost(0.0)), per_kill, age],
        };
        vec![
            lost,
            per_kill,
            age,
            Row::new(
                "decisions_missing_as_told",
                "count",
                count(compared.missing_as_told),
            ),
            Row::new("decisions_logged", "count", count(compared.logged)),
            Row::new("records_doubled", "count", count(compared.doubled)),
            Row::new(
                "decisions_logged_not_answered",
                "count",
                count(compared.unanswered),
            ),
        ]
    }
}

/// Waits until a snapshot is being written: it has another name until it is done.
async fn unfinished_comes(folder: &Path) -> Result<()> {
    let began = Instant::now();
    while !has_unfinished(folder)? {
        if began.elapsed() > SNAPSHOT_WAIT {
            bail!("no snapshot is being written within {SNAPSHOT_WAIT:?}");
        }
        // Not a timer of the runtime, which is a millisecond late: so long some snapshots take.
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_micros(200))).await?;
    }
    Ok(())
}

fn has_unfinished(folder: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        if entry?
            .file_name()
            .to_string_lossy()
            .ends_with(".unfinished")
        {
            return Ok(true);
        }
    }
    Ok(false)
}
