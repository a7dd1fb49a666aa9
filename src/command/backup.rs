//! `pgkeep backup full`: each database in turn, retried where the problem may pass, and told how it went.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Result;
use serde_json::json;

use super::context::Context;
use super::notify::pings::Run;
use super::{prune, signals};
use crate::alert::id;
use crate::backup::{Backup, CLUSTER, CONFIG, FULL};
use crate::config::Databases;
use crate::exit::{self, Code, Failure, code_of, one_line};
use crate::source::server::Server;

mod attempt;
mod config_set;
mod content;
mod empty_dump;
mod exclusion;
mod fingerprint_capture;
mod leftovers;
mod report;
mod request;
mod retry;
mod run_record;
mod stream;
mod sweep;
mod watch;

use content::Database;
use report::Done;
use request::RunRequest;
use retry::again;
use watch::Watch;

pub(super) fn run(context: &Context, named: &[String]) -> Result<Code> {
    if named.iter().any(String::is_empty) {
        return Err(Failure::usage("`--database` needs a name").into());
    }
    let run = id::uuid()?;
    let mut watch = Watch::new(context);
    let known = known_databases(context, named);
    watch.begins(
        count(context, &known),
        Run::of(context, &run, &known, is_whole(context, named)).map(Rc::new),
    );
    let done = all(context, named, run, &mut watch);
    watch.ends(&done);
    done
}

/// `pgkeep backup config`.
pub(super) fn run_config(context: &Context) -> Result<Code> {
    let mut watch = Watch::new(context);
    let begun = || -> Result<_> { Ok((context.configured_stores()?, context.keys()?)) };
    let (configured_stores, ring) =
        begun().inspect_err(|error| watch.not_begun(CONFIG, &[CLUSTER.to_owned()], error))?;
    let request = RunRequest {
        context,
        ring: &ring,
        configured_stores: &configured_stores,
        run: id::uuid()?,
        life: None,
    };
    let done = match config_set::make(&request, &mut watch, context.config.retry.attempts) {
        Ok(done) => done,
        Err(error) => {
            context.out.tell(&exit::render(&error));
            context.out.json(&json!(null))?;
            return Ok(code_of(&error));
        }
    };
    context.out.json(&done.backup)?;
    context.out.line(done.backup.id.as_str())?;
    let mut code = done.code;
    if context.config.retention.after_backup && code == Code::Done && !context.interrupt.is_raised() {
        code = code.worse(prune::after_backup(context, &configured_stores, &[done.backup.database]));
    }
    Ok(code)
}

fn all(context: &Context, named: &[String], run: String, watch: &mut Watch<'_>) -> Result<Code> {
    let begun = || -> Result<_> {
        let (configured_stores, ring) = (context.configured_stores()?, context.keys()?);
        Ok((
            configured_stores,
            ring,
            again(context, context.config.retry.attempts, |_| databases(context, named))?,
        ))
    };
    let (configured_stores, ring, databases) = begun().inspect_err(|error| {
        if !context.interrupt.is_raised() {
            watch.not_begun(FULL, &known_databases(context, named), error);
        }
    })?;
    let life = Run::of(context, &run, &databases, is_whole(context, named)).map(Rc::new);
    watch.begins(count(context, &databases), life.clone());
    let request = RunRequest { context, ring: &ring, configured_stores: &configured_stores, run, life };
    let mut outcome = Outcome { code: Code::Done, made: Vec::new(), succeeded: Vec::new() };
    for database in &databases {
        outcome.add(&request, database, watch);
        if context.interrupt.is_raised() {
            break;
        }
    }
    if context.config.config_set.with_full && !context.interrupt.is_raised() {
        outcome.add_config(&request, watch);
    }
    let told = match (databases.as_slice(), outcome.made.as_slice()) {
        ([_], [backup]) => context.out.json(backup),
        ([_], _) => context.out.json(&json!(null)),
        (_, made) => context.out.json(&made),
    };
    let Outcome { mut code, succeeded, .. } = outcome;
    if let Err(error) = told {
        log::warn!("{error:#}");
        watch.beside(Code::Degraded);
        code = code.worse(Code::Degraded);
    }
    if context.config.retention.after_backup && !succeeded.is_empty() && !context.interrupt.is_raised() {
        let pruned = prune::after_backup(context, &configured_stores, &succeeded);
        watch.beside(pruned);
        code = code.worse(pruned);
    }
    Ok(code)
}

