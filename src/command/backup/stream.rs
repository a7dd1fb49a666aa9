//! The stream of a backup: `pg_dump` on one end, an unpublished upload in each store on the other.

use std::io::Read;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use indicatif::HumanBytes;
use serde_json::json;

use super::fingerprint_capture::{CapturingReader, Figures};
use super::request::{RunRequest, packing};
use super::run_record::RunRecord;
use crate::backup::Backup;
use crate::command::configured_store::ConfiguredStore;
use crate::command::context::Context;
use crate::command::copies::{self, UploadSink, side_by_side};
use crate::command::progress::Progress;
use crate::conninfo::ConnInfo;
use crate::exit::{Failure, one_line};
use crate::manifest::TABLES;
use crate::pipeline::compress::Compression;
use crate::pipeline::fanout::{self, BytesSent, WorkerEnd};
use crate::pipeline::flow::{self, Made, Meter, Plan};
use crate::pipeline::header;
use crate::source::advisory;
use crate::source::clients::Client;
use crate::source::dump::{Dump, DumpPlan};
use crate::source::server::{Facts, Server, is_passing};
use crate::store::{Store, Upload};
use crate::testpoint::{self, Step};

const MIB: u64 = 1024 * 1024;
const LEAST_PART_BYTES: u64 = 8 * MIB;
/// S3's limit is 10,000 parts. An artifact of more is joined by the server, which takes its time: the plan
/// leaves room for an estimate that is a little wrong.
const PARTS_PLANNED: u64 = 9_000;
/// Memory holds seven of the largest parts at once: three in flight and one between them and the queue, one in the
/// queue, one that waits for a slow store, one that is being cut; and twice as many where a store is dropped. They
/// stay under 150 MiB, whatever the artifact's size.
const LARGEST_PART_BYTES: u64 = 12 * MIB;

/// A whole artifact, not yet published anywhere.
pub(super) struct Streamed {
    pub(super) made: Made,
    /// What each store of the configuration holds, in their order.
    pub(super) uploads: Vec<Result<Box<dyn Upload>>>,
    pub(super) part_size_bytes: u64,
}

/// What is to be dumped, by what.
struct Ready {
    connection: ConnInfo,
    facts: Facts,
    client: Client,
    without_schema: Option<String>,
}

/// Dumps, packs, seals, hashes and sends in one pass. After an error nothing is left in any store.
pub(super) fn run(
    request: &RunRequest<'_>,
    run_record: &mut RunRecord<'_>,
    backup: &mut Backup,
) -> Result<Streamed> {
    let &RunRequest { context, ring, configured_stores, .. } = request;
    let ready = prepare(context, run_record, backup).map_err(source_problem)?;
    let part_size_bytes = planned_part_size(run_record, backup, ready.facts.size_bytes);
    log::info!(
        "dumping `{}` ({}) of a server {} by pg_dump {}, in parts of {}",
        backup.database,
        HumanBytes(ready.facts.size_bytes),
        ready.facts.version,
        ready.client.version,
        HumanBytes(part_size_bytes)
    );
    let figures = Figures::open(context, &ready.connection, ready.without_schema.as_deref(), ring.sealing());
    let start = |snapshot: Option<&str>| start_dump(context, &ready, snapshot);
    let mut source = CapturingReader::start(figures, &start)?;
    testpoint::reached(Step::DumpBegun);
    let (made, ends) = send(request, backup, &mut source, part_size_bytes, ready.facts.size_bytes)?;
    let (dump, mut figures) = source.into_parts();
    testpoint::reached(Step::DumpEnded);
    if !dump.warnings().is_empty() {
        log::info!("pg_dump: {}", dump.warnings());
        backup.metadata.insert("pg_dump_warnings".to_owned(), json!(dump.warnings()));
    }
    match made {
        Ok(made) if !context.interrupt.is_raised() => {
            figures.record(context, backup);
            if context.interrupt.is_raised() {
                return Err(abandon(ends, anyhow!("interrupted")));
            }
            Ok(Streamed { made, uploads: in_order(configured_stores, ends), part_size_bytes })
        }
        made => {
            let error = abandon(ends, made.err().unwrap_or_else(|| anyhow!("interrupted")));
            // A server that hangs must not keep what was uploaded from being removed.
            figures.cancel();
            Err(error)
        }
    }
}

