//! Nights that lie in the past: copies of one real backup under the names of others, in every store and on record.

use std::collections::BTreeSet;
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
        let begun: Timestamp = site.row(&real)["created_at"].as_str().unwrap().parse().unwrap();
        let mut ages: Vec<i64> = ages_days.into_iter().collect();
        ages.sort_unstable_by(|one, other| other.cmp(one));
        let mut ids = Vec::new();
        for (number, age) in ages.into_iter().enumerate() {
            let at = begun - SignedDuration::from_hours(age * 24);
            ids.push(plant(&site, &real, at, u16::try_from(number).unwrap()));
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

fn plant(site: &Site, real: &str, at: Timestamp, number: u16) -> String {
    let id = BackupId::new("full", &site.database, at, number);
    let row = site.row(real);
    let old_file = row["filename"].as_str().unwrap();
    let file = old_file.replace(real, id.as_str());
    let key = name::object_key("db1", &site.database, &id, &file);
    let old_key = name::object_key("db1", &site.database, &BackupId::parse(real).unwrap(), old_file);
    let mut paths = Vec::new();
    for (store, copy) in site.copies(real) {
        let old = copy["path"].as_str().unwrap();
        let path = format!("{}{key}", old.strip_suffix(&old_key).unwrap());
        for (from, to) in
            [(old.to_owned(), path.clone()), (name::manifest_path(old), name::manifest_path(&path))]
        {
            match store.as_str() {
                "local" => copy_file(Path::new(&from), Path::new(&to)),
                "r2" => site.r2.put(&to, &site.r2.get(&from)),
                _ => site.b2.put(&to, &site.b2.get(&from)),
            }
        }
        paths.push((store, path));
    }
    let mut client = site.cluster.connect(&site.catalog);
    let at = at.to_string();
    client
        .execute(
            "INSERT INTO pgkeep.backup (id, backup_type, source, database, filename, size_bytes, checksum, status, \
                 created_at, finished_at, verified_at) \
             SELECT $2, backup_type, source, database, $3, size_bytes, checksum, 'verified', \
                 $4::text::timestamptz, $4::text::timestamptz, $4::text::timestamptz \
             FROM pgkeep.backup WHERE id = $1",
            &[&real, &id.as_str(), &file, &at],
        )
        .unwrap();
    for (store, path) in paths {
        client
            .execute(
                "INSERT INTO pgkeep.copy (backup, store, position, path, state, size, stored_at, verified_at, \
                     verified_level) \
                 SELECT $3, store, position, $4, 'verified', size, $5::text::timestamptz, $5::text::timestamptz, \
                     'checksum' \
                 FROM pgkeep.copy WHERE backup = $1 AND store = $2",
                &[&real, &store, &id.as_str(), &path, &at],
            )
            .unwrap();
    }
    id.as_str().to_owned()
}

fn copy_file(from: &Path, to: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}
