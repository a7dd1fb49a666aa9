//! What carries a plan out, and what all of its steps ask.

use anyhow::{Result, anyhow};

use super::super::context::Context;
use super::plan::{Plan, Scope};
use crate::catalog::Catalog;
use crate::catalog::kept::Kept;

/// What carries a plan out.
pub(super) struct Work<'a> {
    pub(super) context: &'a Context,
    pub(super) plan: &'a Plan<'a>,
    pub(super) scope: &'a Scope<'a>,
}

impl Work<'_> {
    /// What is on record of a database now.
    pub(super) fn rows(&self, catalog: &mut Catalog, database: &str) -> Result<Vec<Kept>> {
        let (rows, mut odd) = catalog.all_kept(self.scope.source, Some(&[database.to_owned()]))?;
        odd.remove(database).map_or(Ok(rows), |why| Err(anyhow!(why)))
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.context.interrupt.is_raised()
    }
}
