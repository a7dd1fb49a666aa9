//! Passwords, and their hashes, that a server takes without putting them down anywhere: neither in its log, nor where it shows
//! what was asked (`pg_stat_activity`, `pg_stat_statements`). No utility statement takes a parameter, and parameters are logged
//! as well: so they go into a temporary table by COPY, whose data no server logs, and a block of PL/pgSQL that holds none of
//! them has each said by the server itself.

use std::io::Write;

use anyhow::{Context, Result};

use super::Statement;
use crate::connect::BoundedClient;
use crate::exit::Failure;
use crate::params;
use crate::source::server::Server;

/// What a server would write down of statements that hold hashes. Who may not set one of these leaves it, and the way that
/// hashes take does without.
const QUIET: [(&str, &str); 15] = [
    ("log_statement", "none"),
    ("log_min_duration_statement", "-1"),
    ("log_min_duration_sample", "-1"),
    ("log_transaction_sample_rate", "0"),
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
    ("debug_print_raw_parse", "off"),
    ("debug_print_parse", "off"),
    ("debug_print_rewritten", "off"),
    ("debug_print_plan", "off"),
    ("md5_password_warnings", "off"),
    ("pg_stat_statements.track_utility", "off"),
    ("pg_stat_statements.track", "none"),
    ("pg_stat_monitor.pgsm_track", "none"),
    ("pgaudit.log", "none"),
];
/// What of these there is, and this role may set: a refusal would stand in the server's log.
const MAY_SET: &str = "SELECT s.name FROM pg_catalog.pg_settings AS s, pg_catalog.pg_roles AS r \
    WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER AND s.name OPERATOR(pg_catalog.=) ANY ($1) \
    AND (r.rolsuper OR s.context OPERATOR(pg_catalog.=) 'user')";

const TABLE: &str = "CREATE TEMPORARY TABLE pgkeep_secret (role pg_catalog.text NOT NULL, secret pg_catalog.text NOT NULL) \
    ON COMMIT DROP";
const COPY: &str = "COPY pg_temp.pgkeep_secret (role, secret) FROM STDIN";
/// Whether this role may make the table, and have the block run, in this database.
const MAY_GO: &str = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database()::pg_catalog.text, 'TEMPORARY'), \
    EXISTS (SELECT FROM pg_catalog.pg_language AS l WHERE l.lanname OPERATOR(pg_catalog.=) 'plpgsql' \
    AND pg_catalog.has_language_privilege(l.oid, 'USAGE'))";
/// An error that passes by is told with the statement that it comes from: it is caught, and told anew without.
const BLOCK: &str = "DO $pgkeep$
DECLARE
    one record;
    code pg_catalog.text;
    told pg_catalog.text;
    more pg_catalog.text;
    what_to_do pg_catalog.text;
BEGIN
    FOR one IN SELECT s.role, s.secret FROM pg_temp.pgkeep_secret AS s LOOP
        EXECUTE pg_catalog.format('ALTER ROLE %I WITH PASSWORD %L', one.role, one.secret);
    END LOOP;
EXCEPTION WHEN query_canceled OR OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, told = MESSAGE_TEXT, more = PG_EXCEPTION_DETAIL,
        what_to_do = PG_EXCEPTION_HINT;
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = pg_catalog.format('role %I: %s', one.role, told), DETAIL = more,
        HINT = what_to_do;
END
$pgkeep$";

/// Whether a server keeps what was said inside of a block, and so may have put down hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nowhere that is known of.
    None,
    /// In `pg_stat_statements`, which this role may not quieten.
    Statements,
}

impl Server {
    pub(super) fn keep_quiet(&mut self) -> Result<()> {
        let names: Vec<String> = QUIET.iter().map(|(name, _)| (*name).to_owned()).collect();
        for row in self.client.query(MAY_SET, params![names])? {
            let name: String = row.try_get(0)?;
            let Some((_, value)) = QUIET.iter().find(|(known, _)| *known == name) else { continue };
            self.client.query("SELECT pg_catalog.set_config($1, $2, false)", params![name, *value])?;
        }
        Ok(())
    }

    /// Makes sure that passwords can go their way in this database.
    pub(super) fn ensure_way_of_passwords(&mut self, statements: &[Statement]) -> Result<()> {
        if statements.iter().all(|statement| statement.deed.password().is_none()) {
            return Ok(());
        }
        let row = self.client.query_one(MAY_GO, params![])?;
        let lacks = match (row.try_get(0)?, row.try_get(1)?) {
            (false, _) => "the right to make temporary tables (TEMPORARY)",
            (true, false) => "the language plpgsql, or the right to use it",
            (true, true) => return Ok(()),
        };
        let what = format!("passwords can't be set by way of this database: this role lacks {lacks} there");
        Err(Failure::failed(what).hint("name another database of the cluster in --into (`postgres`)").into())
    }

    /// Sets what these statements say of passwords, in the transaction that is open.
    pub(super) fn set_passwords(&mut self, statements: &[Statement]) -> Result<Trace> {
        let mut data = Vec::new();
        for (role, secret) in statements.iter().filter_map(|statement| statement.deed.password()) {
            writeln!(data, "{}\t{}", escaped(role), escaped(secret))?;
        }
        if data.is_empty() {
            return Ok(Trace::None);
        }
        self.client.execute(TABLE, params![]).context("passwords need a temporary table on their way")?;
        self.copy(data).context("passwords can't be handed over")?;
        self.client.execute(BLOCK, params![]).context("the server refuses a password")?;
        self.trace()
    }

    fn copy(&mut self, data: Vec<u8>) -> Result<()> {
        let client: &mut BoundedClient = &mut self.client;
        client.ask(move |client| {
            let mut writer = client.copy_in(COPY)?;
            writer.write_all(&data)?;
            writer.finish()?;
            Ok(())
        })
    }

    fn trace(&mut self) -> Result<Trace> {
        let asked = "SELECT pg_catalog.current_setting('pg_stat_statements.track', true), \
            pg_catalog.current_setting('pg_stat_statements.track_utility', true)";
        let row = self.client.query_one(asked, params![])?;
        let (track, utility): (Option<String>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let is_kept = track.as_deref() == Some("all") && utility.as_deref() == Some("on");
        Ok(if is_kept { Trace::Statements } else { Trace::None })
    }
}

/// A value of COPY's text format.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}
