//! Who can write to a store, and has no key, or one that was rotated out, gains nothing but to be named.

mod forged;
mod names;
mod poisoned;
mod stamps;

use std::fs;
use std::path::Path;

use pgkeep::key::Key;
use pgkeep::manifest::Manifest;
use toml::Table;

use crate::support::config::Config;
use crate::support::{Pgkeep, Site, key};

const STORES: [&str; 2] = ["local", "r2"];
/// The id of a key that nobody has.
const NOBODYS: &str = "0123456789abcdef";

/// A site with a directory and a bucket.
fn site() -> Site {
    let mut site = Site::new().with_own_catalog();
    site.config.keep_stores(&STORES);
    site
}

/// Lets a newer key seal; the one before only opens, as its entry says.
fn rotate(site: &mut Site, until: Option<&str>) {
    let newer = site.path("newer.key");
    key::write_private(&newer, &format!("{}\n", newer_key()));
    site.config.set("encryption.key_file", newer.to_str().unwrap());
    open_with(site, until);
}

fn open_with(site: &mut Site, until: Option<&str>) {
    let file = site.path("pgkeep.key").to_str().unwrap().to_owned();
    let entry = match until {
        None => toml::Value::from(file),
        Some(until) => {
            Table::from_iter([("file".to_owned(), file.into()), ("until".to_owned(), until.into())]).into()
        }
    };
    site.config.set("encryption.open_with", vec![entry]);
}

fn newer_key() -> String {
    key::made_up(5)
}

/// What somebody has who made off with the key of before: another host, and all rights in the stores.
struct Thief {
    config: Config,
}

impl Thief {
    fn of(site: &Site) -> Self {
        let mut config = site.config.clone();
        config.set("catalog.url", site.cluster.url(&site.cluster.fresh_database()));
        config.set("state_dir", site.path("thief").to_str().unwrap());
        Self { config }
    }

    fn call(&self, site: &Site) -> Pgkeep {
        let file = site.path("thief.toml");
        self.config.write(&file);
        site.bare().args([Path::new("--config"), &file]).args(["backup", "full"])
    }

    /// A backup of what the thief likes, sealed and signed, that no catalog of the site knows.
    fn forge(&self, site: &Site) -> String {
        self.call(site).any_stdout().run().id()
    }
}

fn path_in(site: &Site, id: &str, store: &str) -> String {
    site.row(id)[format!("{store}_path")].as_str().unwrap().to_owned()
}

fn read(site: &Site, store: &str, path: &str) -> Vec<u8> {
    if store == "local" { fs::read(path).unwrap() } else { site.r2.get(path) }
}

fn write(site: &Site, store: &str, path: &str, bytes: &[u8]) {
    if store == "local" {
        fs::write(path, bytes).unwrap();
    } else {
        site.r2.put(path, bytes);
    }
}

fn manifest(site: &Site, id: &str, store: &str) -> Vec<u8> {
    read(site, store, &format!("{}.json", path_in(site, id, store)))
}

fn plant(site: &Site, id: &str, store: &str, manifest: &[u8]) {
    write(site, store, &format!("{}.json", path_in(site, id, store)), manifest);
}

/// A manifest changed, and signed by a key.
fn signed(bytes: &[u8], by: &str, change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let mut manifest = Manifest::read(bytes).unwrap();
    change(&mut manifest);
    manifest.seal(&Key::parse(by).unwrap()).unwrap()
}

fn ids_on_record(site: &Site) -> Vec<String> {
    let mut ids: Vec<String> = site.rows().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}
