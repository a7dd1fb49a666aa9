//! `pgkeep doctor`: everything a night depends on, tried once by day.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::clock::now;
use super::configured_store::ConfiguredStore;
use super::context::Context;
use crate::config::AfterBackup;
use crate::exit::{Code, Failure, one_line};
use crate::files;
use crate::source::advisory;
use crate::source::scratch::Guard;
use crate::source::server::Server;
use crate::store::{Removal, Store};

struct CheckResult {
    what: String,
    result: Result<String>,
}

pub(super) fn run(context: &Context) -> Result<Code> {
    let mut findings = vec![
        finding("configuration", Ok(configuration(context))),
        finding("state folder", state_folder(context)),
        finding("keys", keys(context)),
        finding("source", source(context)),
        finding("catalog", catalog(context)),
    ];
    if context.config.after_backup == AfterBackup::Restore {
        findings.push(finding("test restore", test_restore(context)));
    }
    findings.push(finding("confinement", confinement(context)));
    let configured_stores = context.configured_stores()?;
    let mut good: Vec<&Arc<dyn Store>> = Vec::new();
    for configured in &configured_stores {
        let result = probe(configured, &good);
        if let (Ok(_), Ok(store)) = (&result, &configured.store) {
            good.push(store);
        }
        findings.push(finding(&format!("store {}", configured.name), result));
    }
    let mut code = Code::Done;
    for CheckResult { what, result } in &findings {
        match result {
            Ok(word) => context.out.line(&format!("ok    {what}: {word}"))?,
            Err(error) => {
                code = Code::Failed;
                let hint = error.downcast_ref::<Failure>().and_then(|failure| failure.hint.as_deref());
                let hint = hint.map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
                log::error!("{what}: {}{hint}", one_line(error));
            }
        }
    }
    let all: Vec<_> = findings
        .iter()
        .map(|CheckResult { what, result }| match result {
            Ok(word) => json!({ "what": what, "ok": true, "detail": word }),
            Err(error) => json!({ "what": what, "ok": false, "detail": one_line(error) }),
        })
        .collect();
    context.out.json(&all)?;
    Ok(code)
}

fn finding(what: &str, result: Result<String>) -> CheckResult {
    CheckResult { what: what.to_owned(), result }
}

fn configuration(context: &Context) -> String {
    match &context.config.file {
        Some(file) => file.display().to_string(),
        None => "no file, all defaults".to_owned(),
    }
}

fn state_folder(context: &Context) -> Result<String> {
    let folder = &context.config.state_dir;
    files::create_private_dir(folder)?;
    let probe = folder.join(format!(".doctor-{}.part", std::process::id()));
    files::replace_private(&probe, b"probe\n")?;
    std::fs::remove_file(&probe).with_context(|| format!("cannot remove `{}`", probe.display()))?;
    Ok(format!("{} can be written", folder.display()))
}

fn keys(context: &Context) -> Result<String> {
    let file = &context.config.encryption.key_file;
    if context.config.encryption.make_key && !file.try_exists().unwrap_or(true) {
        return Ok(format!(
            "none yet: the first backup makes one in {}; it is in no backup: keep a copy in a safe place, neither on this \
             host nor in a store",
            file.display()
        ));
    }
    let ring = context.existing_keys()?;
    let path = file.display();
    Ok(format!(
        "{} in {path} seals, and is in no backup; is there a copy of it in a safe place, neither on this host nor in a store?",
        ring.sealing().id()
    ))
}

fn source(context: &Context) -> Result<String> {
    let info = &context.config.source.connection;
    let facts = Server::connect(info, &context.connect_options())?.facts()?;
    let dump = context.client("pg_dump", facts.major)?;
    let restore = context.client("pg_restore", dump.major)?;
    let mut words = format!(
        "{}, server {}, pg_dump {}, pg_restore {}",
        info.describe(),
        facts.version,
        dump.version,
        restore.version
    );
    for (what, version) in [("server", &facts.version), ("pg_dump", &dump.version)] {
        if let Some(advice) = advisory::of(what, version) {
            words.push_str("; ");
            words.push_str(&advice);
        }
    }
    Ok(words)
}

