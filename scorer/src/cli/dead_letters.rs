//! `tollgate dead-letters`: what could not be read, and, after a fix, the same records sent again.

use std::cell::Cell;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tollgate_types::{EventTime, Span};

use super::{CommandError, Common};
use crate::config::KafkaConfig;
use crate::ingest::replay::{self, Groups, Listed, Replayed, Step, Window};
use crate::{clock, kafka};

/// There was no replay, or Kafka did not take all of it. Records that still cannot be read end it with 1.
const NOT_RUN: u8 = 2;

/// Between two lines that say how far it is, where there is no terminal to draw a bar on.
const TELL_EVERY: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    what: DeadLettersCommand,
}

#[derive(Subcommand)]
enum DeadLettersCommand {
    /// Show what could not be read and was not sent again, by what was wrong
    List(Letters),
    /// Send again what can be read now. Ends with 0 if that is all, with 1 if some cannot be read still or are
    /// gone, with 2 if it could not run
    Replay {
        #[command(flatten)]
        letters: Letters,
        /// Only tell what could be sent
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args)]
struct Letters {
    /// Leave out letters written before: a moment, 2026-12-01T10:00:00Z, or how long ago, 2h
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<EventTime>,
    /// Leave out letters written then and later
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<EventTime>,
}

fn moment(text: &str) -> Result<EventTime, String> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(EventTime::from_micros(timestamp.as_microsecond()));
    }
    match Span::parse(text) {
        Ok(ago) => Ok(clock::wall_time().minus(ago)),
        Err(_) => Err("write a moment, like 2026-12-01T10:00:00Z, or how long ago, like 2h".into()),
    }
}

impl DeadLetters {
    pub(super) fn run(self, common: &Common) -> ExitCode {
        self.try_run(common).unwrap_or_else(|error| {
            error.tell();
            ExitCode::from(NOT_RUN)
        })
    }

    fn try_run(self, common: &Common) -> Result<ExitCode, CommandError> {
        let config = common.load()?;
        let kafka = kafka::settle(&config.kafka).context("settings")?;
        if kafka.bootstrap.is_empty() {
            return Err(anyhow!(
                "kafka.bootstrap names no broker; write the one that the service reads from (the embedded broker's is in \
                 its log)"
            )
            .into());
        }
        let progress = Progress::new()?;
        let tell = |step| progress.tell(step);
        match self.what {
            DeadLettersCommand::List(letters) => {
                let listed = replay::list(&kafka, letters.window(), &tell);
                progress.finish();
                print!("{}", listing(&listed.context("dead letters")?, &kafka));
                Ok(ExitCode::SUCCESS)
            }
            DeadLettersCommand::Replay { letters, dry_run } => {
                // What a record has to be: models and their library are not needed for that.
                let logic = tollgate_rules::load(&config.policy.path);
                let (logic, _) = logic.map_err(CommandError::Policy)?;
                let how = (letters.window(), dry_run);
                let replayed = replay::replay(&kafka, &logic, how, &tell);
                progress.finish();
                let replayed = replayed.context("dead letters")?;
                print!("{}", report(&replayed, &kafka, dry_run));
                Ok(code(&replayed))
            }
        }
    }
}

impl Letters {
    const fn window(&self) -> Window {
        Window {
            since: self.since,
            until: self.until,
        }
    }
}

fn code(replayed: &Replayed) -> ExitCode {
    if replayed.failed.count() > 0 {
        ExitCode::from(NOT_RUN)
    } else if replayed.unreadable.count() + replayed.gone.count() > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn listing(listed: &Listed, kafka: &KafkaConfig) -> String {
    let open = listed.errors.count();
    let mut text = format!(
        "{} has letters about {}; {} sent again\n",
        kafka.dead_letters_topic,
        records(listed.records),
        were(listed.replayed)
    );
    text += &foreign(listed.foreign);
    if open > 0 {
        text += "\nnot sent again:\n";
        text += &groups(&listed.errors, true);
    }
    text
}

fn report(replayed: &Replayed, kafka: &KafkaConfig, dry_run: bool) -> String {
    let mut text = format!(
        "{} has letters about {}; {} sent again before\n",
        kafka.dead_letters_topic,
        records(replayed.records),
        were(replayed.before)
    );
    text += &foreign(replayed.foreign);
    let sent = match dry_run {
        true => "can be read now",
        false => "sent again",
    };
    let counts = [
        (sent, replayed.sent),
        ("still unreadable", replayed.unreadable.count()),
        ("gone", replayed.gone.count()),
        ("not taken by Kafka", replayed.failed.count()),
    ];
    for (what, count) in counts {
        text += &format!("{count:>10} {what}\n");
    }
    if replayed.unmarked > 0 {
        text += &format!(
            "of {} it could not be noted that they were sent; the next replay sends them again, which changes no count\n",
            records(replayed.unmarked)
        );
    }
    let lists = [
        ("still unreadable", &replayed.unreadable),
        ("gone", &replayed.gone),
        ("not taken by Kafka", &replayed.failed),
    ];
    for (what, list) in lists.into_iter().filter(|(_, list)| list.count() > 0) {
        text += &format!("\n{what}:\n{}", groups(list, false));
    }
    text
}

/// What was wrong, how often, and where for example.
fn groups(groups: &Groups, with_times: bool) -> String {
    let mut text = String::new();
    for group in groups.largest_first() {
        text += &format!("{:>10} {}\n", group.count, group.error);
        if with_times {
            text += &format!("{:>10} from {} to {}\n", "", group.first, group.last);
        }
        let more = if group.count > group.examples.len() as u64 {
            ", …"
        } else {
            ""
        };
        text += &format!("{:>10} {}{more}\n", "", group.examples.join(", "));
    }
    text
}

fn foreign(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => "one more record there is no letter of ours\n".to_owned(),
        _ => format!("{count} more records there are no letters of ours\n"),
    }
}

fn records(count: u64) -> String {
    match count {
        1 => "1 record".to_owned(),
        _ => format!("{count} records"),
    }
}

fn were(count: u64) -> String {
    match count {
        0 => "none was".to_owned(),
        1 => "1 was".to_owned(),
        _ => format!("{count} were"),
    }
}

/// A bar on standard error or, where that is no terminal, a line now and then.
struct Progress {
    bar: Option<ProgressBar>,
    told: Cell<Instant>,
}

impl Progress {
    fn new() -> anyhow::Result<Self> {
        let style = ProgressStyle::with_template("{prefix:20} {bar:40} {pos}/{len} {eta:>4}")?;
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| ProgressBar::new(0).with_style(style));
        Ok(Self {
            bar,
            told: Cell::new(clock::instant()),
        })
    }

    fn tell(&self, Step { doing, done, of }: Step) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(doing);
            bar.set_length(of);
            bar.set_position(done);
            return;
        }
        let now = clock::instant();
        if now.saturating_duration_since(self.told.get()) >= TELL_EVERY {
            self.told.set(now);
            tracing::info!(done, of, "{doing}");
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
