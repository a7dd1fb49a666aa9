//! One try at a backup of one database, from the lock to the last word on record.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use indicatif::HumanBytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::content::Content;
use super::empty_dump::{lack_of_tables, tables_before};
use super::leftovers::Leftovers;
use super::report::{AttemptReport, Done};
use super::request::{RunRequest, packing};
use super::retry::random_u16;
use super::run_record::RunRecord;
use super::stream::{self, Streamed};
use super::sweep::Sweeps;
use crate::backup::{Backup, CheckLevel, Copy, CopyState, RUN, Status};
use crate::command::clock::now;
use crate::command::configured_store::ConfiguredStore;
use crate::command::context::Context;
use crate::command::copies::{Making, mark_checked, side_by_side};
use crate::command::copy_check::{OpenWith, Reader, Verdict};
use crate::command::locks::{self, Claimant};
use crate::command::progress::Phase;
use crate::command::{signals, status, test_restore};
use crate::config::environment;
use crate::exit::{Code, Failure, one_line, wrap};
use crate::key::KeyRing;
use crate::name::{self, BackupId};
use crate::pipeline::flow::Made;
use crate::store::Store;
use crate::testpoint::{self, Step};

/// With so many earlier backups a new one is compared.
const PAST: u32 = 7;

/// Makes one backup: locks, records that it began, streams, settles every copy, records the truth.
pub(super) fn run(
    request: &RunRequest<'_>,
    content: &dyn Content,
    next_try: Option<Duration>,
    report: &RefCell<Option<AttemptReport>>,
) -> Result<Done> {
    let &RunRequest { context, ring, configured_stores, .. } = request;
    let begun = Instant::now();
    let mut run_record = RunRecord::open(context)?;
    let at = run_record.begin_after_others(&context.config.source.name, content.database());
    let mut backup = begin(request, content, at)?;
    let catalog_is_up = run_record.catalog().is_some();
    let mut locks = locks::take(context, &Claimant::run(&backup), catalog_is_up)?;
    testpoint::reached(Step::LockTaken);
    if let Some(life) = &request.life {
        life.begin(context);
    }
    // Who holds the lock of all hosts knows that no other run is alive.
    let incomplete = if locks.catalog.is_some() {
        run_record.fail_dead_runs(&backup.source, &backup.database)
    } else {
        Vec::new()
    };
    testpoint::reached(Step::DeadBuried);
    let leftovers = Arc::new(Leftovers::of(&backup, incomplete));
    run_record.save(&backup);
    let heartbeat = locks.catalog.take().map(|lock| lock.beat(backup.id.clone())).transpose()?;
    testpoint::reached(Step::RowWritten);
    let sweeps = Sweeps::start(context, &leftovers, configured_stores);
    let made = make(request, content, &mut run_record, &mut backup, begun);
    sweeps.finish();
    backup.finished_at = Some(end_of(&backup, begun));
    backup.backup_duration_seconds = Some(begun.elapsed().as_secs_f64());
    if let Err(error) = &made {
        describe_failure(context, &mut backup, error, next_try);
    }
    backup.summarize_copies();
    testpoint::reached(Step::CopiesSettled);
    let recorded = run_record.save(&backup);
    testpoint::reached(Step::RowSettled);
    report.replace(Some(look_back(&mut run_record, &backup, recorded)));
    leftovers.take_up(context, &mut run_record, ring, configured_stores);
    // Held until the last word is on record.
    if let Some(heartbeat) = heartbeat {
        heartbeat.stop();
    }
    if let Err(error) = made {
        let error = match context.interrupt.signal() {
            Some(signal) => {
                log::info!("{}", one_line(&error));
                anyhow!(signals::in_words(signal))
            }
            None => error,
        };
        return Err(wrap(error, format!("backup of `{}` failed: there is no usable copy", backup.database)));
    }
    let is_all = recorded && backup.status != Status::Degraded && content.is_all(&backup);
    let code = if is_all { Code::Done } else { Code::Degraded };
    Ok(Done { backup, code })
}

/// What is on record of a try, and what was before it.
fn look_back(run_record: &mut RunRecord<'_>, backup: &Backup, is_recorded: bool) -> AttemptReport {
    let past = run_record.catalog().and_then(|catalog| catalog.before(backup, PAST).ok());
    let refusing = run_record.catalog().and_then(|catalog| catalog.refusing(&backup.source).ok());
    AttemptReport {
        backup: backup.clone(),
        is_recorded,
        past: past.unwrap_or_default(),
        tables_before: tables_before(run_record, backup),
        refusing: refusing.unwrap_or_default(),
    }
}

