//! Scenarios 1 to 3 and 6: the champion sticks or throws, and the policy changes meanwhile.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, sleep_until};
use tollgate_proto::v1::{Degradation, Outcome, ScoreResponse};
use tollgate_report::{Goal, Row};

use super::drive::{Noted, Plan};
use super::service::{Service, prepare};
use super::wire::Reply;
use super::{Stage, Story};
use crate::figures::{count, figure};
use crate::lock;
use crate::models::choose;
use crate::swaps::folder::{Change, Folder, REPORTED};

const RATE: f64 = 2_000.0;
const DEADLINE: Duration = Duration::from_millis(50);
const CONNECTIONS: usize = 4;

const GOOD: &str = "travel-fraud/1";

/// Before anything happens: connections open, caches fill.
const WARM_UP: Duration = Duration::from_secs(2);

/// A change of the policy that shows in no answer within this never will.
const PATIENCE: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(5);

/// From saving the good model to the last decision that is not full.
const FULL_AGAIN_MS_MAX: f64 = 2_000.0;

/// Between two changes of a rule.
const RELOAD_EVERY: Duration = Duration::from_millis(100);

/// One saved policy in so many must have decided something: several that are saved while one is being loaded are loaded as one.
const SEEN_ONE_IN: u64 = 10;

struct Trouble {
    champion: &'static str,
    /// Threads that run the champion.
    threads: &'static str,
    /// Whether a rule is changed while it lasts.
    swap: bool,
}

pub(super) async fn stuck(stage: &Stage<'_>) -> Result<Story> {
    let trouble = Trouble {
        champion: "stuck/1",
        threads: "1",
        swap: false,
    };
    champion_in(stage, &trouble).await
}

pub(super) async fn throws(stage: &Stage<'_>) -> Result<Story> {
    let trouble = Trouble {
        champion: "throws/1",
        threads: "1",
        swap: false,
    };
    champion_in(stage, &trouble).await
}

pub(super) async fn swapped(stage: &Stage<'_>) -> Result<Story> {
    let trouble = Trouble {
        champion: "stuck/1",
        threads: "2",
        swap: true,
    };
    champion_in(stage, &trouble).await
}

/// What answers have shown so far.
struct Shown {
    versions: BTreeSet<String>,
    version: String,
    /// The number of the change that the latest answer was decided by, of those that name one.
    change: Option<u64>,
    /// The latest answer that was full and had a score, and the latest that was not.
    full_at: Instant,
    not_full_at: Instant,
    in_trouble: bool,
    /// While the champion is in trouble: at `NO_MODEL`, certain declines, and anything else.
    no_model: u64,
    certain: u64,
    other: u64,
}

impl Shown {
    fn new() -> Arc<Mutex<Self>> {
        let now = Instant::now();
        Arc::new(Mutex::new(Self {
            versions: BTreeSet::new(),
            version: String::new(),
            change: None,
            full_at: now,
            not_full_at: now,
            in_trouble: false,
            no_model: 0,
            certain: 0,
            other: 0,
        }))
    }

    fn note(&mut self, noted: &Noted<'_>) {
        let Reply::Answer(response, _) = noted.reply else {
            return;
        };
        if self.version != response.policy_version {
            self.version.clone_from(&response.policy_version);
            self.versions.insert(self.version.clone());
        }
        self.change = change(response).or(self.change);
        let certain = is_certain(response);
        let full = response.degradation() == Degradation::Full;
        if full && response.has_score {
            self.full_at = Instant::now();
        } else if !certain {
            self.not_full_at = Instant::now();
        }
        if self.in_trouble {
            let no_model = response.degradation() == Degradation::NoModel;
            self.no_model += u64::from(no_model);
            self.certain += u64::from(certain);
            self.other += u64::from(!no_model && !certain);
        }
    }
}

/// The number of the change that an answer was decided by: that of the file that is saved last.
fn change(response: &ScoreResponse) -> Option<u64> {
    let mut matches = response.shadow_matches.iter();
    matches.find_map(|id| id.strip_prefix(REPORTED)?.parse().ok())
}

