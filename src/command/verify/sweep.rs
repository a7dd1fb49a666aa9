//! `verify --all`: every backup of the source, the one first whose check is the oldest, until the budget is
//! spent; and what stands in the stores that the catalog does not know.

use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::HumanBytes;
use serde_json::json;

use super::super::clock::now;
use super::super::configured_store::ConfiguredStore;
use super::super::copies::side_by_side;
use super::super::inventory::{self, Orphan};
use super::super::select;
use super::watch::Seen;
use super::{Session, orphans};
use crate::backup::{Backup, CheckLevel};
use crate::catalog::Catalog;
use crate::catalog::query::Filter;
use crate::cli;
use crate::config::value::{Bytes, Span};
use crate::exit::{Code, Failure, code_of, one_line};
use crate::store::Store;

/// A name that no object has, to ask a store for.
const PROBE: &str = ".pgkeep-probe";

/// What a sweep may spend.
struct Budget {
    begun: Instant,
    most_time: Option<Duration>,
    most_bytes: Option<u64>,
    read_bytes: u64,
}

impl Budget {
    fn of(flags: &cli::Verify) -> Result<Self> {
        let refused = |flag: &str, message: String| Failure::usage(format!("`{flag}`: {message}"));
        let time = flags.max_time.as_deref().map(Span::parse).transpose();
        let bytes = flags.max_bytes.as_deref().map(Bytes::parse).transpose();
        Ok(Self {
            begun: Instant::now(),
            most_time: time.map_err(|error| refused("--max-time", error))?.map(|span| span.0),
            most_bytes: bytes.map_err(|error| refused("--max-bytes", error))?.map(|bytes| bytes.0),
            read_bytes: 0,
        })
    }

    /// Whether so many more bytes may be read. The first backup always may: a budget smaller than it would
    /// never get to any.
    fn has_room(&self, more_bytes: u64, is_first: bool) -> bool {
        let in_time = self.most_time.is_none_or(|most| self.begun.elapsed() < most);
        let fits = self.most_bytes.is_none_or(|most| self.read_bytes.saturating_add(more_bytes) <= most);
        is_first || (in_time && fits)
    }
}

/// The stores of those asked for (all, where none is named) that answer, so that one which is away costs its
/// time once and not for each backup, and no backup's record is touched for it; and the exit code for those
/// that do not.
///
/// # Errors
/// When none answers.
pub(super) fn reachable(
    configured_stores: &[ConfiguredStore],
    asked: &[String],
    seen: &mut Seen,
) -> Result<(Option<Vec<String>>, Code)> {
    let asked = |configured: &&ConfiguredStore| asked.is_empty() || asked.contains(&configured.name);
    let probed =
        side_by_side(configured_stores.iter().filter(asked).collect(), |configured: &ConfiguredStore| {
            let probe = |store: &dyn Store| store.stat(&store.path_of(PROBE)).map(drop);
            (configured.name.clone(), inventory::usable(configured).and_then(probe))
        })?;
    let (mut names, mut faults) = (Vec::new(), Vec::new());
    for (name, answer) in probed {
        match answer {
            Ok(()) => names.push(name),
            Err(error) => {
                let why = one_line(&error);
                faults.push(format!("store `{name}` does not answer: {why}"));
                seen.away.insert(name, why);
            }
        }
    }
    if names.is_empty() {
        return Err(Failure::failed(faults.join("; ")).into());
    }
    for fault in &faults {
        log::error!("{fault}; its copies are left out of this sweep");
    }
    Ok((Some(names), if faults.is_empty() { Code::Done } else { Code::Degraded }))
}

pub(super) fn run(
    session: &Session<'_>,
    catalog: &mut Catalog,
    flags: &cli::Verify,
    seen: &mut Seen,
) -> Result<Code> {
    let context = session.context;
    let mut budget = Budget::of(flags)?;
    let source = Some(context.config.source.name.clone());
    let wanted = Filter { source, usable: true, ..select::filter(&flags.filters, now())? };
    let ids = catalog.by_age_of_check(&wanted, &session.stores().collect::<Vec<_>>())?;
    let mut code = Code::Done;
    let mut documents = Vec::new();
    for id in &ids {
        let Some(backup) = catalog.find(id.as_str(), 1)?.pop().filter(|backup| backup.status.is_usable())
        else {
            continue;
        };
        let bytes = bytes_to_read(session, &backup);
        if context.interrupt.is_raised() || !budget.has_room(bytes, documents.is_empty()) {
            break;
        }
        budget.read_bytes = budget.read_bytes.saturating_add(bytes);
        let checked = match session.verify(catalog, backup) {
            // It went with a prune while others were looked at.
            Err(error) if code_of(&error) == Code::NoSuchBackup => continue,
            Err(error) if code_of(&error) == Code::Locked => {
                log::error!("{}", one_line(&error));
                code = code.worse(Code::Degraded);
                continue;
            }
            checked => checked?,
        };
        code = code.worse(checked.code);
        seen.looked_at(&checked, session.level);
        if checked.code == Code::Done {
            context.out.line(&format!("{}: {}", checked.backup.id, checked.words()))?;
        }
        documents.push(checked.json()?);
    }
    let left = ids.len().saturating_sub(documents.len());
    let orphans = if context.interrupt.is_raised() { Vec::new() } else { orphans::find(session, catalog)? };
    for of_store in orphans.iter().filter(|of_store| !of_store.is_empty()) {
        of_store.warn();
        code = code.worse(Code::Degraded);
    }
    let named: Vec<&Orphan> = orphans.iter().flat_map(|of_store| &of_store.named).collect();
    let more: usize = orphans.iter().map(|of_store| of_store.more).sum();
    let looked_at = documents.len();
    let plural = if looked_at == 1 { "" } else { "s" };
    context.out.line(&format!(
        "{looked_at} backup{plural} looked at, {} read, {left} left for another time",
        HumanBytes(budget.read_bytes)
    ))?;
    context.out.json(&json!({ "backups": documents, "strays": named, "more_strays": more, "left": left }))?;
    Ok(code)
}

/// What looking at a backup reads of the stores.
fn bytes_to_read(session: &Session<'_>, backup: &Backup) -> u64 {
    let is_read = |store: &str| session.is_selected(store);
    let copies = backup.copies.iter().filter(|copy| copy.state.is_published() && is_read(&copy.store));
    let times = match session.level {
        CheckLevel::Stat => 0,
        CheckLevel::Checksum | CheckLevel::Content => copies.count(),
        // One of them is read a second time.
        CheckLevel::Restore => copies.count().saturating_add(1),
    };
    backup.size_bytes.unwrap_or_default().saturating_mul(u64::try_from(times).unwrap_or(u64::MAX))
}
