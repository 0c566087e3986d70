//! What is kept of one entity: its events, or steps that they were merged into.

use crate::history::History;
use crate::steps::Steps;

#[derive(Debug)]
pub(crate) enum Kept {
    Rows(History),
    /// For entities that the schema gives a resolution.
    Steps(Box<Steps>),
}

impl Default for Kept {
    fn default() -> Self {
        Self::Rows(History::default())
    }
}

impl Kept {
    /// Bytes of memory beyond this value itself.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Rows(history) => history.bytes(),
            Self::Steps(steps) => steps.bytes(),
        }
    }

    /// Moves events into memory anew. Steps are few and rarely change their size.
    pub(crate) fn repack(&mut self) {
        if let Self::Rows(history) = self {
            history.repack();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Rows(history) => history.rows() == 0,
            Self::Steps(steps) => steps.is_empty(),
        }
    }

    pub(crate) const fn rows(&self) -> Option<&History> {
        match self {
            Self::Rows(history) => Some(history),
            Self::Steps(_) => None,
        }
    }

    pub(crate) const fn rows_mut(&mut self) -> Option<&mut History> {
        match self {
            Self::Rows(history) => Some(history),
            Self::Steps(_) => None,
        }
    }

    /// The steps of an entity that is kept in steps; an empty one is given them.
    pub(crate) fn steps_mut(&mut self) -> &mut Steps {
        if let Self::Rows(_) = self {
            *self = Self::Steps(Box::default());
        }
        match self {
            Self::Steps(steps) => steps,
            Self::Rows(_) => unreachable!("it was given steps above"),
        }
    }
}
