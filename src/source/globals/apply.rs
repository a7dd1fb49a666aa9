//! Roles, memberships and tablespaces brought into a cluster: what is there already is left as it is.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow};

use super::script::{About, Statement, beginning, statements, without_secrets, words};
use crate::params;
use crate::source::server::Server;
use crate::source::target::quoted;

/// What a server would write into its log of statements that hold the hashes of passwords; who may not set it leaves it.
const QUIET: [&str; 3] = [
    "SET log_statement = 'none'",
    "SET log_min_duration_statement = -1",
    "SET log_min_error_statement = 'panic'",
];

/// What a new role is not, and only a superuser may say.
const USUAL: [&str; 3] = ["NOSUPERUSER", "NOREPLICATION", "NOBYPASSRLS"];

/// What is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct There {
    /// The names of roles.
    pub roles: BTreeSet<String>,
    /// The names of tablespaces.
    pub tablespaces: BTreeSet<String>,
}

/// What is to be done, and what is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// About roles: all of it or nothing.
    pub roles: Vec<Statement>,
    /// About tablespaces, which no transaction takes: one by one.
    pub tablespaces: Vec<Statement>,
    /// The roles that are there already, in the order of the script.
    pub left_roles: Vec<String>,
    /// The tablespaces that are.
    pub left_tablespaces: Vec<String>,
    /// Memberships and rights of roles that are there already.
    pub left_rights: Vec<String>,
}

impl Plan {
    /// What of a script is to be done where all that is there.
    ///
    /// # Errors
    /// When it holds anything else than `pg_dumpall` writes; names the beginning of that.
    pub fn of(script: &str, there: &There) -> Result<Self> {
        let mut plan = Self::default();
        for statement in statements(script) {
            let is_there = |role: &String| there.roles.contains(role);
            match &statement.about {
                About::Unknown => {
                    let beginning = beginning(&statement.sql);
                    return Err(anyhow!(
                        "it holds a statement that pg_dumpall does not write: `{beginning} ...`"
                    ));
                }
                // What is said of the session is so anyway, and who grants stands with each right.
                About::Session | About::Authorization(_) => {}
                About::NewRole(name) | About::Role(name) if is_there(name) => {
                    remember(&mut plan.left_roles, name);
                }
                About::Membership { of, member } if is_there(of) && is_there(member) => {
                    plan.left_rights.push(statement.sql);
                }
                About::Parameter { role } if is_there(role) => plan.left_rights.push(statement.sql),
                About::NewTablespace(name) | About::Tablespace(name) if there.tablespaces.contains(name) => {
                    remember(&mut plan.left_tablespaces, name);
                }
                About::NewTablespace(_) | About::Tablespace(_) => plan.tablespaces.push(statement),
                // These come with the database.
                About::Role(_) if words(&statement.sql).get(3).is_some_and(|word| word.is("IN")) => {
                    plan.left_rights.push(statement.sql);
                }
                About::NewRole(_) | About::Role(_) => {
                    plan.roles.push(Statement { sql: without_what_is_usual(&statement.sql), ..statement });
                }
                About::Membership { .. } | About::Parameter { .. } => plan.roles.push(statement),
            }
        }
        Ok(plan)
    }

    /// The names of the roles that it makes, and those of the tablespaces.
    #[must_use]
    pub fn made(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let roles = self.roles.iter().filter_map(|statement| match &statement.about {
            About::NewRole(name) => Some(name.as_str()),
            _ => None,
        });
        let tablespaces = self.tablespaces.iter().filter_map(|statement| match &statement.about {
            About::NewTablespace(name) => Some(name.as_str()),
            _ => None,
        });
        (roles.collect(), tablespaces.collect())
    }
}

/// The SQL of a statement, in the name of whoever said it.
#[must_use]
pub fn lines(statement: &Statement) -> Vec<String> {
    let said = statement.by.as_ref().map(|by| format!("SET SESSION AUTHORIZATION {}", quoted(by)));
    let end = said.as_ref().map(|_| "RESET SESSION AUTHORIZATION".to_owned());
    said.into_iter().chain([statement.sql.clone()]).chain(end).collect()
}

