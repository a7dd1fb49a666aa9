//! From the file as written to the configuration as meant: defaults, checks that need more than one
//! value, and the line of whatever is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use toml::Spanned;

use super::value::Secret;
use super::{
    AfterBackup, Catalog, Compression, Config, Databases, Encryption, Fingerprint, Method, Place, Retry,
    Source, Store, Timeouts, environment, raw,
};
use crate::conninfo::{ConnInfo, Environment};
use crate::exit::Failure;
use crate::fingerprint::Level;

/// More cores than this gain nothing: no server dumps faster than they compress.
const THREADS_LIMIT: usize = 16;
const USUAL_SCRATCH_DIR: &str = "/var/tmp";
const SYSTEM_STATE_DIR: &str = "/var/lib/pgkeep";

/// The text of a configuration and its name, to say where something stands.
struct Page<'a> {
    text: &'a str,
    file: Option<&'a Path>,
}

impl Page<'_> {
    /// Puts the key that a value belongs to before what is wrong with the value. The error's own rendering
    /// repeats the whole line, which may hold a secret.
    fn name_the_key(&self, span: &Range<usize>, message: String) -> String {
        if message == "duplicate key" {
            return format!("the key `{}` stands twice", self.text.get(span.clone()).unwrap_or_default());
        }
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        match line.split_once('=') {
            Some((key, _)) if is_bare_key(key.trim()) && !message.contains(key.trim()) => {
                format!("`{}`: {message}", key.trim())
            }
            _ => message,
        }
    }

    fn refuse(&self, span: Range<usize>, message: &str) -> anyhow::Error {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let file = self.file.map_or_else(String::new, |file| file.display().to_string());
        Failure::usage(format!("{file}: line {line}: {message}")).into()
    }
}

pub(super) fn resolve(text: &str, file: Option<PathBuf>, environment: &Environment) -> Result<Config> {
    let page = Page { text, file: file.as_deref() };
    let raw: raw::File = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let message = page.name_the_key(&span, without_value(error.message().trim()));
        page.refuse(span, &message)
    })?;
    if let Some(channel) = &raw.alert.channel {
        let message = "this version delivers no alerts: a channel would stay silent";
        return Err(page.refuse(channel.span(), message));
    }
    let state_dir = match raw.state_dir {
        Some(folder) if folder.get_ref().is_absolute() => folder.into_inner(),
        Some(folder) => return Err(page.refuse(folder.span(), "`state_dir` must start with `/`")),
        None => default_state_dir(environment)?,
    };
    let encryption = Encryption {
        make_key: raw.encryption.key_file.is_none(),
        key_file: match raw.encryption.key_file {
            Some(path) => path,
            None => state_dir.join("pgkeep.key"),
        },
        open_with: raw.encryption.open_with,
    };
    let stores = stores(&page, raw.store, &state_dir)?;
    let scratch_dir = scratch_dir(&page, raw.verify.scratch_dir, environment)?;
    Ok(Config {
        source: source(&page, raw.source, environment)?,
        catalog: catalog(&page, raw.catalog, environment)?,
        compression: compression(&page, &raw.compression)?,
        encryption,
        after_backup: raw.verify.after_backup.unwrap_or(AfterBackup::Checksum),
        scratch_dir,
        fingerprint: Fingerprint {
            level: raw.verify.fingerprint.unwrap_or(Level::Counts),
            time: raw.verify.fingerprint_time.map_or(Duration::from_secs(600), |limit| limit.0),
        },
        retry: Retry {
            // Without a file somebody tries it by hand, and waits for the answer.
            attempts: raw.retry.attempts.unwrap_or(if file.is_some() { 3 } else { 0 }),
            delay: raw.retry.delay.map_or(Duration::from_secs(300), |span| span.0),
        },
        timeouts: Timeouts {
            connect: raw.timeouts.connect.map_or(Duration::from_secs(10), |limit| limit.0),
            request: raw.timeouts.request.map_or(Duration::from_secs(300), |limit| limit.0),
            stall: raw.timeouts.stall.map_or(Duration::from_secs(120), |limit| limit.0),
        },
        stores,
        state_dir,
        file,
    })
}

/// A key as it is written without quotes; anything else may be a piece of a value.
fn is_bare_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// A message of the parser without the value it quotes: `invalid type: integer `5`, expected a string`
/// becomes `invalid type: integer, expected a string`.
fn without_value(message: &str) -> String {
    let Some((kind, expected)) =
        message.rsplit_once(", expected ").filter(|_| message.starts_with("invalid "))
    else {
        return message.to_owned();
    };
    let kind = kind.split(['`', '"']).next().unwrap_or_default().trim_end();
    format!("{kind}, expected {expected}")
}

