//! What a server says of the whole cluster: its settings, its databases, the files that it is configured by. As JSON
//! documents that the server makes itself, and the bytes of files.

use anyhow::{Context as _, Result};
use postgres::SimpleQueryMessage;

use super::server::Server;
use crate::params;

/// A file that the server is configured by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFile {
    /// Where the server has it.
    pub path: String,
    /// What is in it, where the role may read it through the server.
    pub bytes: Option<Vec<u8>>,
}

impl Server {
    /// Whether the role may read the hashes of passwords.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub fn may_read_passwords(&mut self) -> Result<bool> {
        let asked = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')";
        Ok(self.client.query_one(asked, params![])?.try_get(0)?)
    }

    /// Whether the role may see every setting.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub fn may_read_settings(&mut self) -> Result<bool> {
        let asked = "SELECT pg_catalog.pg_has_role('pg_read_all_settings', 'MEMBER')";
        Ok(self.client.query_one(asked, params![])?.try_get(0)?)
    }

    /// Every setting that is not the default, with the place where it is set, as far as the role may see it.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub fn settings(&mut self) -> Result<String> {
        let unpinned = format!(
            "BEGIN READ ONLY; RESET ALL; SET LOCAL exit_on_error = off; SET LOCAL statement_timeout = '60s'; \
             {}; ROLLBACK",
            as_document(SETTINGS)
        );
        let told = self.client.ask(move |client| {
            let answer = client.simple_query(&unpinned);
            if answer.is_err() {
                client.batch_execute("ROLLBACK")?;
            }
            let rows = answer?;
            let row = rows.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            });
            row.map(str::to_owned).context("the server does not say")
        });
        told.or_else(|error| {
            log::info!("settings of this session hide those of the server: {error:#}");
            self.document(SETTINGS)
        })
    }

    /// Every database of the cluster, and what the cluster says of itself. Their extensions are for each to say.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub fn cluster(&mut self) -> Result<String> {
        let provider = self.has_column("pg_database", "datlocprovider")?;
        let locale = ["datlocale", "daticulocale"].into_iter();
        let mut found = None;
        for column in locale {
            if found.is_none() && self.has_column("pg_database", column)? {
                found = Some(column);
            }
        }
        let provider = if provider { "d.datlocprovider::pg_catalog.text" } else { "'c'" };
        let locale = found.map_or_else(|| "NULL".to_owned(), |column| format!("d.{column}"));
        self.document(&CLUSTER.replace("{provider}", provider).replace("{locale}", &locale))
    }

    /// The extensions of the database connected to.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub fn extensions(&mut self) -> Result<String> {
        self.document(EXTENSIONS)
    }

    /// What identifies the cluster; nothing where the role may not ask.
    pub fn system_identifier(&mut self) -> Option<String> {
        let asked = "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()";
        self.client.query_one(asked, params![]).ok()?.try_get(0).ok()
    }

    /// Whether its pages have checksums; nothing where it does not say.
    pub fn data_checksums(&mut self) -> Option<bool> {
        let asked = "SELECT pg_catalog.current_setting('data_checksums') = 'on'";
        self.client.query_one(asked, params![]).ok()?.try_get(0).ok()
    }

    /// The rules of `pg_hba.conf` as the server understands them; nothing where the role may not ask.
    pub fn hba_rules(&mut self) -> Option<String> {
        // Since version 16 one file may include others.
        if !self.may_select("pg_hba_file_rules") {
            return None;
        }
        let has_number = self.has_column("pg_hba_file_rules", "rule_number").ok()?;
        let order = if has_number { "rule_number, file_name, line_number" } else { "line_number" };
        self.document(&format!("SELECT * FROM pg_catalog.pg_hba_file_rules ORDER BY {order}")).ok()
    }

    /// The files that the server is configured by, as far as it names them.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub fn files(&mut self) -> Result<Vec<ServerFile>> {
        let mut paths: Vec<String> = Vec::new();
        // What the role may not see it does not ask for: each refusal would stand in the server's log.
        let mut queries = Vec::new();
        if self.may_read_settings()? {
            queries.extend([NAMED_FILES.to_owned(), AUTO_FILE.to_owned()]);
        }
        if self.may_select("pg_file_settings") {
            queries.push(SOURCE_FILES.to_owned());
        }
        for view in INCLUDING {
            if self.may_select(view) && self.has_column(view, "file_name").unwrap_or_default() {
                queries.push(format!("SELECT DISTINCT file_name FROM pg_catalog.{view} ORDER BY 1"));
            }
        }
        for query in queries {
            let rows = self.client.query(query, params![]).unwrap_or_default();
            for row in rows {
                let path: Option<String> = row.try_get(0)?;
                paths.extend(path.filter(|path| !path.is_empty()));
            }
        }
        let may_read = self.may(
            "pg_catalog.has_function_privilege('pg_catalog.pg_read_binary_file(pg_catalog.text)', 'EXECUTE')",
        );
        let mut files: Vec<ServerFile> = Vec::new();
        for path in paths {
            if !files.iter().any(|file| file.path == path) {
                let bytes = if may_read { self.read_file(&path) } else { None };
                files.push(ServerFile { path, bytes });
            }
        }
        Ok(files)
    }

    fn read_file(&mut self, path: &str) -> Option<Vec<u8>> {
        let asked = "SELECT pg_catalog.pg_read_binary_file($1)";
        self.client.query_one(asked, params![path]).ok()?.try_get(0).ok()
    }

    /// Whether the role may read a view of the system's; where there is none it may not.
    fn may_select(&mut self, view: &str) -> bool {
        self.may(&format!(
            "coalesce(pg_catalog.has_table_privilege(pg_catalog.to_regclass('pg_catalog.{view}'), 'SELECT'), false)"
        ))
    }

    fn may(&mut self, condition: &str) -> bool {
        let row = self.client.query_one(format!("SELECT {condition}"), params![]);
        row.and_then(|row| Ok(row.try_get(0)?)).unwrap_or_default()
    }

    fn has_column(&mut self, table: &str, column: &str) -> Result<bool> {
        let asked = "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute \
                     WHERE attrelid = pg_catalog.to_regclass($1) AND attname = $2 AND NOT attisdropped)";
        Ok(self.client.query_one(asked, params![format!("pg_catalog.{table}"), column])?.try_get(0)?)
    }

    fn document(&mut self, query: &str) -> Result<String> {
        let row = self.client.query_one(as_document(query), params![]).context("the server does not say")?;
        Ok(row.try_get(0)?)
    }
}

