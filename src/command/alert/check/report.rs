//! What was found as one JSON document, and the figures that the line and the metrics share with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::Found;
use super::snapshot::Snapshot;
use crate::backup::Backup;
use crate::exit::Code;

/// What is known of a database.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Facts {
    pub(super) database: String,
    /// The newest good backup.
    pub(super) good: Option<GoodFacts>,
    /// The newest run that has ended.
    pub(super) last_run: Option<RunFacts>,
    /// Whole copies that each store shows.
    pub(super) copies: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct GoodFacts {
    pub(super) id: String,
    pub(super) begun_at: Timestamp,
    pub(super) age_seconds: u64,
    pub(super) size_bytes: Option<u64>,
    pub(super) dump_bytes: Option<u64>,
    pub(super) duration_seconds: Option<f64>,
    /// The stores that show it whole.
    pub(super) stores: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct RunFacts {
    pub(super) id: String,
    pub(super) begun_at: Timestamp,
    pub(super) succeeded: bool,
}

/// The figures of every database.
pub(super) fn facts(found: &Found<'_>) -> Vec<Facts> {
    found.snapshot.databases.iter().map(|database| of_database(found, database)).collect()
}

fn of_database(found: &Found<'_>, database: &str) -> Facts {
    let snapshot = &found.snapshot;
    let good = snapshot.good(database, found.has_key).map(|good| {
        let full = found.backups.get(&good.id);
        GoodFacts {
            age_seconds: super::age(snapshot, good.begun_at),
            size_bytes: full.and_then(|backup| backup.size_bytes),
            dump_bytes: full.and_then(|backup| backup.metadata_u64("dump_bytes")),
            duration_seconds: full.and_then(|backup| backup.backup_duration_seconds),
            id: good.id,
            begun_at: good.begun_at,
            stores: good.stores,
        }
    });
    let of_record = snapshot.record.as_ref().ok().and_then(|record| record.databases.get(database));
    let last_run = of_record.and_then(|it| it.last_run.as_ref()).map(|run| RunFacts {
        id: run.backup.id.as_str().to_owned(),
        begun_at: run.backup.created_at,
        succeeded: !run.failed(),
    });
    let seen = snapshot.stores.iter().filter(|look| look.shown.is_ok());
    let copies =
        seen.map(|look| (look.configured.name.clone(), snapshot.count_whole(look, database))).collect();
    Facts { database: database.to_owned(), good, last_run, copies }
}

/// All that is known of the newest good backups, by id.
pub(super) fn backups(snapshot: &mut Snapshot<'_>, has_key: bool) -> BTreeMap<String, Backup> {
    let mut found = BTreeMap::new();
    for database in snapshot.databases.clone() {
        let Some(good) = snapshot.good(&database, has_key) else { continue };
        let on_record = snapshot.record.as_mut().ok().and_then(|record| record.full(&good.id));
        let shown = || {
            let mut proven = snapshot.stores.iter().filter_map(|look| snapshot.proven(look, &database));
            proven.find(|backup| backup.id.as_str() == good.id).cloned()
        };
        if let Some(backup) = on_record.or_else(shown) {
            found.insert(good.id, backup);
        }
    }
    found
}

pub(super) fn of(found: &Found<'_>, line: &str) -> Value {
    let snapshot = &found.snapshot;
    let store = |look: &super::store_listing::StoreLook<'_>| {
        json!({
            "store": look.configured.name,
            "up": look.shown.is_ok(),
            "error": look.shown.as_ref().err(),
            "free_bytes": look.room.map(|room| room.free_bytes),
            "total_bytes": look.room.map(|room| room.total_bytes),
        })
    };
    json!({
        "state": found.state.as_str(),
        "code": Code::Plugin(found.state).number(),
        "line": line,
        "checked_at": snapshot.now,
        "source": snapshot.source,
        "max_age_seconds": snapshot.max_age.as_secs(),
        "catalog": { "up": snapshot.record.is_ok(), "error": snapshot.record.as_ref().err() },
        "databases": facts(found),
        "stores": snapshot.stores.iter().map(store).collect::<Vec<_>>(),
        "observations": found.findings,
        "warnings": found.notes,
        "alerts": found.alerts,
    })
}
