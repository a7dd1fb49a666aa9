//! A test's own world: a home folder, a database, two buckets, a key, and a configuration that ties them together.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::FaultServer;
use super::cluster::{Cluster, PASSWORD, PASSWORD_IN_URI, SAMPLE, cluster, sample_of_parts, unique};
use super::command::Pgkeep;
use super::config::{Config, local_store, s3_store, secret_env, secret_file};
use super::key;
use super::manners::Manners;
use super::s3server::{Bucket, b2, r2};
use super::secrets::{assert_no_secret_in_files, assert_no_secret_in_rows};
use super::tools::{files_under, sha256_hex};

/// Such a world.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) cluster: &'static Cluster,
    /// The database that is backed up; its schema `pgkeep` is the catalog where a test says nothing else.
    pub(crate) database: String,
    /// The database that the catalog is in.
    pub(crate) catalog: String,
    pub(crate) r2: Bucket,
    pub(crate) b2: Bucket,
    pub(crate) config: Config,
    /// The text of the key that seals.
    pub(crate) key: String,
    home: TempDir,
}

impl Site {
    /// A site with the sample's few rows, a local store and two buckets.
    pub(crate) fn new() -> Self {
        Self::of(unique("shop"), SAMPLE)
    }

    /// A site with so much in its database that the artifact has three parts.
    pub(crate) fn of_parts() -> Self {
        Self::of(unique("parts"), sample_of_parts())
    }

    /// A site whose database is a copy of `template`.
    pub(crate) fn of(database: String, template: &str) -> Self {
        Self::on(cluster(), database, template)
    }