fn as_document(query: &str) -> String {
    format!(
        "SELECT coalesce(pg_catalog.json_agg(pg_catalog.row_to_json(t)), '[]')::pg_catalog.text FROM ({query}) t"
    )
}

/// What the session, its role or its database set is nothing of the server's; the latter two stand with those. What
/// every session of ours sets would hide the server's own value: this is asked while all is as the server has it,
/// the search path too, so that nothing in it may be looked for there, no operator either.
const SETTINGS: &str = "\
SELECT name, setting, unit, source, sourcefile, sourceline, context, vartype, boot_val, pending_restart
FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.<>) ALL (ARRAY[
    'default', 'client', 'session', 'interactive', 'user', 'database', 'database user']::pg_catalog.text[])
ORDER BY name";

const CLUSTER: &str = "\
SELECT d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner,
    pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype,
    {provider} AS provider, {locale} AS locale, d.datistemplate AS is_template,
    d.datallowconn AS allows_connections, d.datconnlimit AS connection_limit, t.spcname AS tablespace,
    d.datacl::pg_catalog.text AS acl,
    CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')
        THEN pg_catalog.pg_database_size(d.oid) END AS size_bytes,
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('role', r.rolname, 'settings', s.setconfig)
            ORDER BY r.rolname NULLS FIRST)
        FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
        WHERE s.setdatabase = d.oid) AS settings
FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
ORDER BY d.datname";

const EXTENSIONS: &str = "\
SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY e.extname";

const NAMED_FILES: &str = "\
SELECT pg_catalog.current_setting(name) FROM pg_catalog.unnest(ARRAY['config_file', 'hba_file', 'ident_file']) name";

const SOURCE_FILES: &str = "\
SELECT DISTINCT sourcefile FROM pg_catalog.pg_file_settings WHERE sourcefile IS NOT NULL ORDER BY 1";

/// What tells, since version 16, of the files that others include.
const INCLUDING: [&str; 2] = ["pg_hba_file_rules", "pg_ident_file_mappings"];

const AUTO_FILE: &str = "\
SELECT pg_catalog.current_setting('data_directory') || '/postgresql.auto.conf'";