/// `ALTER ROLE ... WITH ...` without what a new role is anyway, and what only a superuser may say of one.
fn without_what_is_usual(sql: &str) -> String {
    let words = words(sql);
    let is = |at: usize, keyword: &str| words.get(at).is_some_and(|word| word.is(keyword));
    let mut text = sql.to_owned();
    if is(0, "ALTER") && is(3, "WITH") {
        let usual = words
            .iter()
            .skip(4)
            .filter(|word| USUAL.iter().any(|keyword| word.is(keyword)))
            .collect::<Vec<_>>();
        for word in usual.into_iter().rev() {
            let after = text.get(word.range.end..).unwrap_or_default();
            let spaces = after.len().saturating_sub(after.trim_start().len());
            text.replace_range(word.range.start..word.range.end.saturating_add(spaces), "");
        }
    }
    text.trim_end().to_owned()
}

fn remember(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

impl Server {
    /// The roles and tablespaces of the cluster.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn globals(&mut self) -> Result<There> {
        let mut names = |query: &str| -> Result<BTreeSet<String>> {
            let rows = self.client.query(query, params![])?;
            rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
        };
        Ok(There {
            roles: names("SELECT rolname::pg_catalog.text FROM pg_catalog.pg_roles")?,
            tablespaces: names("SELECT spcname::pg_catalog.text FROM pg_catalog.pg_tablespace")?,
        })
    }

    /// Makes roles, memberships and what belongs to them: all or nothing.
    ///
    /// # Errors
    /// At the first statement that fails, which is named without what it hides; nothing is changed then.
    pub fn make_roles(&mut self, statements: &[Statement]) -> Result<()> {
        self.keep_quiet();
        // As the script was taken apart.
        self.client.batch_execute("SET standard_conforming_strings = on; BEGIN")?;
        for statement in statements {
            self.run(statement)?;
        }
        self.client.batch_execute("COMMIT")
    }

    /// Makes tablespaces, one statement after the other.
    ///
    /// # Errors
    /// At the first that fails; what was made before it stays.
    pub fn make_tablespaces(&mut self, statements: &[Statement]) -> Result<()> {
        self.client.batch_execute("SET standard_conforming_strings = on")?;
        statements.iter().try_for_each(|statement| self.run(statement))
    }

    fn run(&mut self, statement: &Statement) -> Result<()> {
        lines(statement).into_iter().try_for_each(|line| {
            let told = format!("the server refuses `{}`", without_secrets(&line));
            self.client.batch_execute(line).context(told)
        })
    }

    fn keep_quiet(&mut self) {
        for statement in QUIET {
            if let Err(error) = self.client.batch_execute(statement) {
                log::debug!("{statement}: {error:#}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_there_is_left_and_named() {
        let script = "SET client_encoding = 'UTF8';CREATE ROLE a;ALTER ROLE a WITH LOGIN;CREATE ROLE b;\
                      ALTER ROLE b WITH NOSUPERUSER INHERIT NOREPLICATION NOBYPASSRLS PASSWORD 'NOSUPERUSER';GRANT a TO c;GRANT a TO b;\
                      GRANT SET ON PARAMETER x TO a;CREATE TABLESPACE s OWNER a LOCATION '/s';CREATE TABLESPACE t OWNER a LOCATION '/t';\
                      GRANT b TO a;SET SESSION AUTHORIZATION c;GRANT SET ON PARAMETER x TO b";
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let there = There { roles: names(&["a", "c"]), tablespaces: names(&["s"]) };
        let plan = Plan::of(script, &there).unwrap();
        let sql = |list: &[Statement]| list.iter().map(|it| it.sql.clone()).collect::<Vec<_>>();
        assert_eq!(
            sql(&plan.roles),
            [
                "CREATE ROLE b",
                "ALTER ROLE b WITH INHERIT PASSWORD 'NOSUPERUSER'",
                "GRANT a TO b",
                "GRANT b TO a",
                "GRANT SET ON PARAMETER x TO b"
            ]
        );
        assert_eq!(sql(&plan.tablespaces), ["CREATE TABLESPACE t OWNER a LOCATION '/t'"]);
        assert_eq!(
            (plan.left_roles.as_slice(), plan.left_tablespaces.as_slice()),
            (&["a".to_owned()][..], &["s".to_owned()][..])
        );
        let (roles, tablespaces) = plan.made();
        assert_eq!((roles, tablespaces), (BTreeSet::from(["b"]), BTreeSet::from(["t"])));
    }
}