fn default_state_dir(environment: &Environment) -> Result<PathBuf> {
    if environment::is_root() {
        return Ok(PathBuf::from(SYSTEM_STATE_DIR));
    }
    let named = environment.variables.get("XDG_STATE_HOME").filter(|path| path.starts_with('/'));
    let folder = match (named, &environment.home) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => home.join(".local/state"),
        (None, None) => {
            return Err(Failure::usage("no place for pgkeep's state: there is no home directory")
                .hint("set `state_dir` in the configuration")
                .into());
        }
    };
    absolute(&folder.join("pgkeep"))
}

/// A scratch server holds a whole database: `/tmp` is often in memory, `/var/tmp` is on a disk.
fn scratch_dir(
    page: &Page<'_>,
    named: Option<Spanned<PathBuf>>,
    environment: &Environment,
) -> Result<PathBuf> {
    match named {
        Some(folder) if folder.get_ref().is_absolute() => Ok(folder.into_inner()),
        Some(folder) => Err(page.refuse(folder.span(), "`scratch_dir` must start with `/`")),
        None => {
            let usual = environment.variables.get("TMPDIR").filter(|folder| folder.starts_with('/'));
            Ok(PathBuf::from(usual.map_or(USUAL_SCRATCH_DIR, String::as_str)))
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("`{}` is no path", path.display()))
}

fn connection(page: &Page<'_>, url: &Spanned<String>, environment: &Environment) -> Result<ConnInfo> {
    ConnInfo::parse(url.get_ref())
        .and_then(|info| info.resolve(environment))
        .map_err(|error| page.refuse(url.span(), &format!("the connection string: {error}")))
}

fn source(page: &Page<'_>, raw: raw::Source, environment: &Environment) -> Result<Source> {
    let connection = match &raw.url {
        Some(url) => connection(page, url, environment)?,
        None => ConnInfo::parse("").and_then(|info| info.resolve(environment))?,
    };
    let databases = match raw.databases {
        None => Databases::OfSource,
        Some(names) if names.get_ref().iter().any(String::is_empty) || names.get_ref().is_empty() => {
            return Err(page.refuse(names.span(), "`databases` needs names, or [\"*\"] for all"));
        }
        Some(names) if names.get_ref().iter().any(|name| name == "*") => Databases::All,
        Some(names) => {
            let mut seen = BTreeSet::new();
            let names = names.into_inner().into_iter();
            Databases::Named(names.filter(|name| seen.insert(name.clone())).collect())
        }
    };
    let name = match raw.name {
        Some(name) if name.get_ref().is_empty() || name.get_ref().len() > 80 => {
            return Err(page.refuse(name.span(), "`name` needs 1 to 80 bytes"));
        }
        Some(name) => name.into_inner(),
        None => environment::host_name(),
    };
    Ok(Source {
        name,
        connection,
        databases,
        pg_bin: raw.pg_bin,
        lock_wait_timeout: raw.lock_wait_timeout.map_or(Duration::from_secs(600), |limit| limit.0),
    })
}

fn catalog(page: &Page<'_>, raw: raw::Catalog, environment: &Environment) -> Result<Catalog> {
    let connection = raw.url.map(|url| connection(page, &url, environment)).transpose()?;
    let schema = match raw.schema {
        None => "pgkeep".to_owned(),
        Some(schema) => {
            let name = schema.get_ref();
            if name.is_empty() || name.len() > 63 || name.starts_with("pg_") || name.contains('\0') {
                let message = "`schema` needs 1 to 63 bytes and must not start with `pg_`";
                return Err(page.refuse(schema.span(), message));
            }
            schema.into_inner()
        }
    };
    Ok(Catalog { connection, schema })
}

fn compression(page: &Page<'_>, raw: &raw::Compression) -> Result<Compression> {
    let method = raw.method.unwrap_or(Method::Gzip);
    let (levels, usual) = method.levels();
    let level = match &raw.level {
        None => usual,
        Some(level) if levels.contains(level.get_ref()) => *level.get_ref(),
        Some(level) => {
            let message = format!("`level` is {} to {} with this method", levels.start(), levels.end());
            return Err(page.refuse(level.span(), &message));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match raw.threads.unwrap_or(0) {
        0 => cores,
        wanted => wanted,
    };
    Ok(Compression { method, level, threads: threads.clamp(1, THREADS_LIMIT) })
}

fn stores(page: &Page<'_>, raw: Vec<Spanned<raw::Store>>, state_dir: &Path) -> Result<Vec<Store>> {
    if raw.is_empty() {
        let place = Place::Local { path: state_dir.join("backups") };
        return Ok(vec![Store { name: "local".to_owned(), place, keep: None }]);
    }
    let mut names = BTreeSet::new();
    let mut places = BTreeMap::new();
    let mut stores = Vec::new();
    for store in raw {
        let store = store.into_inner();
        let span = store.name.span();
        let name = store.name.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            let message = "a store's `name` is 1 to 63 of letters, digits, `_`, `-` and `.`";
            return Err(page.refuse(store.name.span(), message));
        }
        if !names.insert(name.clone()) {
            let message = format!("two stores have the name `{name}`");
            return Err(page.refuse(store.name.span(), &message));
        }
        let keep = store.keep.map(|span| span.0);
        let name = name.clone();
        let place = match store.kind {
            raw::Kind::Local => local(page, span.clone(), store)?,
            raw::Kind::S3 => s3(page, span.clone(), store)?,
        };
        if let Some(other) = places.insert(identity(&place), name.clone()) {
            let message = format!("the stores `{other}` and `{name}` are one and the same place");
            return Err(page.refuse(span, &message));
        }
        stores.push(Store { name, place, keep });
    }
    Ok(stores)
}

/// What two stores share that would keep one copy between them, where each is to have its own.
fn identity(place: &Place) -> (PathBuf, Option<[String; 3]>) {
    match place {
        Place::Local { path } => (path.canonicalize().unwrap_or_else(|_| path.components().collect()), None),
        Place::S3 { endpoint, bucket, prefix, .. } => {
            (PathBuf::new(), Some([endpoint.clone(), bucket.clone(), prefix.clone()]))
        }
    }
}

fn local(page: &Page<'_>, span: Range<usize>, store: raw::Store) -> Result<Place> {
    let of_s3 = [
        ("endpoint", store.endpoint.as_ref().map(Spanned::span)),
        ("region", store.region.as_ref().map(Spanned::span)),
        ("bucket", store.bucket.as_ref().map(Spanned::span)),
        ("prefix", store.prefix.as_ref().map(Spanned::span)),
        ("access_key_id", store.access_key_id.as_ref().map(Spanned::span)),
        ("secret_access_key", store.secret_access_key.as_ref().map(Spanned::span)),
        ("path_style", store.path_style.as_ref().map(Spanned::span)),
    ];
    if let Some((key, Some(span))) = of_s3.into_iter().find(|(_, given)| given.is_some()) {
        return Err(page.refuse(span, &format!("a store of kind \"local\" has no `{key}`")));
    }
    match store.path {
        Some(path) if path.get_ref().is_absolute() => Ok(Place::Local { path: path.into_inner() }),
        Some(path) => Err(page.refuse(path.span(), "the `path` of a local store must start with `/`")),
        None => Err(page.refuse(span, "a store of kind \"local\" needs `path`")),
    }
}

fn s3(page: &Page<'_>, span: Range<usize>, store: raw::Store) -> Result<Place> {
    if let Some(path) = store.path {
        return Err(page.refuse(path.span(), "a store of kind \"s3\" has no `path`: it has `prefix`"));
    }
    let needs = |key: &str| page.refuse(span.clone(), &format!("a store of kind \"s3\" needs `{key}`"));
    let endpoint = store.endpoint.ok_or_else(|| needs("endpoint"))?;
    let address = endpoint.get_ref().trim_end_matches('/').to_owned();
    let host = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    if !host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])) {
        let message = "`endpoint` is `https://HOST` or `http://HOST`, with no path behind it";
        return Err(page.refuse(endpoint.span(), message));
    }
    let bucket = store.bucket.ok_or_else(|| needs("bucket"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if bucket.get_ref().is_empty() || !bucket.get_ref().chars().all(plain) {
        return Err(page.refuse(bucket.span(), "`bucket` is no name of a bucket"));
    }
    let prefix = match store.prefix {
        None => String::new(),
        Some(prefix) => {
            let trimmed = prefix.get_ref().trim_matches('/').to_owned();
            let sound =
                |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(plain);
            if !trimmed.is_empty() && !trimmed.split('/').all(sound) {
                let message = "`prefix` is made of letters, digits, `_`, `-`, `.`, and single `/`";
                return Err(page.refuse(prefix.span(), message));
            }
            trimmed
        }
    };
    let secret =
        |value: Option<Spanned<Secret>>, key: &str| value.map(Spanned::into_inner).ok_or_else(|| needs(key));
    Ok(Place::S3 {
        endpoint: address,
        region: store.region.ok_or_else(|| needs("region"))?.into_inner(),
        bucket: bucket.into_inner(),
        prefix,
        access_key_id: secret(store.access_key_id, "access_key_id")?,
        secret_access_key: secret(store.secret_access_key, "secret_access_key")?,
        path_style: store.path_style.is_none_or(Spanned::into_inner),
    })
}
