//! What every command works with, built from the configuration: stores, catalog, keys, clients.

use std::sync::Arc;

use anyhow::Result;
use zeroize::Zeroizing;

use super::configured_store::ConfiguredStore;
use super::copy_check::Reader;
use super::notify::notifier::Notifier;
use super::output::Output;
use super::signals::InterruptRecord;
use crate::alert::channel::Channel;
use crate::alert::spool::Spool;
use crate::backup::{Backup, CONFIG};
use crate::catalog::Catalog;
use crate::catalog::pending::Pending;
use crate::config::value::Secret;
use crate::config::{self, Config, Place};
use crate::connect::ConnectOptions;
use crate::conninfo::{ConnInfo, Environment};
use crate::exit::{Code, Failure, code_of, one_line, wrap};
use crate::interrupt::Interrupt;
use crate::key::{Key, KeyRing};
use crate::source::clients::{self, Client};
use crate::store::Store;
use crate::store::local::{LocalStore, TimeoutStore};
use crate::store::s3::{S3Options, S3Store};
use crate::testpoint::{self, Step};

/// Gives the value of a secret.
pub(super) type Fetch = dyn Fn(&Secret) -> Result<Zeroizing<String>> + Send + Sync;

/// Parts that a store may have on their way at once.
const PARTS_IN_FLIGHT: usize = 4;
/// Parts that a multipart upload may have: S3, R2 and B2 all say so.
const MOST_PARTS: u32 = 10_000;

pub(super) struct Context {
    pub(super) config: Config,
    pub(super) environment: Environment,
    pub(super) interrupt: Interrupt,
    pub(super) interrupt_record: InterruptRecord,
    pub(super) out: Output,
    pub(super) pending: Pending,
    pub(super) spool: Spool,
    pub(super) notifier: Notifier,
}

impl Context {
    pub(super) fn new(
        config: Config,
        environment: Environment,
        interrupt: Interrupt,
        interrupt_record: InterruptRecord,
        out: Output,
    ) -> Self {
        let pending = Pending::under(&config.state_dir);
        for warning in config.source.connection.warnings() {
            log::warn!("{warning}");
        }
        let spool = Spool::under(&config.state_dir);
        let notifier = Notifier::default();
        Self { config, environment, interrupt, interrupt_record, out, pending, spool, notifier }
    }

