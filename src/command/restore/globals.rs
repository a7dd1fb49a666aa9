//! Roles, memberships and tablespaces of a config backup, made in a cluster that lacks them.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};

use crate::command::context::Context;
use crate::conninfo::ConnInfo;
use crate::exit::{Code, Failure};
use crate::source::globals::apply::{Plan, lines};
use crate::source::globals::script::{Statement, without_secrets};
use crate::source::server::Server;

/// What a server says of a tablespace whose folder it does not find.
const NO_FOLDER: &str = "does not exist";

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
    pub(super) fn apply(&self, script: &str) -> Result<Value> {
        let mut server = Server::connect(&self.info, &self.context.connect_options())?;
        let plan = Plan::of(script, &server.globals()?).map_err(|error| {
            let hint = "--output DIR gives `globals.sql`: look at it, and run what you trust with psql";
            error.context(Failure::new(Code::Verification, "nothing was changed").hint(hint))
        })?;
        let told = told(&plan, self.is_dry_run);
        if self.is_dry_run {
            return self.show(&plan).map(|()| told);
        }
        server.make_roles(&plan.roles).map_err(roles_failed)?;
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
            said(statement).iter().try_for_each(|line| self.line(&format!("{line};")))
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
        plan.left_rights.iter().try_for_each(|sql| {
            let sql = without_secrets(sql).replace('\n', "\\n");
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
    let shown = |list: &[Statement]| list.iter().flat_map(said).collect::<Vec<_>>();
    let sql = [shown(&plan.roles), shown(&plan.tablespaces)].concat();
    json!({
        "dry_run": is_dry_run,
        "roles": roles,
        "tablespaces": tablespaces,
        "left_roles": plan.left_roles,
        "left_tablespaces": plan.left_tablespaces,
        "left_rights": plan.left_rights.iter().map(|sql| without_secrets(sql)).collect::<Vec<_>>(),
        "sql": sql,
    })
}

/// What is said to the server, as it may be shown.
fn said(statement: &Statement) -> Vec<String> {
    lines(statement).iter().map(|line| without_secrets(line)).collect()
}

fn roles_failed(error: anyhow::Error) -> anyhow::Error {
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
