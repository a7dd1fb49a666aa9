//! A site in which runs are killed, and what must hold of it afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use crate::support::tools::files_under;
use crate::support::{Site, sha256_hex, wait_until};

const MANIFEST: &str = ".json";

/// A site with a folder and a bucket, a backup that was made before, and things that are another host's.
pub(crate) struct World {
    pub(crate) site: Site,
    /// The backup that was made before.
    pub(crate) good: String,
    foreign_file: std::path::PathBuf,
    foreign_upload: String,
    /// Artifacts that were looked at and found whole, by store; they never change.
    seen: Mutex<BTreeSet<(String, String)>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut site = Site::new();
        site.config.keep_stores(&["local", "r2"]);
        let good = site.backup();
        // The same database, of another host: a backup that is being made there.
        let row = site.row(&good);
        let (local, r2) = (row["local_path"].as_str().unwrap(), row["r2_path"].as_str().unwrap());
        let others = |path: &str| path.replace(&good, &format!("{}-20260101T000000Z-0000", stem(&good)));
        let others_file = others(local);
        let (folder, name) = others_file.rsplit_once('/').unwrap();
        let foreign_file = Path::new(folder).join(format!(".{name}.Ab12Cd.part"));
        fs::write(&foreign_file, b"another's").unwrap();
        let foreign_upload = others(r2);
        site.r2.begin_upload(&foreign_upload);
        Self { site, good, foreign_file, foreign_upload, seen: Mutex::default() }
    }

    /// Every object: by store the path and its bytes, of those whose path passes.
    fn objects(&self, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<(String, String), Vec<u8>> {
        let mut found = BTreeMap::new();
        for file in files_under(&self.site.local()) {
            let path = file.to_str().unwrap().to_owned();
            if is_wanted(&path) {
                found.insert(("local".to_owned(), path), fs::read(&file).unwrap());
            }
        }
        for key in self.site.r2.keys().into_iter().filter(|key| is_wanted(key)) {
            let bytes = self.site.r2.get(&key);
            found.insert(("r2".to_owned(), key), bytes);
        }
        found
    }

    /// The ids of backups with a manifest, each of which matches its artifact.
    pub(crate) fn whole(&self) -> BTreeSet<String> {
        let mut seen = self.seen.lock().unwrap();
        let mut ids = BTreeSet::new();
        for ((store, path), bytes) in self.objects(|path| path.ends_with(MANIFEST)) {
            let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            ids.insert(manifest["id"].as_str().unwrap().to_owned());
            let artifact = path.strip_suffix(MANIFEST).unwrap().to_owned();
            if !seen.insert((store.clone(), artifact.clone())) {
                continue;
            }
            let bytes =
                if store == "local" { fs::read(&artifact).unwrap() } else { self.site.r2.get(&artifact) };
            assert_eq!(manifest["size_bytes"], bytes.len(), "{artifact} in {store}");
            assert_eq!(manifest["checksum"], sha256_hex(&bytes), "{artifact} in {store}");
        }
        ids
    }

    /// What stands in a store without a manifest, but for what is another host's from the start.
    pub(crate) fn without_a_manifest(&self) -> Vec<String> {
        let is_ours = |path: &str| path != self.foreign_file.to_str().unwrap();
        let all: Vec<_> = self.objects(is_ours).into_keys().collect();
        let has_manifest = |(store, path): &(String, String)| {
            path.ends_with(MANIFEST) || all.contains(&(store.clone(), format!("{path}{MANIFEST}")))
        };
        all.iter().filter(|object| !has_manifest(object)).map(|(_, path)| path.clone()).collect()
    }

    /// What holds at once after a run has died.
    pub(crate) fn assert_sound_after_death(&self) {
        assert!(self.whole().contains(&self.good), "the backup before is gone");
        self.await_no_child(&self.site.database);
    }

    /// No program that was started for a database is left, and no session of it on the server.
    pub(crate) fn await_no_child(&self, database: &str) {
        let port = self.site.cluster.port.to_string();
        wait_until("no child is left", || !is_any_process(&[database, &port]));
        let mut client = self.site.cluster.connect("postgres");
        let query =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'pgkeep%'";
        wait_until("no session is left", || {
            client.query_one(query, &[&database]).unwrap().get::<_, i64>(0) == 0
        });
    }

    /// A run that nothing disturbs: it succeeds, says nothing, and puts right what the dead one left.
    pub(crate) fn next_run(&self, after: &str) {
        let id = self.site.backup();
        assert_eq!(self.site.row(&id)["status"], "verified", "{after}");
        self.assert_record_fits_stores(after);
    }

    /// What looks usable in a store is so on record, and the other way round; nothing unpublished is left but
    /// what belongs to another host.
    pub(crate) fn assert_record_fits_stores(&self, after: &str) {
        let whole = self.whole();
        let mut usable = BTreeSet::new();
        for row in self.site.rows() {
            let (id, status) = (row["id"].as_str().unwrap(), row["status"].as_str().unwrap());
            match status {
                "verified" | "completed" | "degraded" => {
                    usable.insert(id.to_owned());
                }
                "failed" => assert!(row["error"].is_string(), "{after}: {row:#}"),
                _ => panic!("{after}: {row:#}"),
            }
        }
        assert_eq!(usable, whole, "{after}");
        let is_ours = |path: &str| path != self.foreign_file.to_str().unwrap();
        for (store, path) in self.objects(is_ours).into_keys() {
            assert!(!path.ends_with(".part"), "{after}: {path} in {store}");
            let id = whole.iter().find(|id| path.contains(id.as_str()));
            assert!(id.is_some(), "{after}: {path} in {store} belongs to no backup");
        }
        assert!(self.foreign_file.exists(), "{after}: another's temporary file is gone");
        let uploads: Vec<String> = self.site.r2.uploads().into_iter().map(|upload| upload.key).collect();
        assert_eq!(uploads, [self.foreign_upload.as_str()], "{after}");
    }

    /// The ids of the backups that the catalog calls usable.
    pub(crate) fn usable(&self) -> BTreeSet<String> {
        let rows = self.site.rows().into_iter();
        let usable = rows.filter(|row| row["status"] != "failed" && row["status"] != "in_progress");
        usable.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Whatever was killed: all that looks usable is, everywhere, once what was never made is made.
    pub(crate) fn assert_all_settled(&self) {
        self.site.pgkeep(["verify", "--all", "--repair"]).any_stdout().any_stderr().run();
        self.site.pgkeep(["verify", "--all", "--level", "content"]).any_stdout().run();
        for row in self.site.rows().iter().filter(|row| row["status"] != "failed") {
            assert_eq!(row["status"], "verified", "{row:#}");
            self.site.assert_copies(row["id"].as_str().unwrap(), &["local", "r2"]);
        }
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = \
            (SELECT oid FROM pg_database WHERE datname = current_database())";
        let mut client = self.site.cluster.connect(&self.site.catalog);
        wait_until("no lock is held", || client.query_one(held, &[]).unwrap().get::<_, i64>(0) == 0);
    }
}

fn stem(id: &str) -> &str {
    id.rsplitn(3, '-').last().unwrap()
}

/// Whether a process runs whose command line holds all these words.
pub(crate) fn is_any_process(words: &[&str]) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains("pg_") && words.iter().all(|word| line.contains(word))
    })
}