/// Puts on record why a try came to nothing, and whether there will be another one within that time.
fn describe_failure(
    context: &Context,
    backup: &mut Backup,
    error: &anyhow::Error,
    next_try: Option<Duration>,
) {
    backup.status = Status::Failed;
    // What an interrupted run ran into is not what ended it.
    let signal = context.interrupt.signal();
    backup.error = Some(signal.map_or_else(|| one_line(error), signals::in_words));
    let passes = error.downcast_ref::<Failure>().is_some_and(|failure| failure.passing);
    let more = match (signal, next_try.filter(|_| passes)) {
        (Some(signal), _) => Some((status::SIGNAL, json!(signal))),
        (None, Some(wait)) => now().checked_add(wait).ok().map(|at| (status::NEXT_TRY_AT, json!(at))),
        (None, None) => None,
    };
    if let Some((key, value)) = more {
        backup.metadata.insert(key.to_owned(), value);
    }
}

/// When a run ends that began at this moment: by the clock that nobody puts back.
fn end_of(backup: &Backup, begun: Instant) -> Timestamp {
    let took = SignedDuration::try_from(begun.elapsed()).unwrap_or_default();
    let end = backup.created_at.checked_add(took).unwrap_or(backup.created_at);
    end.round(jiff::Unit::Microsecond).unwrap_or(end)
}

fn begin(request: &RunRequest<'_>, content: &dyn Content, at: Timestamp) -> Result<Backup> {
    let (source, database) = (&request.context.config.source.name, content.database());
    let id = BackupId::new(content.backup_type(), database, at, random_u16()?);
    let packing = packing(request.context);
    let filename = name::artifact(&id, &format!("{}{}", content.suffix(), packing.suffix()));
    let mut backup = Backup::begin(id, source, database, filename, at);
    for (key, value) in [
        ("host", json!(environment::host_name())),
        ("pid", json!(std::process::id())),
        ("pgkeep_version", json!(env!("CARGO_PKG_VERSION"))),
        ("compression", json!(packing.as_str())),
        ("keys", json!([request.ring.sealing().id()])),
        (RUN, json!(request.run)),
    ] {
        backup.metadata.insert(key.to_owned(), value);
    }
    Ok(backup)
}

/// Streams the dump to every store and settles the copies; the backup says how it stands afterwards.
fn make(
    request: &RunRequest<'_>,
    content: &dyn Content,
    run_record: &mut RunRecord<'_>,
    backup: &mut Backup,
    begun: Instant,
) -> Result<()> {
    let &RunRequest { context, ring, configured_stores, .. } = request;
    let Streamed { made, uploads, part_size_bytes } = content.stream(request, run_record, backup)?;
    describe(backup, &made);
    backup.finished_at = Some(end_of(backup, begun));
    if let Some(lack) = lack_of_tables(run_record, backup) {
        status::remember_lack(backup, &lack);
    }
    log::info!(
        "{} dumped, {} sealed, SHA-256 {}; publishing and reading back",
        HumanBytes(made.dump.size_bytes),
        HumanBytes(made.artifact.size_bytes),
        backup.checksum.as_deref().unwrap_or_default()
    );
    let check = context.config.after_backup.level();
    let reader = if check == Some(CheckLevel::Content) { context.reader(backup) } else { unused() };
    let opening = OpenWith { ring, threads: context.config.compression.threads, reader: &reader };
    let phase = Phase::start(&context.out.bars, "publishing, and reading every copy back");
    let interrupt = &context.interrupt;
    // What is filled afterwards is of a known size.
    let known = stream::part_size_of(made.artifact.size_bytes).max(part_size_bytes);
    let making = Making { backup, opening, part_size_bytes, check, interrupt };
    let mut copies =
        side_by_side(configured_stores.iter().zip(uploads).collect(), |(configured, upload)| {
            match (&configured.store, upload) {
                (Ok(store), Ok(upload)) => making.settle(configured, store.as_ref(), upload),
                (Err(error), _) => making.none(configured, error),
                (Ok(_), Err(error)) => making.none(configured, &one_line(&error)),
            }
        })?;
    let filling = Making { part_size_bytes: known, ..making };
    fill_the_gaps(context, &filling, configured_stores, &mut copies);
    drop(phase);
    for copy in &copies {
        log::info!("store `{}`: {} at `{}`", copy.store, copy.state.as_str(), copy.path);
    }
    let status = status_of(&copies, check);
    backup.copies = copies;
    let Some(status) = status else {
        let reasons = backup
            .copies
            .iter()
            .map(|copy| format!("store `{}`: {}", copy.store, copy.error.as_deref().unwrap_or("no copy")));
        return Err(Failure::failed(reasons.collect::<Vec<_>>().join("; ")).into());
    };
    backup.status = status;
    let is_restored = check == Some(CheckLevel::Restore) && content.can_be_restored_for_proof();
    let unproven =
        if is_restored { test_restored(context, backup, ring, configured_stores).err() } else { None };
    let lacks = status::lacks(backup).map(str::to_owned);
    if unproven.is_some() || lacks.is_some() {
        backup.status = Status::Degraded;
    }
    if let Some(lacks) = &lacks {
        log::error!("`{}`: {lacks}", backup.id);
    }
    let of_copy = |copy: &Copy| Some(format!("store `{}`: {}", copy.store, copy.error.as_deref()?));
    let faults = backup.copies.iter().filter_map(of_copy).chain(unproven).chain(lacks);
    let faults: Vec<String> = faults.collect();
    backup.error = (!faults.is_empty()).then(|| faults.join("; "));
    Ok(())
}

