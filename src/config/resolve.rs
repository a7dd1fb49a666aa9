//! From the file as written to the configuration as meant: defaults, checks that need more than one
//! value, and the line of whatever is refused.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use toml::Spanned;

use super::{
    AfterBackup, Catalog, Compression, Config, ConfigSet, Databases, Encryption, Fingerprint, Method,
    Retention, Retry, Source, Timeouts, environment, raw, redacted,
};
use crate::conninfo::{ConnInfo, Environment};
use crate::exit::Failure;
use crate::fingerprint::Level;

mod alerts;
mod stores;

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
        open_with: raw.encryption.open_with.into_iter().map(|entry| entry.0).collect(),
    };
    let stores = stores::stores(&page, raw.store, &state_dir)?;
    let scratch_dir = scratch_dir(&page, raw.verify.scratch_dir, environment)?;
    Ok(Config {
        source: source(&page, raw.source, environment)?,
        catalog: catalog(&page, raw.catalog, environment)?,
        compression: compression(&page, &raw.compression)?,
        encryption,
        after_backup: raw.verify.after_backup.unwrap_or(AfterBackup::Checksum),
        scratch_dir,
        readable: readable(&page, raw.verify.readable)?,
        unconfined: raw.verify.unconfined.unwrap_or(false),
        fingerprint: Fingerprint {
            level: raw.verify.fingerprint.unwrap_or(Level::Counts),
            time: raw.verify.fingerprint_time.map_or(Duration::from_mins(10), |limit| limit.0),
        },
        retry: Retry {
            // Without a file somebody tries it by hand, and waits for the answer.
            attempts: raw.retry.attempts.unwrap_or(if file.is_some() { 3 } else { 0 }),
            delay: raw.retry.delay.map_or(Duration::from_mins(5), |span| span.0),
        },
        timeouts: Timeouts {
            connect: raw.timeouts.connect.map_or(Duration::from_secs(10), |limit| limit.0),
            request: raw.timeouts.request.map_or(Duration::from_mins(5), |limit| limit.0),
            stall: raw.timeouts.stall.map_or(Duration::from_mins(2), |limit| limit.0),
        },
        retention: retention(&page, &raw.retention)?,
        config_set: ConfigSet {
            files: patterns(&page, raw.config.files)?,
            with_full: raw.config.with_full.unwrap_or(true),
        },
        alerts: alerts::alerts(&page, raw.alert)?,
        stores,
        state_dir,
        written_out: redacted::written_out(text),
        secret_variables: redacted::secret_variables(text),
        file,
    })
}

/// Patterns of files, each from the root on.
fn patterns(page: &Page<'_>, raw: Vec<Spanned<String>>) -> Result<Vec<String>> {
    let checked = raw.into_iter().map(|pattern| {
        let text = pattern.get_ref();
        if !text.starts_with('/') {
            return Err(page.refuse(pattern.span(), "a file of `[config] files` must start with `/`"));
        }
        if text.split('/').any(|part| part == ".." || part == ".") {
            return Err(page.refuse(pattern.span(), "a file of `[config] files` may not hold `.` or `..`"));
        }
        if let Err(error) = glob::Pattern::new(text) {
            let message = format!("`{text}` is no pattern: {}", error.msg);
            return Err(page.refuse(pattern.span(), &message));
        }
        Ok(pattern.into_inner())
    });
    checked.collect()
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

fn readable(page: &Page<'_>, named: Vec<Spanned<PathBuf>>) -> Result<Vec<PathBuf>> {
    let checked = named.into_iter().map(|path| {
        if path.get_ref().is_absolute() {
            return Ok(path.into_inner());
        }
        Err(page.refuse(path.span(), "each path in `readable` must start with `/`"))
    });
    checked.collect()
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
        lock_wait_timeout: raw.lock_wait_timeout.map_or(Duration::from_mins(10), |limit| limit.0),
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

/// So many verified copies stay whatever their age, where nothing else is asked for.
const USUAL_MIN_KEEP: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);

fn retention(page: &Page<'_>, raw: &raw::Retention) -> Result<Retention> {
    let min_keep = match &raw.min_keep {
        None => USUAL_MIN_KEEP,
        Some(count) => NonZeroU32::new(*count.get_ref()).ok_or_else(|| {
            page.refuse(count.span(), "`min_keep` is at least 1: the last good backup never goes")
        })?,
    };
    let time_zone = match &raw.time_zone {
        None => TimeZone::UTC,
        Some(name) => TimeZone::get(name.get_ref()).map_err(|_| {
            let message = "`time_zone` is no name of the IANA time zone database, as in `Europe/Berlin`";
            page.refuse(name.span(), message)
        })?,
    };
    Ok(Retention { after_backup: raw.after_backup.unwrap_or(true), min_keep, time_zone })
}
