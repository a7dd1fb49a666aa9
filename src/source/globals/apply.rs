//! Roles, memberships and tablespaces brought into a cluster: what is there already is left as it is.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow};

use super::everybody;
use super::script::{Attribute, Deed, For, Name, Object, Statement, statements};
use crate::params;
use crate::source::server::Server;

mod passwords;

pub use passwords::Trace;

/// What a new role is not, and only a superuser may say.
const USUAL: [&str; 3] = ["NOSUPERUSER", "NOREPLICATION", "NOBYPASSRLS"];

/// What is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct There {
    /// The names of roles.
    pub roles: BTreeSet<String>,
    /// The names of tablespaces.
    pub tablespaces: BTreeSet<String>,
    /// Whether somebody is there whose rights grow with everybody's: a role that is neither a superuser nor PostgreSQL's own.
    pub has_ordinary_roles: bool,
    /// What is set for all roles.
    pub settings_of_all_roles: Vec<String>,
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
    pub left_rights: Vec<Statement>,
}

/// What becomes of a statement.
enum Fate {
    Passed,
    Roles,
    Tablespaces,
    LeftRole(Name),
    LeftTablespace(Name),
    LeftRight,
    Refused(String),
}

impl Plan {
    /// What of a script, and of what is set for all roles, is to be done where all that is there.
    ///
    /// # Errors
    /// When it holds anything else than `pg_dumpall` writes; names the line and the beginning of that.
    pub fn of(script: &str, settings_of_all_roles: &[String], there: &There) -> Result<Self> {
        let mut plan = Self::default();
        for mut statement in statements(script)? {
            match fate(&statement.deed, there) {
                Fate::Passed => {}
                Fate::Roles => {
                    leave_out_what_is_usual(&mut statement.deed);
                    plan.roles.push(statement);
                }
                Fate::Tablespaces => plan.tablespaces.push(statement),
                Fate::LeftRole(name) => remember(&mut plan.left_roles, &name),
                Fate::LeftTablespace(name) => remember(&mut plan.left_tablespaces, &name),
                Fate::LeftRight => plan.left_rights.push(statement),
                Fate::Refused(beginning) => {
                    let line = statement.line;
                    return Err(anyhow!(
                        "line {line}: it holds a statement that pg_dumpall does not write: `{beginning} ...`"
                    ));
                }
            }
        }
        plan.ensure_of_its_own()?;
        let is_new = |setting: &&String| !there.settings_of_all_roles.contains(*setting);
        for deed in settings_of_all_roles.iter().filter(is_new).filter_map(|it| everybody::deed(it)) {
            let is_set = there.settings_of_all_roles.iter().filter_map(|it| everybody::deed(it)).any(|known| {
                matches!((&known, &deed), (Deed::EverybodysSetting { name: a, .. }, Deed::EverybodysSetting { name: b, .. }) if a == b)
            });
            let list =
                if there.has_ordinary_roles || is_set { &mut plan.left_rights } else { &mut plan.roles };
            list.push(Statement { deed, by: None, line: 0 });
        }
        Ok(plan)
    }

    /// A role that it says anything of is one that it makes.
    fn ensure_of_its_own(&self) -> Result<()> {
        let (roles, tablespaces) = self.made();
        for statement in self.roles.iter().chain(&self.tablespaces) {
            let (name, is_made) = match subject(&statement.deed) {
                Some((Object::Role, name)) => (name, roles.contains(name.text.as_str())),
                Some((Object::Tablespace, name)) => (name, tablespaces.contains(name.text.as_str())),
                _ => continue,
            };
            if !is_made {
                let (line, name) = (statement.line, name.text.escape_debug());
                return Err(anyhow!(
                    "line {line}: it speaks of `{name}` without making it, which pg_dumpall does not write"
                ));
            }
        }
        Ok(())
    }

    /// The names of the roles that it makes, and those of the tablespaces.
    #[must_use]
    pub fn made(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let roles = self.roles.iter().filter_map(|statement| match &statement.deed {
            Deed::NewRole(name) => Some(name.text.as_str()),
            _ => None,
        });
        let tablespaces = self.tablespaces.iter().filter_map(|statement| match &statement.deed {
            Deed::NewTablespace { name, .. } => Some(name.text.as_str()),
            _ => None,
        });
        (roles.collect(), tablespaces.collect())
    }
}

/// The one role or tablespace that a statement is about.
fn subject(deed: &Deed) -> Option<(Object, &Name)> {
    match deed {
        Deed::NewRole(name) | Deed::Attributes { role: name, .. } | Deed::RoleSetting { role: name, .. } => {
            Some((Object::Role, name))
        }
        Deed::NewTablespace { name, .. } | Deed::TablespaceOptions { name, .. } => {
            Some((Object::Tablespace, name))
        }
        Deed::Said { on, name, .. } => Some((*on, name)),
        Deed::Right { on: Object::Tablespace, name, .. } => Some((Object::Tablespace, name)),
        _ => None,
    }
}

fn fate(deed: &Deed, there: &There) -> Fate {
    let is_there = |role: &Name| there.roles.contains(&role.text);
    match (deed, subject(deed)) {
        (Deed::Unknown(beginning), _) => Fate::Refused(beginning.clone()),
        // What is said of the session is so anyway, and who grants stands with each right.
        (Deed::Session | Deed::Authorization(_), _) => Fate::Passed,
        (_, Some((Object::Role, name))) if is_there(name) => Fate::LeftRole(name.clone()),
        (_, Some((Object::Tablespace, name))) if there.tablespaces.contains(&name.text) => {
            Fate::LeftTablespace(name.clone())
        }
        (_, Some((Object::Tablespace, _))) => Fate::Tablespaces,
        // These come with the database.
        (Deed::RoleSetting { database: Some(_), .. }, _) => Fate::LeftRight,
        (Deed::Membership { of, member, .. }, _) if is_there(of) && is_there(member) => Fate::LeftRight,
        (Deed::Right { to: Some(role), .. }, _) if is_there(role) => Fate::LeftRight,
        // Everybody's are those of who is there, too.
        (Deed::Right { to: None, .. }, _) if there.has_ordinary_roles => Fate::LeftRight,
        _ => Fate::Roles,
    }
}

