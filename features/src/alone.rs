//! Memory that threads do not share by accident.

/// A value on cache lines of its own: what every thread writes must not slow down reading what lies beside it. Two
/// lines, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Alone<T>(pub(crate) T);
