//! Cases that never answer, because an earlier one always does where they match.
//!
//! Only what is certain is said, level by level: the earlier case's condition follows from this one's, and it answers at
//! the level as well.

use std::ops::Range;
use std::sync::Arc;

use tollgate_expr::Implications;
use tollgate_source::{Diagnostic, Diagnostics, SourceFile};
use tollgate_types::Degradation;

/// A case as the order sees it.
pub(super) struct Placed {
    pub(super) id: Arc<str>,
    /// Its id in the file.
    pub(super) span: Range<usize>,
    pub(super) levels: Vec<Degradation>,
}

/// Warns of each case that an earlier one always answers before. The conditions in `implications` are those of the cases,
/// in their order.
pub(super) fn warn(
    cases: &[&Placed],
    implications: &Implications,
    file: &Arc<SourceFile>,
    notes: &mut Diagnostics,
) {
    for (at, case) in cases.iter().enumerate() {
        let before = |level: Degradation| {
            implications.first_implied(at, |other| {
                let earlier = cases.get(other).filter(|_| other < at);
                earlier.is_some_and(|earlier| earlier.levels.contains(&level))
            })
        };
        // Levels by the earlier case that answers at them.
        let mut taken: Vec<(usize, Vec<Degradation>)> = Vec::new();
        for &level in &case.levels {
            let Some(earlier) = before(level) else {
                continue;
            };
            match taken.iter_mut().find(|(other, _)| *other == earlier) {
                Some((_, levels)) => levels.push(level),
                None => taken.push((earlier, vec![level])),
            }
        }
        for (earlier, levels) in taken {
            if let Some(earlier) = cases.get(earlier) {
                notes.push(idle(case, earlier, &levels, file));
            }
        }
    }
}

fn idle(
    case: &Placed,
    earlier: &Placed,
    levels: &[Degradation],
    file: &Arc<SourceFile>,
) -> Diagnostic {
    let names: Vec<&str> = levels.iter().map(|level| level.name()).collect();
    let never = if levels == case.levels {
        "never answers".to_owned()
    } else {
        format!("never answers at {}", names.join(" and "))
    };
    let (id, other) = (&case.id, &earlier.id);
    let line = file.position(earlier.span.start).0;
    let message =
        format!("`{id}` {never}: whenever it matches, `{other}` does too and comes first");
    let help = format!(
        "the first case that matches answers: move this one above `{other}` (line {line}), let them ask different \
         things, or name other levels"
    );
    Diagnostic::warning(file, case.span.clone(), message).with_help(help)
}
