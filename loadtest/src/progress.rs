//! Progress for people who watch and for logs: a bar on a terminal, a line every tenth elsewhere.

use std::io::{IsTerminal, stderr, stdout};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

/// Progress of one phase towards a known total.
pub(crate) struct Progress {
    total: u64,
    started: Instant,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    Lines(Lines),
}

/// Plain text, where a bar that redraws itself would only be noise.
struct Lines {
    phase: &'static str,
    total: u64,
    /// Tenths of the total that were printed.
    tenths: u64,
}

impl Progress {
    pub(crate) fn new(phase: &'static str, total: u64) -> Self {
        let shown = if stderr().is_terminal() && stdout().is_terminal() {
            Shown::Bar(bar(phase, total))
        } else {
            Shown::Lines(Lines {
                phase,
                total,
                tenths: 0,
            })
        };
        Self {
            total,
            started: Instant::now(),
            shown,
        }
    }

    /// Says how much is done by now.
    pub(crate) fn set(&mut self, done: u64) {
        match &mut self.shown {
            Shown::Bar(bar) => bar.set_position(done),
            Shown::Lines(lines) => {
                if let Some(line) = lines.next(done, self.started.elapsed()) {
                    eprintln!("{line}");
                }
            }
        }
    }

    pub(crate) fn finish(mut self) {
        self.set(self.total);
        if let Shown::Bar(bar) = self.shown {
            bar.finish();
        }
    }
}

fn bar(phase: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_message(phase);
    let template = "{msg:<10} {wide_bar} {percent:>3} %  {elapsed:>4}, {eta:>4} left";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Lines {
    /// The line that is due, if another tenth is done. Nothing to do is all done.
    fn next(&mut self, done: u64, elapsed: Duration) -> Option<String> {
        let tenths = (done * 10).checked_div(self.total).unwrap_or(10);
        if tenths <= self.tenths {
            return None;
        }
        self.tenths = tenths;
        let (percent, seconds) = (tenths * 10, elapsed.as_secs_f64());
        Some(format!("{}: {percent} % after {seconds:.1} s", self.phase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(total: u64, done: &[u64]) -> Vec<String> {
        let mut lines = Lines {
            phase: "live",
            total,
            tenths: 0,
        };
        let next = |&done| lines.next(done, Duration::from_millis(done * 100));
        done.iter().filter_map(next).collect()
    }

    #[test]
    fn every_tenth_is_one_line_with_the_seconds_so_far() {
        assert_eq!(
            lines(100, &[0, 9, 10, 19, 55, 100, 100]),
            [
                "live: 10 % after 1.0 s",
                "live: 50 % after 5.5 s",
                "live: 100 % after 10.0 s"
            ]
        );
    }

    #[test]
    fn nothing_to_do_is_all_done() {
        assert_eq!(lines(0, &[0]), ["live: 100 % after 0.0 s"]);
    }
}
