//! Which databases a check looks at.

use std::collections::BTreeSet;

use anyhow::Result;

use super::record::Record;
use super::store_listing::StoreLook;
use crate::backup::CLUSTER;
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

/// Whether config backups are looked at: where each night is to have one, unless a database has the name that stands for
/// them.
pub(super) fn has_config(context: &Context, wanted: Option<&[String]>) -> bool {
    let config = &context.config.config_set;
    let names = match &context.config.source.databases {
        Databases::OfSource => &[context.config.source.connection.dbname().to_owned()],
        Databases::Named(names) => names.as_slice(),
        Databases::All => wanted.unwrap_or_default(),
    };
    (config.with_full || !config.files.is_empty()) && !names.iter().any(|name| name == CLUSTER)
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