/// The statement with what says in whose name it is.
#[must_use]
pub fn lines(statement: &Statement, reader: For) -> Vec<String> {
    let by = statement.by.as_ref();
    let said = by.map(|by| Deed::Authorization(Some(by.clone())).sql(reader));
    let end = by.map(|_| Deed::Authorization(None).sql(reader));
    said.into_iter().chain([statement.deed.sql(reader)]).chain(end).collect()
}

/// `ALTER ROLE ... WITH ...` without what a new role is anyway, and what only a superuser may say of one.
fn leave_out_what_is_usual(deed: &mut Deed) {
    if let Deed::Attributes { attributes, .. } = deed {
        attributes.retain(|attribute| !matches!(attribute, Attribute::Is(word) if USUAL.contains(word)));
    }
}

fn remember(names: &mut Vec<String>, name: &Name) {
    if !names.contains(&name.text) {
        names.push(name.text.clone());
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
        let ordinary = "SELECT rolname::pg_catalog.text FROM pg_catalog.pg_roles WHERE NOT rolsuper AND \
            pg_catalog.left(rolname::pg_catalog.text, 3) OPERATOR(pg_catalog.<>) 'pg_' LIMIT 1";
        Ok(There {
            roles: names("SELECT rolname::pg_catalog.text FROM pg_catalog.pg_roles")?,
            tablespaces: names("SELECT spcname::pg_catalog.text FROM pg_catalog.pg_tablespace")?,
            has_ordinary_roles: !names(ordinary)?.is_empty(),
            settings_of_all_roles: self.settings_of_all_roles()?,
        })
    }

    /// Makes roles, memberships and what belongs to them: all or nothing. Gives whether the hashes of passwords may have been
    /// put down by the server.
    ///
    /// # Errors
    /// At the first statement that fails, which is named without what it hides; nothing is changed then.
    pub fn make_roles(&mut self, statements: &[Statement]) -> Result<Trace> {
        self.ensure_way_of_passwords(statements)?;
        self.make_writable()?;
        self.keep_quiet()?;
        self.client.batch_execute("BEGIN")?;
        statements.iter().try_for_each(|statement| self.run(statement))?;
        let trace = self.set_passwords(statements)?;
        self.client.batch_execute("COMMIT")?;
        Ok(trace)
    }

    /// Makes tablespaces, one statement after the other.
    ///
    /// # Errors
    /// At the first that fails; what was made before it stays.
    pub fn make_tablespaces(&mut self, statements: &[Statement]) -> Result<()> {
        self.make_writable()?;
        statements.iter().try_for_each(|statement| self.run(statement))
    }

    /// As the script itself would.
    fn make_writable(&mut self) -> Result<()> {
        self.client.batch_execute("SET default_transaction_read_only = off")
    }

    /// Each is prepared, so that it can't be two.
    fn run(&mut self, statement: &Statement) -> Result<()> {
        let shown = lines(statement, For::Person);
        lines(statement, For::Server).into_iter().zip(shown).try_for_each(|(line, shown)| {
            let told = format!("the server refuses `{shown}`");
            self.client.execute(line, params![]).map(drop).context(told)
        })
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
                      GRANT b TO a;SET SESSION AUTHORIZATION c;GRANT SET ON PARAMETER x TO b;GRANT SET ON PARAMETER x TO PUBLIC;";
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let there = There {
            roles: names(&["a", "c"]),
            tablespaces: names(&["s"]),
            has_ordinary_roles: true,
            ..There::default()
        };
        let plan = Plan::of(script, &[], &there).unwrap();
        let sql = |list: &[Statement]| list.iter().map(|it| it.deed.sql(For::Comparison)).collect::<Vec<_>>();
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
        let left = ["GRANT a TO c", "GRANT SET ON PARAMETER x TO a", "GRANT SET ON PARAMETER x TO PUBLIC"];
        assert_eq!(sql(&plan.left_rights), left);
        assert_eq!(
            (plan.left_roles.as_slice(), plan.left_tablespaces.as_slice()),
            (&["a".to_owned()][..], &["s".to_owned()][..])
        );
        let (roles, tablespaces) = plan.made();
        assert_eq!((roles, tablespaces), (BTreeSet::from(["b"]), BTreeSet::from(["t"])));
        // Where nobody is whose rights would grow, everybody's are made.
        let all = ["work_mem=9MB".to_owned(), "search_path=a".to_owned()];
        let there = There { settings_of_all_roles: vec!["search_path=b".to_owned()], ..There::default() };
        let plan = Plan::of("", &all, &there).unwrap();
        assert_eq!(sql(&plan.roles), ["ALTER ROLE ALL SET \"work_mem\" TO '9MB'"]);
        assert_eq!(sql(&plan.left_rights), ["ALTER ROLE ALL SET \"search_path\" TO 'a'"]);
        let plan = Plan::of(script, &[], &There::default()).unwrap();
        assert_eq!(sql(&plan.roles).last().unwrap(), "GRANT SET ON PARAMETER x TO PUBLIC");
        // What is neither there nor made may be there in a moment.
        let error = Plan::of("CREATE ROLE a;\nALTER ROLE b WITH LOGIN;", &[], &There::default()).unwrap_err();
        assert!(error.to_string().starts_with("line 2: it speaks of `b`"), "{error}");
    }
}
