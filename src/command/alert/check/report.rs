//! What was found as one JSON document, and the figures that the line and the metrics share with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::Found;
use super::sight::Sight;
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
    found.sight.databases.iter().map(|database| of_database(found, database)).collect()
}

fn of_database(found: &Found<'_>, database: &str) -> Facts {
    let sight = &found.sight;
    let good = sight.good(database, found.has_key).map(|good| {
        let full = found.backups.get(&good.id);
        GoodFacts {
            age_seconds: super::age(sight, good.begun_at),
            size_bytes: full.and_then(|backup| backup.size_bytes),
            dump_bytes: full.and_then(|backup| backup.metadata_u64("dump_bytes")),
            duration_seconds: full.and_then(|backup| backup.backup_duration_seconds),
            id: good.id,
            begun_at: good.begun_at,
            stores: good.stores,
        }
    });
    let of_record = sight.record.as_ref().ok().and_then(|record| record.databases.get(database));
    let last_run = of_record.and_then(|it| it.last_run.as_ref()).map(|run| RunFacts {
        id: run.backup.id.as_str().to_owned(),
        begun_at: run.backup.created_at,
        succeeded: !run.failed(),
    });
    let seen = sight.stores.iter().filter(|look| look.shown.is_ok());
    let copies = seen.map(|look| (look.configured.name.clone(), sight.count_whole(look, database))).collect();
    Facts { database: database.to_owned(), good, last_run, copies }
}

/// All that is known of the newest good backups, by id.
pub(super) fn backups(sight: &mut Sight<'_>, has_key: bool) -> BTreeMap<String, Backup> {
    let mut found = BTreeMap::new();
    for database in sight.databases.clone() {
        let Some(good) = sight.good(&database, has_key) else { continue };
        let on_record = sight.record.as_mut().ok().and_then(|record| record.full(&good.id));
        let shown = || {
            let mut proven = sight.stores.iter().filter_map(|look| sight.proven(look, &database));
            proven.find(|backup| backup.id.as_str() == good.id).cloned()
        };
        if let Some(backup) = on_record.or_else(shown) {
            found.insert(good.id, backup);
        }
    }
    found
}

pub(super) fn of(found: &Found<'_>, line: &str) -> Value {
    let sight = &found.sight;
    let store = |look: &super::shown::StoreLook<'_>| {
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
        "checked_at": sight.now,
        "source": sight.source,
        "max_age_seconds": sight.max_age.as_secs(),
        "catalog": { "up": sight.record.is_ok(), "error": sight.record.as_ref().err() },
        "databases": facts(found),
        "stores": sight.stores.iter().map(store).collect::<Vec<_>>(),
        "observations": found.observations,
        "warnings": found.notes,
        "alerts": found.alerts,
    })
}