    /// A site with a cluster of its own, in which its database is called `shop`.
    pub(crate) fn alone() -> Self {
        let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start()));
        cluster.create_database(SAMPLE, "template0");
        cluster.execute(SAMPLE, include_str!("../../sql/sample.sql"));
        Self::on(cluster, "shop".to_owned(), SAMPLE)
    }

    fn on(cluster: &'static Cluster, database: String, template: &str) -> Self {
        cluster.create_database(&database, template);
        let home = tempfile::Builder::new().prefix("pgkeep-test").tempdir().unwrap();
        let (r2, b2) = (r2().bucket(), b2().bucket());
        let key = key::made_up(1);
        key::write_private(&home.path().join("pgkeep.key"), &format!("{key}\n"));
        key::write_private(&home.path().join("b2.secret"), &format!("{}\n", b2.server.credentials.secret));
        let mut config = Config::default();
        config.set("state_dir", home.path().join("state").to_str().unwrap());
        config.set("source.name", "db1");
        config.set("source.url", cluster.url(&database));
        config.set("encryption.key_file", home.path().join("pgkeep.key").to_str().unwrap());
        // Most tests are of one backup; what each night makes beside it has tests of its own.
        config.set("config.with_full", false);
        config.set("retry.attempts", 0);
        config.set("timeouts.connect", "5s");
        config.set("timeouts.request", "30s");
        config.set("timeouts.stall", "20s");
        config.add_store(local_store("local", &home.path().join("backups")));
        config.add_store(s3_store("r2", &r2, secret_env("R2_SECRET")));
        config.add_store(s3_store("b2", &b2, secret_file(&home.path().join("b2.secret"))));
        Self { cluster, catalog: database.clone(), database, r2, b2, config, key, home }
    }

    /// A path in the site's home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The local store's folder.
    pub(crate) fn local(&self) -> PathBuf {
        self.path("backups")
    }

    /// Leaves only the local store.
    pub(crate) fn local_only(mut self) -> Self {
        self.config.keep_stores(&["local"]);
        self
    }

    /// Puts the catalog into a database of its own.
    pub(crate) fn with_own_catalog(mut self) -> Self {
        self.catalog = self.cluster.fresh_database();
        let url = self.cluster.url(&self.catalog);
        self.config.set("catalog.url", url);
        self
    }

    /// Puts a fault server in front of a store's bucket.
    pub(crate) fn fault(&mut self, store: &str, manners: Manners) -> FaultServer {
        let bucket = if store == "r2" { &self.r2 } else { &self.b2 };
        let fault = FaultServer::start(bucket.server, manners);
        self.set_endpoint(store, &fault.address);
        fault
    }

    /// Lets a store's endpoint be this host and port.
    pub(crate) fn set_endpoint(&mut self, store: &str, address: &str) {
        self.config.store(store).insert("endpoint".to_owned(), format!("http://{address}").into());
    }

    /// A call with the site's configuration, as it is now.
    pub(crate) fn pgkeep<T: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = T>) -> Pgkeep {
        let config = self.path("config.toml");
        self.config.write(&config);
        self.bare().args([Path::new("--config"), &config]).args(arguments)
    }

    /// A call without a configuration.
    pub(crate) fn bare(&self) -> Pgkeep {
        Pgkeep::new(self.home.path())
            .env("R2_SECRET", &self.r2.server.credentials.secret)
            .secrets(&self.secrets())
    }

    /// Makes a backup that must succeed in silence; gives its id.
    pub(crate) fn backup(&self) -> String {
        self.pgkeep(["backup", "full"]).stdout_has("full-").run().id()
    }

    /// What may stand nowhere but in the files that are made to hold it.
    pub(crate) fn secrets(&self) -> Vec<String> {
        vec![
            PASSWORD.to_owned(),
            PASSWORD_IN_URI.to_owned(),
            self.r2.server.credentials.secret.clone(),
            self.b2.server.credentials.secret.clone(),
            self.key.trim_start_matches(key::MARK).to_owned(),
        ]
    }

    /// Fails when a secret stands in a file of the site, or in a row of the catalog.
    pub(crate) fn assert_no_secret(&self) {
        let allowed = ["config.toml", "pgkeep.key", "b2.secret"].map(|name| self.path(name));
        let allowed: Vec<&Path> = allowed.iter().map(PathBuf::as_path).collect();
        assert_no_secret_in_files(self.home.path(), &allowed, &self.secrets());
        assert_no_secret_in_rows(&mut self.cluster.connect(&self.catalog), "pgkeep", &self.secrets());
    }

    /// Everything the catalog's row of a backup says.
    pub(crate) fn row(&self, id: &str) -> Value {
        let query = "SELECT to_jsonb(b) FROM pgkeep.backup b WHERE id = $1";
        let row = self.cluster.connect(&self.catalog).query_opt(query, &[&id]).unwrap();
        row.unwrap_or_else(|| panic!("`{id}` is not in the catalog")).get(0)
    }

    /// All rows of the catalog, oldest first.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let query = "SELECT to_jsonb(b) FROM pgkeep.backup b ORDER BY created_at, id";
        let rows = self.cluster.connect(&self.catalog).query(query, &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The catalog's rows of a backup's copies, by store.
    pub(crate) fn copies(&self, id: &str) -> BTreeMap<String, Value> {
        let query = "SELECT c.store, to_jsonb(c) FROM pgkeep.copy c WHERE backup = $1";
        let rows = self.cluster.connect(&self.catalog).query(query, &[&id]).unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// The bytes of a backup's copies, by store, as its catalog row says where they are.
    pub(crate) fn copy_bytes(&self, id: &str) -> BTreeMap<&'static str, Vec<u8>> {
        let row = self.row(id);
        let mut found = BTreeMap::new();
        if let Some(path) = row["local_path"].as_str() {
            found.insert("local", fs::read(path).unwrap());
        }
        for (store, column, bucket) in [("r2", "r2_path", &self.r2), ("b2", "b2_path", &self.b2)] {
            if let Some(key) = row[column].as_str() {
                found.insert(store, bucket.get(key));
            }
        }
        found
    }

    /// Fails unless there are copies in just these stores, all equal and as the catalog says.
    pub(crate) fn assert_copies(&self, id: &str, stores: &[&str]) {
        let row = self.row(id);
        let copies = self.copy_bytes(id);
        assert_eq!(copies.keys().copied().collect::<Vec<_>>(), sorted(stores), "{row:#}");
        for (store, bytes) in &copies {
            assert_eq!(row["checksum"], sha256_hex(bytes), "the copy in {store}");
            assert_eq!(row["size_bytes"], bytes.len(), "the copy in {store}");
        }
    }

    /// Fails when any store holds anything, or an upload is still open.
    pub(crate) fn assert_nothing_stored(&self) {
        assert_eq!(files_under(&self.local()), Vec::<PathBuf>::new());
        for bucket in [&self.r2, &self.b2] {
            assert_eq!(bucket.keys(), Vec::<String>::new());
        }
        self.assert_no_uploads();
    }

    /// Fails when an upload is still open.
    pub(crate) fn assert_no_uploads(&self) {
        for bucket in [&self.r2, &self.b2] {
            assert!(bucket.uploads().is_empty(), "{:?}", bucket.uploads());
        }
    }

    /// A fresh, empty database, and its connection string.
    pub(crate) fn target(&self) -> (String, String) {
        let name = self.cluster.fresh_database();
        let url = self.cluster.url(&name);
        (name, url)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.r2.remove();
        self.b2.remove();
    }
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}
