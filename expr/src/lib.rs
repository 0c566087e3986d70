//! The expression language of rules and features.
//!
//! An analyst's text such as `card.last("10m").count() >= 6` is scanned and bounded, parsed as CEL, checked
//! against the schema, and compiled to a flat [`Program`] over numbered slots. A [`Compiler`] does that for all
//! expressions of a policy and hands out a [`Layout`]: which slot holds which field, aggregate, list lookup or
//! feature. At decision time a [`Frame`] holds the slots' values and programs read them.
//!
//! Everything that can be wrong is found when a policy is loaded ([`Problem`]); evaluating cannot fail (EX-2).
//! This crate computes no aggregates and searches no lists: it says which are needed.

mod access;
mod check;
mod compile;
mod compiler;
mod cost;
mod distance;
mod frame;
mod grammar;
mod group;
mod implication;
mod kind;
mod layout;
mod limits;
mod lookups;
mod network;
mod parse;
mod parts;
mod pattern;
mod problem;
mod program;
mod scan;
mod share;
mod syntax;
mod tree;
mod values;

pub use compiler::{Compiled, Compiler};
pub use frame::Frame;
pub use group::Group;
pub use implication::Implications;
pub use kind::Type;
pub use layout::{Aggregate, Feature, Function, Layout, Lookup, SlotId, Written};
pub use lookups::{WrittenLookup, written_lookups};
pub use network::{Network, NetworkError};
pub use parts::{Part, Parts};
pub use problem::{Problem, Severity};
pub use program::{Program, Slots};
pub use share::{ConditionId, Conditions, Shared};

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
#[cfg(any(test, feature = "fuzz"))]
mod reference;
#[cfg(any(test, feature = "fuzz"))]
mod sample;
#[cfg(test)]
mod tests;