/// How many backups there are to be.
fn count(context: &Context, databases: &[String]) -> usize {
    databases.len() + usize::from(context.config.config_set.with_full)
}

/// How the backups of a call went.
struct Outcome {
    code: Code,
    /// Those of databases that can be restored from.
    made: Vec<Backup>,
    /// What was backed up as it should be.
    succeeded: Vec<String>,
}

impl Outcome {
    /// Backs up one database.
    fn add(&mut self, request: &RunRequest<'_>, database: &str, watch: &mut Watch<'_>) {
        let context = request.context;
        let attempts = context.config.retry.attempts;
        let report = RefCell::new(None);
        match again(context, attempts, |next| attempt::run(request, &Database(database), next, &report)) {
            Ok(done) => {
                let told = tell(context, &done);
                watch.beside(told);
                watch.done(database, &done, report.borrow().as_ref());
                self.code = self.code.worse(told).worse(done.code);
                if done.code == Code::Done {
                    self.succeeded.push(database.to_owned());
                }
                self.made.push(done.backup);
            }
            Err(error) => {
                self.code = self.code.worse(code_of(&error));
                context.out.tell(&exit::render(&error));
                watch.failed(&Database(database), &error, report.borrow().as_ref());
            }
        }
    }

    /// Backs up what is in no database's dump; not with much patience where not even one dump was to be had.
    fn add_config(&mut self, request: &RunRequest<'_>, watch: &mut Watch<'_>) {
        let context = request.context;
        let attempts = if self.made.is_empty() { 0 } else { context.config.retry.attempts };
        let code = match config_set::make(request, watch, attempts) {
            Ok(done) => {
                log::info!("roles, settings and files are in `{}`", done.backup.id);
                if done.code == Code::Done {
                    self.succeeded.push(done.backup.database);
                }
                done.code
            }
            // The run that is at it makes one of the same night.
            Err(error) if code_of(&error) == Code::Locked => {
                log::info!("{}", one_line(&error));
                Code::Done
            }
            Err(error) => {
                context.out.tell(&exit::render(&error));
                Code::Degraded
            }
        };
        watch.beside(code);
        self.code = self.code.worse(code);
    }
}

/// Prints the id of a backup; the code for it.
fn tell(context: &Context, done: &Done) -> Code {
    let (id, status) = (&done.backup.id, done.backup.status.as_str());
    if let Some(signal) = context.interrupt.signal() {
        log::error!("{}; `{id}` can be restored from all the same: {status}", signals::in_words(signal));
    }
    if let Err(error) = context.out.line(id.as_str()) {
        // The backup stands all the same, and so do those that are still to be made.
        log::warn!("{id}: {error:#}");
        return Code::Degraded;
    }
    Code::Done
}

/// The databases that are to be backed up, as far as no server has to be asked.
fn known_databases(context: &Context, named: &[String]) -> Vec<String> {
    match (&context.config.source.databases, named) {
        (_, [_, ..]) => named.to_vec(),
        (Databases::OfSource, []) => vec![context.config.source.connection.dbname().to_owned()],
        (Databases::Named(names), []) => names.clone(),
        (Databases::All, []) => Vec::new(),
    }
}

/// Whether all that the configuration says is to be backed up.
fn is_whole(context: &Context, named: &[String]) -> bool {
    let all = known_databases(context, &[]);
    named.is_empty() || (!all.is_empty() && all.iter().all(|name| named.contains(name)))
}

fn databases(context: &Context, named: &[String]) -> Result<Vec<String>> {
    let source = &context.config.source;
    if !named.is_empty() {
        let mut once: Vec<String> = Vec::new();
        for name in named {
            if !once.contains(name) {
                once.push(name.clone());
            }
        }
        return Ok(once);
    }
    Ok(match &source.databases {
        Databases::OfSource | Databases::Named(_) => known_databases(context, named),
        Databases::All => Server::connect(&source.connection, &context.connect_options())
            .and_then(|mut server| server.databases())
            .map_err(stream::source_problem)?,
    })
}
