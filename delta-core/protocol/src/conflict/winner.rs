//! The commit that was faster.

use std::collections::BTreeSet;

use super::concatenation::Concatenations;
use crate::action::{Action, Add, CommitInfo, Remove};

/// A commit that was faster.
#[derive(Debug, Clone, Copy)]
pub struct Winner<'a> {
    /// Its version.
    pub version: u64,
    /// Its actions.
    pub actions: &'a [Action],
}

impl<'a> Winner<'a> {
    /// Its commit info, if it has one.
    pub fn info(&self) -> Option<&'a CommitInfo> {
        self.actions.iter().find_map(|action| match action {
            Action::CommitInfo(info) => Some(info),
            _ => None,
        })
    }

    /// What it says that it did.
    pub fn operation(&self) -> String {
        self.info().and_then(|info| info.operation.clone()).unwrap_or_else(|| "unknown operation".to_owned())
    }

    /// Whether it says that it added rows without reading any.
    pub fn is_blind_append(&self) -> bool {
        self.info().is_some_and(|info| info.is_blind_append == Some(true))
    }

    pub(super) fn adds(&self) -> impl Iterator<Item = &'a Add> + use<'a> {
        self.actions.iter().filter_map(|action| match action {
            Action::Add(add) => Some(add),
            _ => None,
        })
    }

    pub(super) fn removes(&self) -> impl Iterator<Item = &'a Remove> + use<'a> {
        self.actions.iter().filter_map(|action| match action {
            Action::Remove(remove) => Some(remove),
            _ => None,
        })
    }

    /// Paths that it removes, in whatever form.
    pub(super) fn removed_paths(&self) -> BTreeSet<&'a str> {
        self.removes().map(|remove| remove.path.as_str()).collect()
    }

    /// How it put files one after the other, if it says so.
    pub(super) fn concatenations(&self) -> Concatenations {
        self.info().map(Concatenations::of_info).unwrap_or_default()
    }
}