/// Packs, seals, hashes and sends what a source gives, which may come to so many bytes, into an unpublished upload in each
/// store. The uploads come back in either case.
pub(super) fn send(
    request: &RunRequest<'_>,
    backup: &Backup,
    source: &mut dyn Read,
    part_size_bytes: u64,
    expected_bytes: u64,
) -> Result<(Result<Made>, Vec<WorkerEnd<UploadSink>>)> {
    let &RunRequest { context, ring, configured_stores, .. } = request;
    let secrets = header::create(&backup.id, packing(context), ring.sealing())?;
    let meter = Arc::new(Meter::default());
    let workers = workers(backup, configured_stores, part_size_bytes);
    let watched =
        workers.iter().map(|worker| (worker.name.clone(), Arc::clone(&worker.bytes_sent))).collect();
    let bars = &context.out.bars;
    let progress = Progress::start(bars, &backup.database, expected_bytes, &meter, watched)?;
    let sent = flow::run(&plan(context, part_size_bytes), source, secrets, workers, &meter);
    drop(progress);
    Ok(sent)
}

fn plan(context: &Context, part_size_bytes: u64) -> Plan {
    Plan {
        compression: Compression {
            packing: packing(context),
            level: context.config.compression.level,
            threads: context.config.compression.threads,
        },
        part_size_bytes,
        stall: context.config.timeouts.stall,
        interrupt: context.interrupt.clone(),
    }
}

fn start_dump(context: &Context, ready: &Ready, snapshot: Option<&str>) -> Result<Dump> {
    let plan = DumpPlan {
        client: &ready.client,
        connection: &ready.connection,
        lock_wait_timeout: context.config.source.lock_wait_timeout,
        connect_timeout: context.config.timeouts.connect,
        stall: context.config.timeouts.stall,
        without_schema: ready.without_schema.as_deref(),
        snapshot,
    };
    Dump::start(&plan, context.interrupt.clone())
}

/// Ends every upload of a run that failed; gives the error that says why it did.
pub(super) fn abandon(ends: Vec<WorkerEnd<UploadSink>>, error: anyhow::Error) -> anyhow::Error {
    let workers = ends.len();
    let faults = match abort(ends) {
        Ok(faults) => faults,
        Err(error) => return error,
    };
    if workers > 0 && faults.len() == workers {
        // The stores' own reasons say more than that none of them is left.
        return error.context(Failure::failed(faults.join("; ")));
    }
    for fault in faults {
        log::warn!("{fault}");
    }
    source_problem(error)
}

/// Says of an error that came from the source whether it may pass by itself.
pub(super) fn source_problem(error: anyhow::Error) -> anyhow::Error {
    if is_passing(&error) {
        return error.context(Failure::failed("the server could not be dumped").passing());
    }
    error
}

/// Asks the server what there is, and finds the programs that fit it.
fn prepare(context: &Context, run_record: &mut RunRecord<'_>, backup: &mut Backup) -> Result<Ready> {
    let connection = context.config.source.connection.with_dbname(&backup.database);
    let mut server = Server::connect(&connection, &context.connect_options())?;
    let facts = server.facts()?;
    let client = context.client("pg_dump", facts.major)?;
    for (what, version) in [("server", &facts.version), ("pg_dump", &client.version)] {
        if let Some(advice) = advisory::of(what, version) {
            log::info!("{advice}");
        }
    }
    let without_schema = super::exclusion::schema(context, run_record, &mut server, &backup.database)?;
    for (key, value) in [
        ("server_version", json!(facts.version)),
        ("pg_dump_version", json!(client.version)),
        ("database_bytes", json!(facts.size_bytes)),
    ] {
        backup.metadata.insert(key.to_owned(), value);
    }
    match server.table_count(without_schema.as_deref()) {
        Ok(count) => drop(backup.metadata.insert(TABLES.to_owned(), json!(count))),
        Err(error) => log::warn!("nobody knows how many tables there are: {}", one_line(&error)),
    }
    Ok(Ready { connection, facts, client, without_schema })
}