/// Whether the programs of a server are here that a test restore after each backup starts.
fn test_restore(context: &Context) -> Result<String> {
    let info = &context.config.source.connection;
    let facts = Server::connect(info, &context.connect_options())?.facts()?;
    let server = context.server_programs(facts.major)?;
    let folder = &context.config.scratch_dir;
    let about = folder.metadata().with_context(|| format!("cannot use `{}`", folder.display()))?;
    if !about.is_dir() {
        bail!("`{}` is no folder", folder.display());
    }
    Ok(format!("{}, version {}, in {}", server.path.display(), server.version, folder.display()))
}

/// How far this host confines what a test restore runs. That it does not is a fault where one is wanted after
/// each backup.
fn confinement(context: &Context) -> Result<String> {
    let is_wanted = context.config.after_backup == AfterBackup::Restore;
    let checked = Guard::find(&context.interrupt).and_then(|guard| {
        guard.ensure(context.config.unconfined)?;
        Ok(guard.confinement.to_string())
    });
    match checked {
        Ok(words) => Ok(words),
        Err(error) if !is_wanted => {
            Ok(format!("nothing is restored on a server of its own here: {}", one_line(&error)))
        }
        Err(error) => Err(error),
    }
}

fn catalog(context: &Context) -> Result<String> {
    let catalog = context.catalog()?;
    let schema = &context.config.catalog.schema;
    let where_it_is = format!("schema {schema} of {}", context.config.catalog_connection().describe());
    if catalog.writers().is_empty() {
        return Ok(where_it_is);
    }
    let writers = catalog.writers().join("`, `");
    Ok(format!("{where_it_is}; who may write there may forge what is on record: role `{writers}`"))
}

/// Writes, reads and deletes a small object, which must show in none of the other stores.
fn probe(configured: &ConfiguredStore, others: &[&Arc<dyn Store>]) -> Result<String> {
    let store: &dyn Store = match &configured.store {
        Ok(store) => store.as_ref(),
        Err(error) => bail!("{error}"),
    };
    let stamp = now().as_microsecond();
    let key = format!(".pgkeep-doctor-{stamp}-{}", std::process::id());
    let path = store.path_of(&key);
    let bytes = format!("pgkeep doctor {stamp}\n").into_bytes();
    store.put_probe(&path, &bytes).context("cannot write")?;
    let read = store.get_small(&path, 4096).context("cannot read");
    let twin = twin_of(&key, others);
    let removal = store.delete(&path).context("cannot delete")?;
    if read?.as_deref() != Some(bytes.as_slice()) {
        bail!("what was read is not what was written");
    }
    if let Some(twin) = twin {
        let what =
            format!("it is the same place as store `{twin}`: a prune of one removes the copies of both");
        return Err(Failure::failed(what).hint("give each store a bucket or a folder of its own").into());
    }
    if let Removal::Held(hold) = removal {
        return Ok(format!("written, read; `{path}` stays: {hold}"));
    }
    if store.stat(&path).context("cannot look")?.is_some() {
        bail!("what was deleted is still there");
    }
    Ok("written, read, deleted".to_owned())
}

/// The name of a store that shows an object which was written to another one alone.
fn twin_of(key: &str, others: &[&Arc<dyn Store>]) -> Option<String> {
    let shows = |other: &&&Arc<dyn Store>| match other.stat(&other.path_of(key)) {
        Ok(shown) => shown.is_some(),
        Err(error) => {
            let (name, why) = (other.name(), one_line(&error));
            log::warn!("store `{name}`: whether it is the same place as another is not known: {why}");
            false
        }
    };
    others.iter().find(shows).map(|other| other.name().to_owned())
}
