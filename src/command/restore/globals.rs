//! Roles, memberships and tablespaces of a config backup, made in a cluster that lacks them.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};

use crate::command::context::Context;
use crate::conninfo::ConnInfo;
use crate::exit::{Code, Failure};
use crate::source::globals::apply::{Plan, Trace, lines};
use crate::source::globals::script::{For, Statement};
use crate::source::server::Server;

/// What a server says of a tablespace whose folder it does not find.
const NO_FOLDER: &str = "does not exist";

/// What only a superuser can keep a server from.
const TRACE: &str = "pg_stat_statements tracks nested statements there (`pg_stat_statements.track = all`), so that it holds \
    the hashes of passwords now; hint: have a superuser call `pg_stat_statements_reset()`, and restore roles as a superuser, \
    who leaves none there";

pub(super) struct Globals<'a> {
    context: &'a Context,
    info: ConnInfo,
    is_dry_run: bool,
}

impl<'a> Globals<'a> {
    /// Makes sure that the server is there.
    pub(super) fn prepare(context: &'a Context, url: &str, is_dry_run: bool) -> Result<Self> {
        if url.trim().is_empty() {
            return Err(Failure::usage("`--into` needs a connection string: it is empty").into());
        }
        let info = context.connection(url)?;
        drop(Server::connect(&info, &context.connect_options())?);
        Ok(Self { context, info, is_dry_run })
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    pub(super) fn describe(&self) -> String {
        format!("its roles and tablespaces, into {}", self.info.describe_place())
    }

    /// Makes what the script makes and is not there, or shows it; gives what is to be told of it.
    pub(super) fn apply(&self, script: &str, settings_of_all_roles: &[String]) -> Result<Value> {
        let mut server = Server::connect(&self.info, &self.context.connect_options())?;
        let plan = Plan::of(script, settings_of_all_roles, &server.globals()?).map_err(|error| {
            let hint = "--output DIR gives `globals.sql`: look at it, and run what you trust with psql";
            error.context(Failure::new(Code::Verification, "nothing was changed").hint(hint))
        })?;
        let told = told(&plan, self.is_dry_run);
        if self.is_dry_run {
            return self.show(&plan).map(|()| told);
        }
        let trace = server.make_roles(&plan.roles).map_err(roles_failed)?;
        if trace == Trace::Statements {
            log::warn!("{TRACE}");
        }
        server.make_tablespaces(&plan.tablespaces).map_err(tablespace_failed)?;
        let (roles, tablespaces) = plan.made();
        self.line(&format!("made {}", counted(&roles, &tablespaces)))?;
        self.tell_what_is_left(&plan)?;
        Ok(told)
    }

    fn show(&self, plan: &Plan) -> Result<()> {
        if !plan.roles.is_empty() {
            self.line("BEGIN;")?;
            self.statements(&plan.roles)?;
            self.line("COMMIT;")?;
        }
        self.statements(&plan.tablespaces)?;
        self.tell_what_is_left(plan)
    }

    fn statements(&self, statements: &[Statement]) -> Result<()> {
        statements.iter().try_for_each(|statement| {
            lines(statement, For::Person).iter().try_for_each(|line| self.line(&format!("{line};")))
        })
    }

    /// As comments, so that all of it is SQL.
    fn tell_what_is_left(&self, plan: &Plan) -> Result<()> {
        let lead = if self.is_dry_run { "-- " } else { "" };
        let each = |kind: &str, names: &[String]| -> Result<()> {
            names.iter().try_for_each(|name| {
                self.line(&format!("{lead}{kind} `{}` is there, and left as it is", name.escape_debug()))
            })
        };
        each("role", &plan.left_roles)?;
        each("tablespace", &plan.left_tablespaces)?;
        plan.left_rights.iter().try_for_each(|statement| {
            let sql = statement.deed.sql(For::Person).replace('\n', "\\n").replace('\r', "\\r");
            self.line(&format!(
                "{lead}not done, for it changes what is there or comes with a database: {sql}"
            ))
        })
    }

    fn line(&self, text: &str) -> Result<()> {
        self.context.out.line(text)
    }
}

fn told(plan: &Plan, is_dry_run: bool) -> Value {
    let (roles, tablespaces) = plan.made();
    let shown = |list: &[Statement]| list.iter().flat_map(|it| lines(it, For::Person)).collect::<Vec<_>>();
    let sql = [shown(&plan.roles), shown(&plan.tablespaces)].concat();
    json!({
        "dry_run": is_dry_run,
        "roles": roles,
        "tablespaces": tablespaces,
        "left_roles": plan.left_roles,
        "left_tablespaces": plan.left_tablespaces,
        "left_rights": plan.left_rights.iter().map(|it| it.deed.sql(For::Person)).collect::<Vec<_>>(),
        "sql": sql,
    })
}

fn roles_failed(error: anyhow::Error) -> anyhow::Error {
    if error.downcast_ref::<Failure>().is_some_and(|failure| failure.hint.is_some()) {
        return error;
    }
    let is_grantor = format!("{error:#}").contains("grantor");
    let failure = Failure::failed("nothing was changed");
    error.context(if is_grantor {
        failure.hint("who granted it must be there: name the first superuser of the new cluster as that of the old one")
    } else {
        failure
    })
}

fn counted(roles: &BTreeSet<&str>, tablespaces: &BTreeSet<&str>) -> String {
    let of =
        |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    format!("{}, {}", of(roles.len(), "role"), of(tablespaces.len(), "tablespace"))
}

fn tablespace_failed(error: anyhow::Error) -> anyhow::Error {
    let said = format!("{error:#}");
    let is_folder = said.contains("directory") && said.contains(NO_FOLDER);
    let what = "the roles are made, and the tablespaces up to this one";
    let hint = if is_folder {
        "make that folder on the server's host, empty, mode 0700, its owner the server's user; then do it again: what is \
         there is left as it is"
    } else {
        "mend it, then do it again: a tablespace that is there is left as it is, without the rights on it that failed"
    };
    error.context(Failure::failed(what).hint(hint))
}
