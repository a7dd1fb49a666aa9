//! What of a dump is restored, by its table of contents, and whether the target is ready for just that. It
//! touches nothing.

use std::collections::HashSet;
use std::io::Write as _;

use anyhow::Result;

use super::reading::{Attempt, Reading};
use crate::cli;
use crate::exit::{Failure, wrap};
use crate::interrupt::Interrupt;
use crate::source::clients::Client;
use crate::source::restore::{Content, Listing, Place, Selection};
use crate::source::server::Server;
use crate::source::target::quoted;

/// How many names an error repeats.
const SHOWN: usize = 5;
/// What `--table` picks, by the words of a dump's table of contents.
const RELATIONS: [&str; 5] = ["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"];
/// What rows and values go into.
const FILLED: [&str; 2] = ["TABLE DATA", "SEQUENCE SET"];

/// What the flags select.
pub(super) fn selection(flags: &cli::Restore) -> Selection {
    let content = match (flags.schema_only, flags.data_only) {
        (true, _) => Content::Schema,
        (_, true) => Content::Data,
        _ => Content::All,
    };
    Selection { content, schemas: flags.schemas.clone(), tables: flags.tables.clone() }
}

/// The flags that say how, as they would be given again; with a space before each.
pub(super) fn in_words(flags: &cli::Restore) -> String {
    let switches = [
        (flags.create, "--create"),
        (flags.clean, "--clean"),
        (flags.schema_only, "--schema-only"),
        (flags.data_only, "--data-only"),
        (flags.no_owner, "--no-owner"),
    ];
    let mut words: Vec<String> =
        switches.iter().filter(|(is_given, _)| *is_given).map(|(_, word)| (*word).to_owned()).collect();
    let mut add = |flag: &str, value: &str| words.push(format!("{flag} `{}`", value.escape_debug()));
    for schema in &flags.schemas {
        add("--schema", schema);
    }
    for table in &flags.tables {
        add("--table", table);
    }
    if let Some(role) = &flags.role {
        add("--role", role);
    }
    words.extend(flags.jobs.map(|jobs| format!("--jobs {jobs}")));
    words.insert(0, String::new());
    words.join(" ")
}

/// The entries of the dump that the selection means, read from its beginning, which is given back.
pub(super) fn entries(
    client: &Client,
    selection: &Selection,
    dump: &mut Reading<'_>,
    interrupt: Interrupt,
) -> Attempt<Vec<String>> {
    let mut listing = Listing::start(client, selection, interrupt)?;
    let mut taken = Vec::new();
    while let Some(block) = dump.next()? {
        let written = listing.write_all(&block);
        taken.push(block);
        // It has read enough, or failed, which it says at its end.
        if written.is_err() {
            break;
        }
    }
    let found = listing.finish();
    dump.give_back(taken);
    Ok(found.map_err(|error| not_listed(error, selection))?)
}

fn not_listed(error: anyhow::Error, selection: &Selection) -> anyhow::Error {
    if !selection.is_by_name() {
        return wrap(error, "the dump's table of contents can't be read");
    }
    let what = "the dump does not have what --schema and --table name";
    let hint = "names stand as they are, without quotes, the schema by itself: --schema sales --table Orders";
    error.context(Failure::failed(what).hint(hint))
}

/// What is to be restored, and into what.
pub(super) struct Scope<'a> {
    pub(super) selection: &'a Selection,
    pub(super) entries: &'a [String],
    pub(super) place: Place,
    pub(super) catalog_schema: &'a str,
}

