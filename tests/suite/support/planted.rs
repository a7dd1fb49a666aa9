//! Nights that lie in the past: copies of one real backup under the names of others, in every store and on record.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use pgkeep::name::{self, BackupId};

use super::Site;
use super::tools::files_under;

/// A site with a real backup of now and planted ones before it.
#[derive(Debug)]
pub(crate) struct Planted {
    pub(crate) site: Site,
    /// The ids, the oldest first; the last one is the real backup.
    pub(crate) ids: Vec<String>,
}

impl Planted {
    /// A backup of each of these ages in days, all whole and verified.
    pub(crate) fn nights(site: Site, ages_days: impl IntoIterator<Item = i64>) -> Self {
        let real = site.backup();
        let template = Template::of(&site, &real);
        let begun: Timestamp = site.row(&real)["created_at"].as_str().unwrap().parse().unwrap();
        let mut ages: Vec<i64> = ages_days.into_iter().collect();
        ages.sort_unstable_by(|one, other| other.cmp(one));
        let mut ids = Vec::new();
        for (number, age) in ages.into_iter().enumerate() {
            let at = begun - SignedDuration::from_hours(age * 24);
            ids.push(template.plant(&site, &site.database, at, u16::try_from(number).unwrap(), Night::Whole));
        }
        ids.push(real);
        Self { site, ids }
    }

    /// The ids whose copy stands whole in a store, by what the store itself shows.
    pub(crate) fn shown_in(&self, store: &str) -> BTreeSet<String> {
        let paths: BTreeSet<String> = match store {
            "local" => {
                files_under(&self.site.local()).iter().map(|path| path.to_str().unwrap().to_owned()).collect()
            }
            "r2" => self.site.r2.keys().into_iter().collect(),
            _ => self.site.b2.keys().into_iter().collect(),
        };
        let is_whole = |id: &&String| {
            let mut of_it = paths.iter().filter(|path| path.contains(id.as_str()));
            matches!((of_it.next(), of_it.next(), of_it.next()), (Some(_), Some(_), None))
        };
        self.ids.iter().filter(is_whole).cloned().collect()
    }

    /// The ids whose copy in a store is verified, by the record.
    pub(crate) fn on_record_in(&self, store: &str) -> BTreeSet<String> {
        let query = "SELECT backup FROM pgkeep.copy WHERE store = $1 AND state = 'verified'";
        let rows = self.site.cluster.connect(&self.site.catalog).query(query, &[&store]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Those of the ids from the given place on.
    pub(crate) fn from(&self, place: usize) -> BTreeSet<String> {
        self.ids[place..].iter().cloned().collect()
    }
}

/// How a planted night went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Night {
    /// Verified, in every store.
    Whole,
    /// No copy anywhere.
    Failed,
    /// Stored, and never read back.
    Unproven,
    /// It never reached that store.
    Without(&'static str),
    /// Its copy in that store was found damaged.
    DamagedIn(&'static str),
}

impl Night {
    fn status(self) -> &'static str {
        match self {
            Self::Whole => "verified",
            Self::Failed => "failed",
            Self::Unproven => "completed",
            Self::Without(_) | Self::DamagedIn(_) => "degraded",
        }
    }

    fn state_in(self, store: &str) -> &'static str {
        match self {
            Self::Unproven => "stored",
            Self::Without(name) if name == store => "failed",
            Self::DamagedIn(name) if name == store => "corrupt",
            _ => "verified",
        }
    }
}

/// A real backup that others are made after.
#[derive(Debug)]
pub(crate) struct Template {
    real: String,
    /// Its file's name, and what stands before the key in each store.
    file: String,
    roots: BTreeMap<String, String>,
    artifact: Vec<u8>,
    manifest: Vec<u8>,
}

impl Template {
    pub(crate) fn of(site: &Site, real: &str) -> Self {
        let file = site.row(real)["filename"].as_str().unwrap().to_owned();
        let key = name::object_key("db1", &site.database, &BackupId::parse(real).unwrap(), &file);
        let path = |copy: &serde_json::Value| copy["path"].as_str().unwrap().to_owned();
        let copies = site.copies(real);
        let local = path(&copies["local"]);
        let root = |copy| path(copy).strip_suffix(&key).unwrap().to_owned();
        Self {
            real: real.to_owned(),
            file,
            roots: copies.iter().map(|(store, copy)| (store.clone(), root(copy))).collect(),
            artifact: fs::read(&local).unwrap(),
            manifest: fs::read(name::manifest_path(&local)).unwrap(),
        }
    }

    /// Puts a backup of that time into the stores and on record; gives its id.
    pub(crate) fn plant(
        &self,
        site: &Site,
        database: &str,
        at: Timestamp,
        number: u16,
        night: Night,
    ) -> String {
        let id = BackupId::new("full", database, at, number);
        let file = self.file.replace(&self.real, id.as_str());
        let key = name::object_key("db1", database, &id, &file);
        let mut client = site.cluster.connect(&site.catalog);
        let at = at.to_string();
        client
            .execute(
                "INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, size_bytes, checksum, \
                     status, created_at, finished_at, verified_at) \
                 SELECT $2, backup_type, 'db1', $3, $4, size_bytes, checksum, $5, \
                     $6::text::timestamptz, $6::text::timestamptz, $6::text::timestamptz \
                 FROM pgkeep.backup WHERE id = $1",
                &[&self.real, &id.as_str(), &database, &file, &night.status(), &at],
            )
            .unwrap();
        for (store, root) in self.roots.iter().filter(|_| night != Night::Failed) {
            let (path, state) = (format!("{root}{key}"), night.state_in(store));
            if state != "failed" {
                self.put(site, store, &path);
            }
            client
                .execute(
                    "INSERT INTO pgkeep.copy (backup, store, position, path, state, size, stored_at, verified_at, \
                         verified_level) \
                     SELECT $3, store, position, $4, $5, size, $6::text::timestamptz, $6::text::timestamptz, \
                         'checksum' \
                     FROM pgkeep.copy WHERE backup = $1 AND store = $2",
                    &[&self.real, store, &id.as_str(), &path, &state, &at],
                )
                .unwrap();
        }
        id.as_str().to_owned()
    }

    fn put(&self, site: &Site, store: &str, path: &str) {
        for (path, bytes) in [(path.to_owned(), &self.artifact), (name::manifest_path(path), &self.manifest)]
        {
            match store {
                "local" => {
                    let folder = Path::new(&path).parent().unwrap();
                    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).unwrap();
                    fs::write(path, bytes).unwrap();
                }
                "r2" => site.r2.put(&path, bytes),
                _ => site.b2.put(&path, bytes),
            }
        }
    }
}
