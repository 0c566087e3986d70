//! Rows that cannot be read: the first one ends the run, unless some are allowed.

use anyhow::bail;

/// Bad rows shown; further ones are counted.
const SHOWN_MAX: usize = 5;

/// A row that cannot be read, and why.
#[derive(Debug)]
pub(super) struct BadRow {
    /// Line or row of the file.
    pub(super) place: u64,
    pub(super) problem: String,
}

#[derive(Debug, Default)]
pub(super) struct BadRows {
    allowed: u64,
    count: u64,
    first: Vec<String>,
}

impl BadRows {
    pub(super) fn new(allowed: u64) -> Self {
        Self {
            allowed,
            ..Self::default()
        }
    }

    /// Counts a bad row, or ends the run with it. `place` is as people find it.
    pub(super) fn note(&mut self, place: &str, problem: &str) -> anyhow::Result<()> {
        self.count += 1;
        if self.count > self.allowed {
            if self.allowed == 0 {
                bail!("{place}: {problem} (--skip-bad-rows N leaves out up to N such rows)");
            }
            bail!(
                "more than {} bad rows; {}{place}: {problem}",
                self.allowed,
                self.shown()
            );
        }
        if self.first.len() < SHOWN_MAX {
            self.first.push(format!("{place}: {problem}"));
        }
        Ok(())
    }

    /// What was left out, if anything.
    pub(super) fn summary(&self) -> Option<String> {
        let verb = if self.count == 1 {
            "row was"
        } else {
            "rows were"
        };
        (self.count > 0).then(|| {
            format!(
                "{} bad {verb} left out:\n  {}",
                self.count,
                self.shown().trim_end()
            )
        })
    }

    fn shown(&self) -> String {
        let mut shown = self.first.join("\n  ");
        if self.count > SHOWN_MAX as u64 {
            shown.push_str("\n  …");
        }
        shown.push_str("\n  ");
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_row_ends_the_run_unless_some_are_allowed() {
        let error = BadRows::new(0)
            .note("a.csv:3", "column amount is odd")
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("a.csv:3: column amount is odd (--skip")
        );

        let mut two = BadRows::new(2);
        assert!(two.summary().is_none());
        two.note("a.csv:3", "one").unwrap();
        two.note("a.csv:5", "two").unwrap();
        let expected = "2 bad rows were left out:\n  a.csv:3: one\n  a.csv:5: two";
        assert_eq!(two.summary().as_deref(), Some(expected));
        let error = two.note("a.csv:9", "three").unwrap_err().to_string();
        assert_eq!(
            error,
            "more than 2 bad rows; a.csv:3: one\n  a.csv:5: two\n  a.csv:9: three"
        );
    }
}
