//! Tells those who listen in the catalog's database, of something that is on record nowhere.

use anyhow::{Context as _, Result};

use super::Catalog;
use super::alerts::{LISTENED_TO, payload};
use crate::alert_record::{Alert, Event};
use crate::params;

impl Catalog {
    /// Tells them as of any alert.
    ///
    /// # Errors
    /// When the catalog can't be reached, or the server does not do it.
    pub fn notify(&mut self, event: Event, alert: &Alert) -> Result<()> {
        self.revive()?;
        let payload = payload(event, alert)?;
        self.client
            .query("SELECT pg_catalog.pg_notify($1, $2)", params![LISTENED_TO, payload])
            .context("cannot tell those who listen in the catalog's database")?;
        Ok(())
    }
}