/// A decline that nothing could have changed: nobody was asked, and nothing is left out.
fn is_certain(response: &ScoreResponse) -> bool {
    response.degradation() == Degradation::Full
        && !response.has_score
        && response.outcome() == Outcome::Decline
}

/// Waits until answers show something, and returns how long that took.
async fn wait_for(
    shown: &Mutex<Shown>,
    since: Instant,
    what: impl Fn(&Shown) -> bool,
) -> Result<Duration> {
    while !what(&lock(shown)) {
        if since.elapsed() > PATIENCE {
            bail!("a change of the policy shows in no answer after {PATIENCE:?}");
        }
        sleep(POLL).await;
    }
    Ok(since.elapsed())
}

/// What happened, besides answers.
struct Course {
    /// From changing a rule until it decided, with every thread of the model stuck.
    swap: Option<Duration>,
    /// From saving the good model to the first full answer, and to the last that was not.
    full_again: Option<Duration>,
    last_not_full: Duration,
}

async fn champion_in(stage: &Stage<'_>, trouble: &Trouble) -> Result<Story> {
    let policy = prepare(stage, Some(GOOD))?;
    let folder = Folder::prepare(&policy)?;
    let variables = [("TOLLGATE_MODEL__THREADS", trouble.threads)];
    let service = Service::serve(stage, policy, &variables).await?;
    let client = service.client(stage, CONNECTIONS).await?;
    let shown = Shown::new();
    let noting = Arc::clone(&shown);
    let plan = Plan {
        rate: RATE,
        deadline: DEADLINE,
    };
    let note = move |noted: &Noted<'_>| lock(&noting).note(noted);
    let course = course(stage, trouble, (&service, &folder), &shown);
    let (seen, course) = client.drive(plan, note, course).await?;
    let course = course?;
    let late = service.late().await?;
    let shown = lock(&shown);
    let millis = |span: Duration| span.as_secs_f64() * 1_000.0;
    let mut rows = vec![
        Row::new("trouble.no_model", "count", count(shown.no_model)).goal(Goal::AtLeast(1.0)),
        Row::new("trouble.certain_declines", "count", count(shown.certain)),
        Row::new("trouble.other_level", "count", count(shown.other)).goal(Goal::AtMost(0.0)),
        figure("full_again", "ms", course.full_again.map(millis))
            .goal(Goal::AtMost(FULL_AGAIN_MS_MAX)),
        Row::new("last_not_full", "ms", millis(course.last_not_full))
            .goal(Goal::AtMost(FULL_AGAIN_MS_MAX)),
    ];
    if trouble.swap {
        rows.push(figure("swap_live", "ms", course.swap.map(millis)).goal(Goal::AtMost(1_000.0)));
    }
    Ok(Story {
        seen,
        late,
        deadline: DEADLINE,
        offered_per_s: RATE,
        rows,
        note: String::new(),
    })
}

/// Good, in trouble, good.
async fn course(
    stage: &Stage<'_>,
    trouble: &Trouble,
    (service, folder): (&Service, &Folder),
    shown: &Mutex<Shown>,
) -> Result<Course> {
    sleep(WARM_UP).await;
    let good = lock(shown).version.clone();
    choose(&service.policy, trouble.champion)?;
    wait_for(shown, Instant::now(), |shown| shown.version != good).await?;
    lock(shown).in_trouble = true;
    sleep(stage.seconds(8)).await;
    let mut swap = None;
    if trouble.swap {
        let before = lock(shown).version.clone();
        folder.change(Change::Good, 1)?;
        let saved = Instant::now();
        swap = wait_for(shown, saved, |shown| shown.version != before)
            .await
            .ok();
    }
    sleep(stage.seconds(7)).await;
    lock(shown).in_trouble = false;
    choose(&service.policy, GOOD)?;
    let saved = Instant::now();
    let full_again = wait_for(shown, saved, |shown| shown.full_at > saved)
        .await
        .ok();
    sleep(stage.seconds(3)).await;
    let not_full_at = lock(shown).not_full_at;
    Ok(Course {
        swap,
        full_again,
        last_not_full: not_full_at.saturating_duration_since(saved),
    })
}

