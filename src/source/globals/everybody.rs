//! `ALTER ROLE ALL SET ...`, which `pg_dumpall` leaves out: read from a server, and said again. As strings like
//! `work_mem=9MB`, as the server keeps them.

use anyhow::{Context, Result};

use super::script::{Deed, Name};
use crate::params;
use crate::source::server::Server;

/// Settings whose value is a list of names, each quoted by itself (`variable_is_guc_list_quote` of PostgreSQL's).
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];
const ASKED: &str = "SELECT u.one FROM pg_catalog.pg_db_role_setting AS s, pg_catalog.unnest(s.setconfig) AS u (one) \
    WHERE s.setdatabase OPERATOR(pg_catalog.=) '0'::pg_catalog.oid AND s.setrole OPERATOR(pg_catalog.=) '0'::pg_catalog.oid";

impl Server {
    /// What is set for all roles in all databases.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn settings_of_all_roles(&mut self) -> Result<Vec<String>> {
        let rows = self.client.query(ASKED, params![]).context("the settings of all roles can't be read")?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

/// What one of these says; nothing for what is none.
pub(super) fn deed(setting: &str) -> Option<Deed> {
    let (name, value) = setting.split_once('=')?;
    let is_list = LISTS.contains(&name);
    let values = is_list.then(|| names(value)).flatten().unwrap_or_else(|| vec![value.to_owned()]);
    let name = Name { text: name.to_owned(), is_quoted: true };
    Some(Deed::EverybodysSetting { name, values })
}

/// The parts of a list, of which those in quotes may hold anything.
fn names(list: &str) -> Option<Vec<String>> {
    let (mut found, mut rest) = (Vec::new(), list.trim());
    loop {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let pairs = quoted.match_indices('"').scan(None, |skipped, (at, _)| {
                let is_second = *skipped == Some(at);
                let is_pair = !is_second && quoted.get(at.saturating_add(1)..)?.starts_with('"');
                *skipped = is_pair.then(|| at.saturating_add(1));
                Some((at, !is_second && !is_pair))
            });
            let end = pairs.filter(|(_, is_end)| *is_end).map(|(at, _)| at).next()?;
            (quoted.get(..end)?.replace("\"\"", "\""), quoted.get(end.saturating_add(1)..)?)
        } else {
            let (name, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            (name.trim_end().to_owned(), after)
        };
        found.push(name);
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(found);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::For;
    use super::*;

    #[test]
    fn a_setting_is_said_as_it_is_kept() {
        for (setting, sql) in [
            ("work_mem=9MB", "ALTER ROLE ALL SET \"work_mem\" TO '9MB'"),
            ("app.x=a=b, 'c'\\", "ALTER ROLE ALL SET \"app.x\" TO E'a=b, ''c''\\\\'"),
            (
                "search_path=\"$user\", public, \"a, \"\"b\"",
                "ALTER ROLE ALL SET \"search_path\" TO '$user', 'public', 'a, \"b'",
            ),
            ("search_path=\"\"", "ALTER ROLE ALL SET \"search_path\" TO ''"),
            ("DateStyle=SQL, DMY", "ALTER ROLE ALL SET \"DateStyle\" TO 'SQL, DMY'"),
        ] {
            assert_eq!(deed(setting).map(|deed| deed.sql(For::Server)).as_deref(), Some(sql));
        }
        assert_eq!(deed("nothing"), None);
    }
}