pub(super) fn planned_part_size(run_record: &mut RunRecord<'_>, backup: &Backup, database_bytes: u64) -> u64 {
    let last = run_record.catalog().and_then(|catalog| {
        catalog.last_size_bytes(&backup.source, &backup.database, &backup.backup_type).ok()
    });
    part_size(database_bytes, last.flatten())
}

/// One size for all parts, so that the whole fits into one upload to S3 if that can be: by half as much
/// again as the last artifact, or by what the database takes on disk where there is none yet. Too small a
/// guess costs requests, not the copy.
fn part_size(database_bytes: u64, last_bytes: Option<u64>) -> u64 {
    part_size_of(last_bytes.map_or(database_bytes, |last| last.saturating_add(last / 2)))
}

/// The part size for an artifact of that size.
pub(super) fn part_size_of(artifact_bytes: u64) -> u64 {
    artifact_bytes.div_ceil(PARTS_PLANNED).next_multiple_of(MIB).clamp(LEAST_PART_BYTES, LARGEST_PART_BYTES)
}

/// A worker into each store that can be used.
fn workers(
    backup: &Backup,
    configured_stores: &[ConfiguredStore],
    part_size_bytes: u64,
) -> Vec<fanout::StoreWorker<UploadSink>> {
    let usable =
        configured_stores.iter().filter_map(|configured| Some((configured, configured.store.as_ref().ok()?)));
    let worker = |(configured, store): (&ConfiguredStore, &Arc<dyn Store>)| {
        let store = Arc::clone(store);
        let path = copies::path_in(backup, store.as_ref());
        fanout::StoreWorker {
            name: configured.name.clone(),
            bytes_sent: BytesSent::default(),
            open: Box::new(move || {
                let upload = store.begin(&path, part_size_bytes)?;
                testpoint::reached(Step::UploadBegun);
                Ok(UploadSink(upload))
            }),
        }
    };
    usable.map(worker).collect()
}

/// The end of each store's worker, in the order of the stores.
pub(super) fn in_order(
    configured_stores: &[ConfiguredStore],
    mut ends: Vec<WorkerEnd<UploadSink>>,
) -> Vec<Result<Box<dyn Upload>>> {
    let mut end_of = |configured: &ConfiguredStore| {
        let position = ends.iter().position(|end| end.name == configured.name);
        match position.map(|position| ends.swap_remove(position).result) {
            Some(result) => result.map(|worker| worker.0),
            None => Err(anyhow!("it could not be used")),
        }
    };
    configured_stores.iter().map(&mut end_of).collect()
}

/// Ends every upload; gives back what the workers had to say.
fn abort(ends: Vec<WorkerEnd<UploadSink>>) -> Result<Vec<String>> {
    let aborted = side_by_side(ends, |end| match end.result {
        Ok(worker) => {
            if let Err(error) = worker.0.abort() {
                log::warn!("store `{}`: {}; the next run removes it", end.name, one_line(&error));
            }
            None
        }
        Err(error) => Some(format!("store `{}`: {}", end.name, one_line(&error))),
    })?;
    Ok(aborted.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_expected_fits_into_10000_parts_that_fit_into_memory(
            last in proptest::option::of(0u64..(1 << 45)), database in 0u64..(1 << 50)) {
            let size = part_size(database, last);
            prop_assert!(size.is_multiple_of(MIB));
            prop_assert!((LEAST_PART_BYTES..=LARGEST_PART_BYTES).contains(&size));
            let expected = last.map_or(database, |last| last + last / 2);
            prop_assert!(expected.div_ceil(size) <= 10_000 || size == LARGEST_PART_BYTES);
        }
    }

    #[test]
    fn parts_grow_with_the_artifact_to_an_end() {
        assert_eq!(part_size(40 << 20, None), 8 * MIB);
        assert_eq!(part_size(0, Some(60 << 30)), 11 * MIB);
        assert_eq!(part_size(40 << 40, None), 12 * MIB);
    }
}