/// Scenario 6: a rule is saved every 100 ms.
pub(super) async fn reloads(stage: &Stage<'_>) -> Result<Story> {
    let policy = prepare(stage, None)?;
    let folder = Folder::prepare(&policy)?;
    let service = Service::serve(stage, policy, &[]).await?;
    let client = service.client(stage, CONNECTIONS).await?;
    let shown = Shown::new();
    let noting = Arc::clone(&shown);
    let plan = Plan {
        rate: RATE,
        deadline: DEADLINE,
    };
    let note = move |noted: &Noted<'_>| lock(&noting).note(noted);
    let (seen, saved) = client.drive(plan, note, save_again(stage, &folder)).await?;
    let saved = saved?;
    let (live, last) = {
        let shown = lock(&shown);
        (shown.versions.len(), shown.change)
    };
    let loads = service.admin.sum("tollgate_policy_loads_total").await?;
    Ok(Story {
        seen,
        late: service.late().await?,
        deadline: DEADLINE,
        offered_per_s: RATE,
        rows: vec![
            Row::new("rules_saved", "count", count(saved)).goal(Goal::AtLeast(1.0)),
            Row::new("policy_loads", "count", count(loads)),
            Row::new("versions_seen", "count", count(live))
                .goal(Goal::AtLeast(count((saved / SEEN_ONE_IN).max(2)))),
            // They are numbered from 0.
            figure("last_live", "number", last.map(count)).goal(Goal::AtLeast(count(saved) - 1.0)),
        ],
        note: String::new(),
    })
}

/// Returns how often rules were saved.
async fn save_again(stage: &Stage<'_>, folder: &Folder) -> Result<u64> {
    sleep(WARM_UP).await;
    let until = Instant::now() + stage.seconds(20);
    let mut saved = 0;
    while Instant::now() < until {
        let next = Instant::now() + RELOAD_EVERY;
        let root = Folder::clone(folder);
        let number = usize::try_from(saved)?;
        tokio::task::spawn_blocking(move || root.change(Change::Good, number)).await??;
        saved += 1;
        sleep_until(next).await;
    }
    // The last is live within a second.
    sleep(Duration::from_secs(2)).await;
    Ok(saved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_change_that_decides_is_the_last_that_an_answer_names() {
        let shown = Shown::new();
        let note = |rules: &[&str]| {
            let response = ScoreResponse {
                shadow_matches: rules.iter().map(|rule| (*rule).to_owned()).collect(),
                ..ScoreResponse::default()
            };
            lock(&shown).note(&Noted {
                due: Instant::now(),
                reply: &Reply::Answer(response, bytes::Bytes::new()),
            });
            lock(&shown).change
        };
        assert_eq!(note(&["other"]), None);
        assert_eq!(note(&["other", "swap-reported-7"]), Some(7));
        assert_eq!(note(&[]), Some(7));
        assert_eq!(note(&["swap-reported-6"]), Some(6));
    }

    #[test]
    fn a_certain_decline_is_no_other_level_and_a_score_in_trouble_is() {
        let shown = Shown::new();
        lock(&shown).in_trouble = true;
        let note = |level: Degradation, outcome: Outcome, has_score: bool| {
            let response = ScoreResponse {
                degradation: level.into(),
                outcome: outcome.into(),
                has_score,
                ..ScoreResponse::default()
            };
            lock(&shown).note(&Noted {
                due: Instant::now(),
                reply: &Reply::Answer(response, bytes::Bytes::new()),
            });
        };
        note(Degradation::NoModel, Outcome::Flag, false);
        note(Degradation::Full, Outcome::Decline, false);
        note(Degradation::Full, Outcome::Approve, true);
        note(Degradation::RequestOnly, Outcome::Approve, false);
        let shown = lock(&shown);
        assert_eq!((shown.no_model, shown.certain, shown.other), (1, 1, 2));
    }
}
