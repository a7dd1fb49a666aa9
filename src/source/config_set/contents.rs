//! What a config set holds of the server, as it is asked for.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{DATABASES, Document, GLOBALS, HBA, Notes, SERVER_FILES, SETTINGS};
use crate::connect::ConnectOptions;
use crate::conninfo::ConnInfo;
use crate::exit::one_line;
use crate::files;
use crate::interrupt::Interrupt;
use crate::source::clients::Client;
use crate::source::globals::{GlobalsPlan, globals};
use crate::source::server::Server;

/// How what is not known of the server's files, and of extensions, is said in the notes.
pub(super) const SERVERS_FILES: &str =
    "the files that the server is configured by, whose names the role may not see";
pub(super) const EXTENSIONS_OF: &str = "the extensions of";
/// No file that configures a server is larger.
const FILE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// What is asked, and by what.
pub struct Asked<'a> {
    /// A database of the cluster.
    pub connection: &'a ConnInfo,
    /// How it is connected to.
    pub options: &'a ConnectOptions<'a>,
    /// Finds the `pg_dumpall` for a server of that major version.
    pub find_client: &'a dyn Fn(u32) -> Result<Client>,
    /// How long `pg_dumpall` may give nothing before the server is asked whether it is there.
    pub stall: Duration,
    /// Ends it early.
    pub interrupt: &'a Interrupt,
}

/// Asks a server for all that belongs to its cluster. What the role may not see is in the notes.
///
/// # Errors
/// When it can't be reached, or its roles, settings and databases can't be read.
pub fn of_server(asked: &Asked<'_>) -> Result<(Vec<Document>, Notes)> {
    let mut server = Server::connect(asked.connection, asked.options)?;
    let facts = server.facts()?;
    let client = (asked.find_client)(facts.major)?;
    let has_passwords = server.may_read_passwords()?;
    let mut notes = Notes {
        server_version: facts.version.clone(),
        system_identifier: server.system_identifier(),
        has_passwords,
        hides_settings: !server.may_read_settings()?,
        ..Notes::default()
    };
    let plan = GlobalsPlan {
        client: &client,
        connection: asked.connection,
        connect_timeout: asked.options.connect_timeout,
        stall: asked.stall,
        with_passwords: has_passwords,
    };
    let mut documents = vec![
        Document { name: GLOBALS.to_owned(), bytes: globals(&plan, asked.interrupt)? },
        Document { name: SETTINGS.to_owned(), bytes: server.settings()?.into_bytes() },
        Document { name: DATABASES.to_owned(), bytes: databases(asked, &mut server, &mut notes)? },
    ];
    match server.hba_rules() {
        Some(rules) => documents.push(Document { name: HBA.to_owned(), bytes: rules.into_bytes() }),
        None => notes.unread.push("the rules of pg_hba.conf".to_owned()),
    }
    let files = server.files()?;
    if files.is_empty() {
        notes.unread.push(SERVERS_FILES.to_owned());
    }
    for file in files {
        let here = || files::read_limited(Path::new(&file.path), FILE_LIMIT_BYTES).ok();
        match file.bytes.or_else(here) {
            Some(bytes) => {
                let parts = Path::new(&file.path).components();
                let plain = parts.filter(|part| matches!(part, Component::Normal(_))).collect::<PathBuf>();
                documents.push(Document { name: format!("{SERVER_FILES}/{}", plain.display()), bytes });
            }
            None => notes.unread.push(file.path),
        }
    }
    Ok((documents, notes))
}

/// The databases with the extensions of each, and what the cluster says of itself.
fn databases(asked: &Asked<'_>, server: &mut Server, notes: &mut Notes) -> Result<Vec<u8>> {
    let listed: Vec<BTreeMap<String, Value>> =
        serde_json::from_str(&server.cluster()?).context("the server's list of databases is none")?;
    let mut databases = Vec::new();
    for mut database in listed {
        let name = database.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if database.get("allows_connections") == Some(&Value::Bool(true)) && !asked.interrupt.is_raised() {
            let connection = asked.connection.with_dbname(&name);
            let extensions = Server::connect(&connection, asked.options)
                .and_then(|mut server| server.extensions())
                .and_then(|text| Ok(serde_json::from_str::<Value>(&text)?));
            match extensions {
                Ok(extensions) => drop(database.insert("extensions".to_owned(), extensions)),
                Err(error) => notes.unread.push(format!("{EXTENSIONS_OF} `{name}`: {}", one_line(&error))),
            }
        }
        databases.push(database);
    }
    let document = json!({
        "server_version": notes.server_version,
        "data_checksums": server.data_checksums(),
        "system_identifier": notes.system_identifier,
        "databases": databases,
        "settings_of_all_roles": server.settings_of_all_roles()?,
    });
    Ok(serde_json::to_vec_pretty(&document)?)
}
