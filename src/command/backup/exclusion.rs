//! Which schema a dump leaves out: that of our own catalog, where it stands in the database. What somebody else put into
//! a schema of that name is dumped like anything else: neither is it read, nor does it go missing.

use anyhow::Result;

use super::run_record::RunRecord;
use crate::catalog::Catalog;
use crate::command::context::Context;
use crate::source::server::Server;

/// The schema that the dump of a database leaves out.
///
/// # Errors
/// When the server can't be asked.
pub(super) fn schema(
    context: &Context,
    run_record: &mut RunRecord<'_>,
    server: &mut Server,
    database: &str,
) -> Result<Option<String>> {
    let schema = &context.config.catalog.schema;
    let look = server.look_at(schema)?;
    if !look.exists {
        return Ok(None);
    }
    // It is the same one, whatever the role that dumps thinks of those who own it.
    let place = run_record.catalog().and_then(Catalog::place);
    if place.is_some() && place == server.place_of(schema) {
        return Ok(Some(schema.clone()));
    }
    if !look.has_tables {
        return Ok(None);
    }
    if !look.faults.is_empty() {
        log::warn!(
            "schema `{schema}` of `{database}` is not taken for a catalog, and is dumped like any other: {}",
            look.words()
        );
        return Ok(None);
    }
    if !look.has_history {
        return Ok(None);
    }
    let here = server.identity_in(schema)?;
    let ours = run_record.catalog().and_then(|catalog| catalog.identity().ok());
    let is_ours = match (&here, &ours) {
        (Some(here), Some(ours)) => here == ours,
        // The catalog can't be asked; by the configuration it is in this database.
        (Some(_), None) => {
            let catalog = context.config.catalog_connection();
            context.config.catalog.connection.is_none() && catalog.dbname() == database
        }
        (None, _) => false,
    };
    Ok(is_ours.then(|| schema.clone()))
}
