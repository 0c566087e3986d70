//! Everything of a policy folder except models: schema, exchange rates, features, rules, lists and fallback.
//!
//! [`load`] reads a folder whole and says everything that is wrong with it at once. What it gives is plain data
//! without a clock or a thread: a decision fills a frame, runs [`RuleSet`] over it and asks for a [`Verdict`].

mod answer;
mod condition;
mod digest;
mod fallback;
mod features_file;
mod folder;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod fx_file;
mod guard;
mod kept;
mod list_file;
mod list_files;
mod list_use;
mod list_values;
mod lists;
mod load;
mod matches;
mod moment;
mod networks;
mod never_decides;
mod reach;
mod rule_file;
mod rule_set;
mod rule_tests;
mod schema_file;

pub use answer::Answer;
pub use digest::{Change, Digest, FileChange, version_of};
pub use fallback::{Fallback, StaleAggregates};
pub use guard::{Demotion, Guard, Guarding};
pub use kept::Kept;
pub(crate) use lists::Lookups;
pub use lists::{List, ListId, ListKind, Lists};
pub use load::{Logic, load, load_onto};
pub use matches::{Demoted, Matches, Verdict};
pub use moment::{MOMENT_HELP, parse as parse_moment};
pub use reach::{Period, Reach, Share};
pub use rule_set::{Mode, Rule, RuleIndex, RuleSet};
pub use rule_tests::{FillAggregates, Past, RuleTests, Scene, TestRun};
