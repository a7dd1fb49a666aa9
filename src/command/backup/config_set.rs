//! `pgkeep backup config`: what belongs to the cluster and is in no database's dump, as a backup of its own.

use std::cell::RefCell;

use anyhow::{Result, anyhow};
use serde_json::json;

use super::attempt;
use super::content::{Content, MISSING};
use super::report::Done;
use super::request::RunRequest;
use super::retry::again;
use super::run_record::RunRecord;
use super::stream::{Streamed, abandon, in_order, planned_part_size, send, source_problem};
use super::watch::Watch;
use crate::backup::{Backup, CLUSTER, CONFIG};
use crate::bounded;
use crate::command::context::Context;
use crate::command::gather::gather;
use crate::config::redacted::without_secrets;
use crate::exit::one_line;
use crate::source::config_set::{Contents, Document, Found, OWN, Stream, find};

/// Names of what is missing that stand in the log one by one.
const NAMED: usize = 20;

/// What belongs to the whole cluster.
pub(super) struct ConfigSet;

impl Content for ConfigSet {
    fn backup_type(&self) -> &'static str {
        CONFIG
    }

    fn database(&self) -> &'static str {
        CLUSTER
    }

    fn suffix(&self) -> &'static str {
        ".tar"
    }

    fn stream(
        &self,
        request: &RunRequest<'_>,
        run_record: &mut RunRecord<'_>,
        backup: &mut Backup,
    ) -> Result<Streamed> {
        let context = request.context;
        let (mut documents, mut notes) = gather(context).map_err(source_problem)?;
        backup.metadata.insert("server_version".to_owned(), json!(notes.server_version));
        match own(context) {
            Ok(own) => documents.extend(own),
            Err(error) => notes.missing.push(format!("pgkeep's own configuration: {}", one_line(&error))),
        }
        let (files, file_bytes, missing) = files(context);
        notes.missing.extend(missing);
        let known: usize = documents.iter().map(|document| document.bytes.len()).sum();
        let expected_bytes = file_bytes.saturating_add(known as u64);
        let part_size_bytes = planned_part_size(run_record, backup, expected_bytes);
        let made_at = u64::try_from(backup.created_at.as_second()).unwrap_or_default();
        let contents = Contents { documents, made_at, files, notes };
        let mut stream = Stream::start(contents, context.config.timeouts.stall, context.interrupt.clone())?;
        let (made, ends) = send(request, backup, &mut stream, part_size_bytes, expected_bytes)?;
        let made = match made {
            Ok(made) if !context.interrupt.is_raised() => made,
            made => return Err(abandon(ends, made.err().unwrap_or_else(|| anyhow!("interrupted")))),
        };
        if let Some(notes) = stream.notes() {
            for (key, list) in
                [(MISSING, &notes.missing), ("changed", &notes.changed), ("unread", &notes.unread)]
            {
                if !list.is_empty() {
                    backup.metadata.insert(key.to_owned(), json!(list));
                }
            }
            backup.metadata.insert("has_passwords".to_owned(), json!(notes.has_passwords));
            if !notes.has_passwords {
                log::warn!(
                    "the role may not read the hashes of passwords: roles are kept without, and have none when \
                     they are restored"
                );
            }
            name_all(&notes.missing, "is not kept", log::Level::Error);
            name_all(
                &notes.keys,
                "holds a key, and is not kept: sealed with itself it helps nobody",
                log::Level::Info,
            );
            name_all(&notes.changed, "changed while it was read", log::Level::Info);
            name_all(
                &notes.unread,
                "could not be read through the server, nor on this host",
                log::Level::Info,
            );
        }
        Ok(Streamed { made, uploads: in_order(request.configured_stores, ends), part_size_bytes })
    }

    fn can_be_restored_for_proof(&self) -> bool {
        false
    }

    fn is_all(&self, backup: &Backup) -> bool {
        !backup.metadata.contains_key(MISSING)
    }
}

fn name_all(list: &[String], what: &str, level: log::Level) {
    for one in list.iter().take(NAMED) {
        log::log!(level, "{one}: {what}");
    }
    if list.len() > NAMED {
        log::log!(level, "and {} more", list.len() - NAMED);
    }
}

/// The files that the configuration names, how much they have in all, and what is missing of them. A disk that is away takes
/// its files along, and nothing else.
fn files(context: &Context) -> (Vec<Found>, u64, Vec<String>) {
    let patterns = context.config.config_set.files.clone();
    let (limit, interrupt) = (context.config.timeouts.request, context.interrupt.clone());
    let look = move || {
        let (files, missing) = find(&patterns);
        let sizes = files.iter().filter_map(|file| Some(file.path.symlink_metadata().ok()?.len()));
        let bytes = sizes.fold(0, u64::saturating_add);
        (files, bytes, missing)
    };
    bounded::until("files", |took| took >= limit || interrupt.is_raised(), look).unwrap_or_else(|_| {
        let why = format!("the files of `[config] files` could not all be looked at within {limit:?}");
        (Vec::new(), 0, vec![why])
    })
}

/// pgkeep's own configuration, where there is one, without secrets.
fn own(context: &Context) -> Result<Option<Document>> {
    let Some(path) = &context.config.file else { return Ok(None) };
    let text = without_secrets(&std::fs::read_to_string(path)?)?;
    Ok(Some(Document { name: OWN.to_owned(), bytes: text.into_bytes() }))
}

/// Makes one, with so many tries after the first.
///
/// # Errors
/// When there is no usable copy; whoever watches knows of it then.
pub(super) fn make(request: &RunRequest<'_>, watch: &mut Watch<'_>, attempts: u32) -> Result<Done> {
    let report = RefCell::new(None);
    again(request.context, attempts, |next_try| attempt::run(request, &ConfigSet, next_try, &report))
        .inspect(|done| watch.done(CLUSTER, done, report.borrow().as_ref()))
        .inspect_err(|error| watch.failed(&ConfigSet, error, report.borrow().as_ref()))
}
