//! Progress for people who watch and for logs: a bar on a terminal, a line every tenth elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Progress of one phase towards a known total.
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    /// Tenths of the total that were printed; unused with a bar.
    tenths: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total).with_message(what);
            match ProgressStyle::with_template("{msg:<10} {wide_bar} {percent:>3} %  {eta:>4} left")
            {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            what,
            total,
            done: 0,
            tenths: 0,
            bar,
        }
    }

    /// Sets how much is done; never goes back.
    pub(crate) fn set(&mut self, done: u64) {
        self.done = self.done.max(done.min(self.total));
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None => {
                let tenths = tenths(self.done, self.total);
                if tenths > self.tenths {
                    self.tenths = tenths;
                    eprintln!("{}: {} %", self.what, tenths * 10);
                }
            }
        }
    }

    pub(crate) fn finish(mut self) {
        self.set(self.total);
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }
}

/// How many tenths of the total are done; ten for an empty total.
fn tenths(done: u64, total: u64) -> u64 {
    done.saturating_mul(10).checked_div(total).unwrap_or(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_grow_with_what_is_done() {
        assert_eq!(
            [0, 9, 10, 55, 100].map(|done| tenths(done, 100)),
            [0, 0, 1, 5, 10]
        );
        assert_eq!(tenths(0, 0), 10);
    }
}
