//! The configuration of a test: a TOML document to change and write.

use std::path::Path;

use toml::{Table, Value};

use super::key::write_private;
use super::s3server::Bucket;

/// A configuration to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    table: Table,
}

impl Config {
    /// Sets a value by its dotted path; tables on the way are made.
    pub(crate) fn set(&mut self, path: &str, value: impl Into<Value>) {
        let mut words: Vec<&str> = path.split('.').collect();
        let last = words.pop().unwrap();
        let mut table = &mut self.table;
        for word in words {
            let entry = table.entry(word).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().unwrap();
        }
        table.insert(last.to_owned(), value.into());
    }

    /// Adds a store.
    pub(crate) fn add_store(&mut self, store: Table) {
        let stores = self.table.entry("store").or_insert_with(|| Value::Array(Vec::new()));
        stores.as_array_mut().unwrap().push(Value::Table(store));
    }

    /// Adds an alert channel of that name; the rest of its keys as TOML.
    pub(crate) fn channel(&mut self, name: &str, keys: &str) {
        self.add_channel(&format!("name = '{name}'\n{keys}"));
    }

    /// Adds an alert channel, as it would stand below `[[alert.channel]]`.
    pub(crate) fn add_channel(&mut self, text: &str) {
        let channel: Table = toml::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
        let alert = self.table.entry("alert").or_insert_with(|| Value::Table(Table::new()));
        let channels = alert.as_table_mut().unwrap().entry("channel");
        let channels = channels.or_insert_with(|| Value::Array(Vec::new()));
        channels.as_array_mut().unwrap().push(Value::Table(channel));
    }

    /// The store of a name, to change.
    pub(crate) fn store(&mut self, name: &str) -> &mut Table {
        let stores = self.table.get_mut("store").unwrap().as_array_mut().unwrap();
        let named = |store: &&mut Value| store.get("name").and_then(Value::as_str) == Some(name);
        stores.iter_mut().find(named).unwrap().as_table_mut().unwrap()
    }

    /// Takes all stores but those named away.
    pub(crate) fn keep_stores(&mut self, names: &[&str]) {
        let stores = self.table.get_mut("store").unwrap().as_array_mut().unwrap();
        stores.retain(|store| {
            store.get("name").and_then(Value::as_str).is_some_and(|name| names.contains(&name))
        });
    }

    /// Writes the document, for its owner's eyes only.
    pub(crate) fn write(&self, path: &Path) {
        write_private(path, &toml::to_string(&self.table).unwrap());
    }
}

/// A secret that a file holds.
pub(crate) fn secret_file(path: &Path) -> Value {
    Value::Table(Table::from_iter([("file".to_owned(), path.to_str().unwrap().into())]))
}

/// A secret that a variable of the environment holds.
pub(crate) fn secret_env(name: &str) -> Value {
    Value::Table(Table::from_iter([("env".to_owned(), name.into())]))
}

/// A local store.
pub(crate) fn local_store(name: &str, path: &Path) -> Table {
    let mut store = Table::new();
    for (key, value) in [("name", name), ("kind", "local"), ("path", path.to_str().unwrap())] {
        store.insert(key.to_owned(), value.into());
    }
    store
}

/// A store in a bucket of a real server.
pub(crate) fn s3_store(name: &str, bucket: &Bucket, secret: Value) -> Table {
    let mut store = Table::new();
    let endpoint = format!("http://{}", bucket.server.address);
    for (key, value) in [
        ("name", name),
        ("kind", "s3"),
        ("endpoint", &endpoint),
        ("region", "us-east-1"),
        ("bucket", &bucket.name),
        ("prefix", "pg"),
        ("access_key_id", &bucket.server.credentials.access_key_id),
    ] {
        store.insert(key.to_owned(), value.into());
    }
    store.insert("secret_access_key".to_owned(), secret);
    store.insert("path_style".to_owned(), true.into());
    store
}
