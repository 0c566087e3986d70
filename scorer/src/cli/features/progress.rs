//! How far a run is: a bar over the bytes of the history, with rows a second.

use std::fs::File;
use std::io::Read;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock;

/// A progress bar on standard error; nothing is drawn where that is no terminal.
#[derive(Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    pub(super) fn new(doing: &'static str) -> anyhow::Result<Self> {
        let style =
            ProgressStyle::with_template("{prefix:20} {bar:40} {percent:>3}% {eta:>4} {msg}")?;
        let bar = ProgressBar::new(0).with_style(style).with_prefix(doing);
        Ok(Self {
            bar,
            started: clock::instant(),
        })
    }

    /// The file has this many bytes.
    pub(super) fn of_bytes(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    pub(super) fn wrap_read(&self, file: File) -> impl Read + Send + 'static {
        self.bar.wrap_read(file)
    }

    /// Rows read of a file that is not read from one end to the other.
    pub(super) fn of_rows(&self, read: u64, total: u64) {
        let bytes = u128::from(self.bar.length().unwrap_or(0));
        let position = bytes * u128::from(read) / u128::from(total.max(1));
        self.bar
            .set_position(u64::try_from(position).unwrap_or(u64::MAX));
    }

    /// Rows that are done.
    pub(super) fn rows(&self, rows: u64) {
        self.bar
            .set_message(format!("{rows} rows, {:.0}/s", self.per_second(rows)));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn seconds(&self) -> f64 {
        clock::instant()
            .saturating_duration_since(self.started)
            .as_secs_f64()
    }

    #[expect(clippy::cast_precision_loss, reason = "for show")]
    pub(super) fn per_second(&self, rows: u64) -> f64 {
        rows as f64 / self.seconds().max(1e-3)
    }
}
