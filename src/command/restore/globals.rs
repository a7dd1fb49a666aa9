//! Roles, memberships and tablespaces of a config backup, made in a cluster that lacks them.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};

use crate::command::context::Context;
use crate::conninfo::ConnInfo;
use crate::exit::{Failure, wrap};
use crate::source::globals::apply::Plan;
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
        let plan = Plan::of(script, &server.globals()?);
        let told = told(&plan, self.is_dry_run);
        if self.is_dry_run {
            return self.show(&plan).map(|()| told);
        }
        server.make_roles(&plan.roles).map_err(|error| wrap(error, "nothing was changed"))?;
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
        statements
            .iter()
            .try_for_each(|statement| self.line(&format!("{};", without_secrets(&statement.sql))))
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
        each("tablespace", &plan.left_tablespaces)
    }

    fn line(&self, text: &str) -> Result<()> {
        self.context.out.line(text)
    }
}

fn told(plan: &Plan, is_dry_run: bool) -> Value {
    let (roles, tablespaces) = plan.made();
    let shown = |list: &[Statement]| list.iter().map(|it| without_secrets(&it.sql)).collect::<Vec<_>>();
    let sql = [shown(&plan.roles), shown(&plan.tablespaces)].concat();
    json!({
        "dry_run": is_dry_run,
        "roles": roles,
        "tablespaces": tablespaces,
        "left_roles": plan.left_roles,
        "left_tablespaces": plan.left_tablespaces,
        "sql": sql,
    })
}

fn counted(roles: &BTreeSet<&str>, tablespaces: &BTreeSet<&str>) -> String {
    let of =
        |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    format!("{}, {}", of(roles.len(), "role"), of(tablespaces.len(), "tablespace"))
}

fn tablespace_failed(error: anyhow::Error) -> anyhow::Error {
    let is_folder = format!("{error:#}").contains(NO_FOLDER);
    let what = "the roles are made, and the tablespaces up to this one";
    let hint = if is_folder {
        "make that folder on the server's host, empty, mode 0700, its owner the server's user; then do it again: what is \
         there is left as it is"
    } else {
        "mend it, then do it again: what is there is left as it is"
    };
    error.context(Failure::failed(what).hint(hint))
}
