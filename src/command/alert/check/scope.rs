//! Which databases a check looks at.

use std::collections::BTreeSet;

use anyhow::Result;

use super::record::Record;
use super::shown::StoreLook;
use crate::command::context::Context;
use crate::config::Databases;
use crate::exit::{Failure, one_line};
use crate::source::server::Server;

/// The databases that are meant; `None` where the server, which should name them, can't be asked.
pub(super) fn wanted(
    context: &Context,
    named: &[String],
    notes: &mut Vec<String>,
) -> Result<Option<Vec<String>>> {
    if named.iter().any(String::is_empty) {
        return Err(Failure::usage("`--database` needs a name").into());
    }
    let source = &context.config.source;
    let names = match (named, &source.databases) {
        ([_, ..], _) => named.to_vec(),
        (_, Databases::OfSource) => vec![source.connection.dbname().to_owned()],
        (_, Databases::Named(names)) => names.clone(),
        (_, Databases::All) => {
            let asked = Server::connect(&source.connection, &context.connect_options())
                .and_then(|mut server| server.databases());
            match asked {
                Ok(names) => names,
                Err(error) => {
                    notes.push(format!(
                        "the source can't be asked for its databases, those that have backups were looked at: {}",
                        one_line(&error)
                    ));
                    return Ok(None);
                }
            }
        }
    };
    let mut once = Vec::new();
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    Ok(Some(once))
}

/// The databases that have something to restore, on record, or else in the stores.
pub(super) fn in_use(record: Option<&Record>, stores: &[StoreLook<'_>]) -> Vec<String> {
    let names: BTreeSet<String> = if let Some(record) = record {
        let usable = record.kept.iter().filter(|row| row.status.is_usable());
        usable.map(|row| row.database.clone()).collect()
    } else {
        let shown = stores.iter().filter_map(|look| look.shown.as_ref().ok());
        shown.flat_map(|shown| shown.databases.keys().cloned()).collect()
    };
    names.into_iter().collect()
}