impl Scope<'_> {
    /// Makes sure that the schemas are there: `pg_restore` makes none when it is told to pick.
    pub(super) fn ensure_schemas(&self, server: &mut Server) -> Result<()> {
        if !self.selection.is_by_name() {
            return Ok(());
        }
        let there = match self.place {
            Place::Connected => server.schemas()?,
            // What every database has from the start.
            Place::New => vec!["public".to_owned()],
        };
        let missing = self.selection.schemas.iter().find(|name| !there.contains(name));
        if let Some(name) = missing {
            let hint = match self.place {
                Place::Connected => format!("make it first: CREATE SCHEMA {}", quoted(name)),
                Place::New => {
                    "restore all with --create, or pick from it into a database that is there".to_owned()
                }
            };
            let what = format!("there is no schema `{}` to restore into", name.escape_debug());
            return Err(Failure::failed(what).hint(hint).into());
        }
        let is_homeless = |entry: &&String| {
            let is_in = |schema: &String| {
                let schema = one_line(schema);
                RELATIONS.iter().any(|kind| entry.starts_with(&format!("{kind} {schema} ")))
            };
            let is_relation = RELATIONS.iter().any(|kind| entry.starts_with(&format!("{kind} ")));
            let is_data = FILLED.iter().any(|kind| entry.starts_with(&format!("{kind} ")));
            is_relation && !is_data && !there.iter().any(is_in)
        };
        if self.selection.schemas.is_empty()
            && let Some(entry) = self.entries.iter().find(is_homeless)
        {
            let what = format!("the schema of `{}` is not there to restore into", entry.escape_debug());
            return Err(Failure::failed(what).hint("make it first: CREATE SCHEMA").into());
        }
        Ok(())
    }

    /// Makes sure that what is picked is not there yet.
    pub(super) fn ensure_free(&self, server: &mut Server) -> Result<()> {
        let hint = "give --clean to drop what is picked first, or name another database";
        if self.selection.tables.is_empty() {
            let held = server.held(self.catalog_schema, Some(&self.selection.schemas))?;
            if held.is_empty() {
                return Ok(());
            }
            let names = self.selection.schemas.join("`, `");
            let what =
                format!("the schema `{}` of the target is not empty: it has {held}", names.escape_debug());
            return Err(Failure::failed(what).hint(hint).into());
        }
        let in_the_way: Vec<String> = server
            .relations()?
            .into_iter()
            .map(|relation| format!("{} {}", one_line(&relation.schema), one_line(&relation.name)))
            .filter(|name| {
                RELATIONS.iter().any(|kind| {
                    let start = format!("{kind} {name} ");
                    self.entries.iter().any(|entry| entry.starts_with(&start))
                })
            })
            .collect();
        if in_the_way.is_empty() {
            return Ok(());
        }
        let what = format!("the target has this already: {}", shown(&in_the_way));
        Err(Failure::failed(what).hint(hint).into())
    }

    /// Makes sure that the tables that rows are for are there.
    pub(super) fn ensure_tables(&self, server: &mut Server) -> Result<()> {
        let there: HashSet<String> = server
            .relations()?
            .iter()
            .map(|relation| format!("{} {}", one_line(&relation.schema), one_line(&relation.name)))
            .collect();
        // Where a name ends and the owner's begins is not marked: any of the places will do.
        let is_there = |rest: &str| {
            rest.match_indices(' ').any(|(at, _)| rest.get(..at).is_some_and(|name| there.contains(name)))
        };
        let missing: Vec<String> = self
            .entries
            .iter()
            .filter_map(|entry| FILLED.iter().find_map(|kind| entry.strip_prefix(&format!("{kind} "))))
            .filter(|rest| !is_there(rest))
            .map(str::to_owned)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let what =
            format!("the target lacks what the rows are for (schema, name, owner): {}", shown(&missing));
        Err(Failure::failed(what).hint("restore the definitions first: --schema-only").into())
    }
}

/// A name as a dump's table of contents has it.
fn one_line(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

fn shown(names: &[String]) -> String {
    let mut text: Vec<String> =
        names.iter().take(SHOWN).map(|name| format!("`{}`", name.escape_debug())).collect();
    if names.len() > SHOWN {
        text.push(format!("and {} more", names.len() - SHOWN));
    }
    text.join(", ")
}