/// Puts on record what came of a dump.
fn describe(backup: &mut Backup, made: &Made) {
    backup.size_bytes = Some(made.artifact.size_bytes);
    backup.checksum = Some(made.artifact.sha256.clone());
    #[allow(clippy::cast_precision_loss, reason = "a share shown to people")]
    let ratio = 1.0 - made.artifact.size_bytes as f64 / made.dump.size_bytes.max(1) as f64;
    backup.compression_ratio = Some(ratio);
    backup.metadata.insert("dump_bytes".to_owned(), json!(made.dump.size_bytes));
    backup.metadata.insert("dump_checksum".to_owned(), json!(made.dump.sha256));
}

fn unused() -> Result<Reader, String> {
    Err("no copy is opened at this level".to_owned())
}

/// Restores one whole copy into a scratch database. The bytes of all are the same: what is proven of it is
/// proven of them.
fn test_restored(
    context: &Context,
    backup: &mut Backup,
    ring: &KeyRing,
    configured_stores: &[ConfiguredStore],
) -> Result<(), String> {
    let whole = backup.copies.iter().zip(configured_stores).filter(|(copy, _)| is_whole(copy));
    let usable = whole.filter_map(|(copy, configured)| Some((copy, configured.store.as_deref().ok()?)));
    let usable = usable.collect();
    let phase = Phase::start(&context.out.bars, "restoring it into a scratch database");
    let report = test_restore::of_one(context, backup, usable, ring, None);
    drop(phase);
    match report {
        Some(Ok(restored)) => {
            log::info!("test restore: {restored}");
            backup.metadata.insert("restored_at".to_owned(), json!(now()));
            for copy in backup.copies.iter_mut().filter(|copy| is_whole(copy)) {
                mark_checked(copy, CheckLevel::Restore);
            }
            Ok(())
        }
        Some(Err(fault)) => {
            log::warn!("{}", fault.message);
            if fault.verdict == Verdict::Restore {
                status::remember_fault(backup, CheckLevel::Restore, &fault.message, now());
            }
            Err(fault.message)
        }
        None => Err("there is no whole copy for a test restore".to_owned()),
    }
}

/// Whether a copy can be restored from and fulfils what was asked.
fn is_whole(copy: &Copy) -> bool {
    copy.state.is_published() && copy.error.is_none()
}

/// Makes each copy that failed from one that is whole.
fn fill_the_gaps(
    context: &Context,
    making: &Making<'_>,
    configured_stores: &[ConfiguredStore],
    copies: &mut [Copy],
) {
    let sources: Vec<(Copy, &dyn Store)> = copies
        .iter()
        .zip(configured_stores)
        .filter(|(copy, _)| is_whole(copy))
        .filter_map(|(copy, configured)| Some((copy.clone(), configured.store.as_deref().ok()?)))
        .collect();
    for (copy, configured) in copies.iter_mut().zip(configured_stores).filter(|(copy, _)| !is_whole(copy)) {
        let mut told = copy.error.clone().unwrap_or_default();
        // A copy that is there but could not be read is not thrown away for another try.
        let is_lost = !matches!(copy.state, CopyState::Stored | CopyState::Verified);
        let store = configured.store.as_deref().ok().filter(|_| is_lost);
        for (from, source) in &sources {
            let Some(store) = store.filter(|_| !is_whole(copy) && !context.interrupt.is_raised()) else {
                break;
            };
            testpoint::reached(Step::FillBegun);
            match making.fill(configured, store, copy, from, *source) {
                Ok(filled) if is_whole(&filled) => {
                    told = format!("{told}; its copy was filled from `{}`", from.store);
                    *copy = filled;
                }
                Ok(filled) => {
                    // The store's own problem: another source would not change it.
                    told = told_too(&told, filled.error.as_deref().unwrap_or_default());
                    *copy = filled;
                    break;
                }
                Err(unreadable) => told = told_too(&told, &unreadable),
            }
        }
        log::warn!("store `{}`: {told}", configured.name);
        if !is_whole(copy) {
            copy.error = Some(told);
        }
    }
}

/// Adds a second problem to a first one, unless its cause is the same.
fn told_too(first: &str, second: &str) -> String {
    let cause = |text: &str| text.split_once(": ").map_or(text.to_owned(), |(_, cause)| cause.to_owned());
    if first.contains(&cause(second)) { first.to_owned() } else { format!("{first}; then: {second}") }
}

/// `None` when no copy can be restored from.
fn status_of(copies: &[Copy], check: Option<CheckLevel>) -> Option<Status> {
    if !copies.iter().any(|copy| matches!(copy.state, CopyState::Stored | CopyState::Verified)) {
        return None;
    }
    let proven = check > Some(CheckLevel::Stat);
    Some(if !copies.iter().all(is_whole) {
        Status::Degraded
    } else if proven && copies.iter().all(|copy| copy.state == CopyState::Verified) {
        Status::Verified
    } else {
        Status::Completed
    })
}