    pub(super) fn connect_options(&self) -> ConnectOptions<'static> {
        let timeouts = &self.config.timeouts;
        ConnectOptions {
            connect_timeout: timeouts.connect,
            answer_timeout: timeouts.request,
            application_name: "pgkeep",
        }
    }

    /// The catalog, after what waited for it was written.
    pub(super) fn catalog(&self) -> Result<Catalog> {
        let mut catalog = self.open_catalog()?;
        match self.pending.flush(&mut catalog) {
            Ok(0) => {}
            Ok(written) => log::info!("{written} records that waited for the catalog are written"),
            Err(error) => {
                log::warn!("records go on waiting for the catalog: {}", one_line(&error));
                catalog.revive()?;
            }
        }
        Ok(catalog)
    }

    pub(super) fn open_catalog(&self) -> Result<Catalog> {
        let info = self.config.catalog_connection();
        Catalog::open(info, &self.config.catalog.schema, &self.connect_options())
    }

    /// The keys; makes the first one where no file was named and there is none.
    pub(super) fn keys(&self) -> Result<KeyRing> {
        let path = &self.config.encryption.key_file;
        let missing = !path.try_exists().unwrap_or(true);
        if self.config.encryption.make_key && missing {
            crate::files::create_private_dir(&self.config.state_dir)?;
            let key = Key::generate()?;
            match key.write_new(path) {
                Ok(()) => testpoint::reached(Step::KeyMade),
                // Another first run was quicker.
                Err(_) if path.try_exists().unwrap_or(false) => return self.existing_keys(),
                Err(error) => return Err(error),
            }
            log::warn!(
                "made a new key ({}) in {}\n  Every backup is sealed with it, and nothing opens without \
                 it: copy this file NOW\n  to a safe place that is neither this host nor one of the \
                 stores. It is in no backup, config backups\n  included. This is said only once.",
                key.id(),
                path.display()
            );
        }
        self.existing_keys()
    }

    /// The keys that are there.
    pub(super) fn existing_keys(&self) -> Result<KeyRing> {
        KeyRing::read(&self.config.encryption.key_file, &self.config.encryption.open_with)
    }

    /// Every store of the configuration.
    ///
    /// # Errors
    /// When a secret's file is open to others: nothing is to be done before that is mended.
    pub(super) fn configured_stores(&self) -> Result<Vec<ConfiguredStore>> {
        let build = |store: &config::Store| {
            let opened = self.open_store(store);
            let store_of = match opened {
                Err(error) if code_of(&error) == Code::Usage => {
                    return Err(wrap(error, format!("store `{}`", store.name)));
                }
                Err(error) => Err(one_line(&error)),
                Ok(opened) => Ok(opened),
            };
            Ok(ConfiguredStore { name: store.name.clone(), keep: store.keep.clone(), store: store_of })
        };
        self.config.stores.iter().map(build).collect()
    }

    fn open_store(&self, store: &config::Store) -> Result<Arc<dyn Store>> {
        let timeouts = &self.config.timeouts;
        let fetcher = self.fetcher();
        let fetch =
            |secret: &Secret, key: &str| fetcher(secret).map_err(|error| wrap(error, format!("`{key}`")));
        Ok(match &store.place {
            Place::Local { path } => {
                let local = LocalStore::new(store.name.clone(), path.clone());
                Arc::new(TimeoutStore::new(local, timeouts.stall, timeouts.request))
            }
            Place::S3 {
                endpoint,
                region,
                bucket,
                prefix,
                access_key_id,
                secret_access_key,
                path_style,
                object_lock,
            } => {
                let options = S3Options {
                    name: store.name.clone(),
                    endpoint: endpoint.clone(),
                    region: region.clone(),
                    bucket: bucket.clone(),
                    prefix: prefix.clone(),
                    access_key_id: fetch(access_key_id, "access_key_id")?.as_str().to_owned(),
                    secret_access_key: fetch(secret_access_key, "secret_access_key")?,
                    path_style: *path_style,
                    connect_timeout: timeouts.connect,
                    request_timeout: timeouts.request,
                    stall_timeout: timeouts.stall,
                    parts_in_flight: PARTS_IN_FLIGHT,
                    most_parts: MOST_PARTS,
                    object_lock: *object_lock,
                };
                Arc::new(S3Store::new(&options, self.interrupt.clone())?)
            }
        })
    }

    /// What gives the value of a secret, or says why there is none.
    pub(super) fn fetcher(&self) -> Box<Fetch> {
        let (variables, interrupt) = (self.environment.variables.clone(), self.interrupt.clone());
        Box::new(move |secret: &Secret| secret.fetch(|name| variables.get(name).cloned(), &interrupt))
    }

    /// A channel of the configuration, made ready.
    ///
    /// # Errors
    /// When a secret of it can't be had, or is none of its kind.
    pub(super) fn channel(&self, config: &config::alert::Channel) -> Result<Channel> {
        Channel::new(config, &*self.fetcher())
    }

    /// A connection string from the command line, resolved.
    pub(super) fn connection(&self, text: &str) -> Result<ConnInfo> {
        ConnInfo::parse(text)
            .and_then(|info| info.resolve(&self.environment))
            .map_err(|error| Failure::usage(format!("the connection string: {error}")).into())
    }

    /// What reads what is inside a backup, or why there is nothing that does.
    pub(super) fn reader(&self, backup: &Backup) -> Result<Reader, String> {
        if backup.backup_type == CONFIG {
            return Ok(Reader::Set);
        }
        let made_by = backup.metadata_str("pg_dump_version").unwrap_or_default();
        let digits: String = made_by.chars().take_while(char::is_ascii_digit).collect();
        let client = self.client("pg_restore", digits.parse().unwrap_or_default());
        client.map(Reader::Dump).map_err(|error| one_line(&error))
    }

    /// The oldest client program that is not older than `least_major`.
    pub(super) fn client(&self, program: &str, least_major: u32) -> Result<Client> {
        let search_path = self.environment.variables.get("PATH").map(String::as_str);
        clients::find(
            program,
            least_major,
            self.config.source.pg_bin.as_deref(),
            search_path,
            &self.interrupt,
        )
    }

    /// The programs of a server of that major version, for a scratch server.
    pub(super) fn server_programs(&self, major: u32) -> Result<Client> {
        let search_path = self.environment.variables.get("PATH").map(String::as_str);
        clients::find_server(major, self.config.source.pg_bin.as_deref(), search_path, &self.interrupt)
    }
}
