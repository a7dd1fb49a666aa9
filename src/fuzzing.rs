//! Every parser of bytes from outside, as fuzz targets and the tests that replay their corpus call it: bytes
//! go in, and out comes whether they were taken, or which promise they broke. It is no part of the program.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Cursor, Read};

use bytes::Bytes as Block;
use jiff::Timestamp;

use crate::backup::Backup;
use crate::command::{inventory, select};
use crate::config::value::{Bytes, Span};
use crate::conninfo::{self, ConnInfo, Environment};
use crate::fingerprint::Fingerprint;
use crate::key::{Key, KeyRing};
use crate::manifest::Manifest;
use crate::name::{self, BackupId};
use crate::pipeline::header::{self, Packing};
use crate::pipeline::readback::Dump;
use crate::pipeline::seal::{Opener, Sealer};
use crate::pipeline::unpack::Unpacker;
use crate::source::globals::script::{Deed, For, statements};
use crate::source::{clients, restore};
use crate::store::s3;
use crate::{config, exit};

/// Whether bytes were taken for what they are to be, or the promise that was broken.
pub type Verdict = Result<bool, String>;

/// A parser by its name, which its fuzz target and the folder of its corpus have too.
pub type Parser = (&'static str, fn(&[u8]) -> Verdict);

/// All of them.
pub const PARSERS: [Parser; 16] = [
    ("answer", answer),
    ("artifact", artifact),
    ("chunks", chunks),
    ("config", configuration),
    ("conninfo", connection_string),
    ("globals", globals),
    ("key", key),
    ("manifest", manifest),
    ("name", names),
    ("output", output),
    ("packed", packed),
    ("passfile", password_file),
    ("path", path),
    ("record", record),
    ("service", service_file),
    ("value", value),
];

/// The key that opens what stands in the corpus.
pub const KEY: &str = "PGKEEP-KEY-1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// The backup that [`chunks`] seals.
const ID: &str = "full-shop-20261122T020000Z-3f9a";
/// What is unpacked at most: a small file may hold a thousand times its size.
const UNPACKED_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// Longest error there may be: it is shown to a person, and stands in a row.
const ERROR_LIMIT_BYTES: usize = 4096;

/// Gives bytes to the parser of that name.
///
/// # Errors
/// When there is none, or the bytes broke a promise; says which.
pub fn run(name: &str, bytes: &[u8]) -> Verdict {
    let found = PARSERS.iter().find(|(known, _)| *known == name);
    found.ok_or_else(|| format!("no parser is called `{name}`")).and_then(|(_, parser)| parser(bytes))
}

fn holds(promise: bool, what: &str) -> Result<(), String> {
    if promise { Ok(()) } else { Err(what.to_owned()) }
}

fn told(error: impl Display) -> String {
    error.to_string()
}

/// A refusal, whose text must be fit to be shown.
fn refusal(error: &anyhow::Error) -> Verdict {
    let shown = exit::one_line(error);
    holds(!shown.is_empty() && shown.len() <= ERROR_LIMIT_BYTES, "an error that no person would read")?;
    Ok(false)
}

/// A script of `pg_dumpall`: what is sent of a statement is one statement, which says what was read.
fn globals(bytes: &[u8]) -> Verdict {
    let Some(script) = text(bytes) else { return Ok(false) };
    let found = match statements(script) {
        Ok(found) => found,
        Err(error) => return refusal(&error.into()),
    };
    let mut is_known = true;
    for deed in found.iter().map(|statement| &statement.deed) {
        is_known &= !matches!(deed, Deed::Unknown(_));
        if matches!(deed, Deed::Unknown(_) | Deed::Session) {
            continue;
        }
        for reader in [For::Server, For::Comparison] {
            let sent = deed.sql(reader);
            let again = statements(&format!("{sent};")).map_err(told)?;
            let is_same = |one: &Deed| one.sql(reader) == sent && (reader == For::Server || one == deed);
            let is_one = matches!(again.as_slice(), [one] if is_same(&one.deed));
            holds(is_one, "a statement that reads otherwise than it is written")?;
        }
    }
    Ok(is_known)
}

fn ring() -> Result<KeyRing, String> {
    Ok(KeyRing::of(Key::parse(KEY).map_err(told)?))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Reads to the end, or as far as may be, and gives what came.
fn drained(source: impl Read) -> Result<Vec<u8>, anyhow::Error> {
    let mut plain = Vec::new();
    source.take(UNPACKED_LIMIT_BYTES).read_to_end(&mut plain)?;
    Ok(plain)
}

/// A whole artifact: header, chunks, and what is packed inside.
fn artifact(bytes: &[u8]) -> Verdict {
    match Dump::open(Cursor::new(bytes.to_vec()), &ring()?, 1).and_then(drained) {
        Ok(_) => Ok(true),
        Err(error) => refusal(&error),
    }
}

fn sealed(plain: &[u8]) -> anyhow::Result<Vec<u8>> {
    let ring = KeyRing::of(Key::parse(KEY)?);
    let id = BackupId::try_from(ID.to_owned()).map_err(anyhow::Error::msg)?;
    let secrets = header::create(&id, Packing::None, ring.sealing())?;
    let mut sealed = Vec::new();
    let mut sealer = Sealer::new(secrets, |block: Block| {
        sealed.extend_from_slice(&block);
        Ok(())
    });
    sealer.write(plain)?;
    sealer.finish()?;
    Ok(sealed)
}

fn opened(mut sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
    let secrets = header::read(&mut sealed, &KeyRing::of(Key::parse(KEY)?))?;
    drained(Opener::new(secrets, sealed))
}

/// A change of sealed bytes: `what, where (u16), how` and then the plain bytes. It is taken only where it
/// changes nothing.
fn chunks(bytes: &[u8]) -> Verdict {
    let Some(([what, low, high, how], plain)) = bytes.split_first_chunk::<4>() else { return Ok(false) };
    let whole = sealed(plain).map_err(told)?;
    holds(opened(&whole).map_err(told)? == plain, "sealed bytes do not open")?;
    let mut changed = whole.clone();
    let at = usize::from(u16::from_le_bytes([*low, *high])) % (whole.len() + 1);
    match what % 4 {
        0 => changed.get_mut(at).into_iter().for_each(|byte| *byte ^= how),
        1 => changed.truncate(at),
        2 => changed.insert(at, *how),
        _ => drop(changed.drain(at.saturating_sub(usize::from(*how)).max(1)..at.max(1))),
    }
    match opened(&changed) {
        Ok(_) if changed == whole => Ok(true),
        Ok(_) => Err(format!("sealed bytes open after change {what} at {at}")),
        Err(error) => refusal(&error),
    }
}

/// What is inside the seal: one byte says how it is packed.
fn packed(bytes: &[u8]) -> Verdict {
    let Some((packing, rest)) = bytes.split_first() else { return Ok(false) };
    let packing = match packing % 3 {
        0 => Packing::Gzip,
        1 => Packing::Zstd,
        _ => Packing::None,
    };
    match Unpacker::start(Cursor::new(rest.to_vec()), packing, 1).and_then(drained) {
        Ok(plain) if packing == Packing::None => {
            holds(plain == rest, "bytes that are not packed came out changed").map(|()| true)
        }
        Ok(_) => Ok(true),
        Err(error) => refusal(&error),
    }
}

/// A manifest: what reads is signed again, and must open as the same; another letter in it must not.
fn manifest(bytes: &[u8]) -> Verdict {
    let ring = ring()?;
    let is_proven = match Manifest::open(bytes, &ring) {
        Ok(_) => true,
        Err(error) => refusal(&error)?,
    };
    let Ok(mut read) = Manifest::read(bytes) else {
        return holds(!is_proven, "a manifest opens that does not read").map(|()| false);
    };
    let record = read.record();
    holds(record.id == read.id, "a record is of another backup than its manifest")?;
    read.keys = vec![ring.sealing().id()];
    let signed = read.clone().seal(ring.sealing()).map_err(told)?;
    let again = Manifest::open(&signed, &ring).map_err(|error| format!("what was signed: {error:#}"))?;
    read.mac.clone_from(&again.mac);
    holds(again == read, "a manifest changed between writing and reading")?;
    let changed =
        String::from_utf8_lossy(&signed).replacen("\"tenant\": ", "\"tenant\": \"x\", \"was\": ", 1);
    holds(Manifest::open(changed.as_bytes(), &ring).is_err(), "a changed manifest opens")?;
    Ok(is_proven)
}

/// A configuration file.
fn configuration(bytes: &[u8]) -> Verdict {
    let Some(text) = text(bytes) else { return Ok(false) };
    // Where these stand, other files of this host would be read.
    if ["service", "passfile"].iter().any(|word| text.contains(word)) {
        return Ok(false);
    }
    let environment =
        Environment { variables: BTreeMap::new(), home: None, user: Some("somebody".to_owned()) };
    match config::read_text(text, &environment) {
        Ok(read) => {
            holds(
                !read.stores.is_empty() && !read.source.connection.user().is_empty(),
                "too little is known",
            )?;
            Ok(true)
        }
        Err(error) => refusal(&error),
    }
}

/// A connection string: what it says without its secrets is said again in other words.
fn connection_string(bytes: &[u8]) -> Verdict {
    let Some(text) = text(bytes) else { return Ok(false) };
    let read = match ConnInfo::parse(text) {
        Ok(read) => read,
        Err(error) => return refusal(&error.into()),
    };
    let words = read.to_keyword_string();
    let again = ConnInfo::parse(&words).map_err(|error| format!("its own words do not read: {error}"))?;
    holds(again.to_keyword_string() == words, "a connection string changed between writing and reading")?;
    let bare = read.without_password();
    holds(
        bare.to_keyword_string() == words && format!("{bare}") == format!("{read}"),
        "a password is shown",
    )?;
    Ok(read.targets().is_ok())
}

/// A password file.
fn password_file(bytes: &[u8]) -> Verdict {
    let entries = conninfo::pass_file_entries(bytes);
    holds(entries <= bytes.len() / 4 + 1, "more entries than there is room for")?;
    Ok(entries > 0)
}

/// A service file that is asked for `shop`.
fn service_file(bytes: &[u8]) -> Verdict {
    let Some(text) = text(bytes) else { return Ok(false) };
    match conninfo::service_parameters(text, "shop") {
        Ok(found) => Ok(found.is_some()),
        Err(error) => refusal(&error.into()),
    }
}

/// A key file: a key that reads is written as the same line; a refusal repeats nothing of it.
fn key(bytes: &[u8]) -> Verdict {
    let Some(text) = text(bytes) else { return Ok(false) };
    match Key::parse(text) {
        Ok(key) => {
            holds(key.line().trim() == text.trim(), "a key changed between reading and writing")?;
            Ok(true)
        }
        Err(error) => {
            let shown = format!("{error:#}");
            let body = text.trim().trim_start_matches("PGKEEP-KEY-1-");
            // What it says to every text is not taken from this one.
            let is_usual = Key::parse("x").is_err_and(|usual| format!("{usual:#}").contains(body));
            holds(body.len() < 20 || is_usual || !shown.contains(body), "an error repeats a key")?;
            refusal(&error)
        }
    }
}

/// Names: any text is made safe and read back; what reads as an id is one.
fn names(bytes: &[u8]) -> Verdict {
    let Some(text) = text(bytes) else { return Ok(false) };
    let safe = name::encode(text);
    holds(name::decode(&safe).as_deref() == Some(text), "a name does not read back")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-%".contains(&byte);
    holds(safe.bytes().all(is_plain) && safe != "." && safe != "..", "a name is not safe")?;
    if let Some(name) = name::decode(text) {
        holds(name::encode(&name) == text, "two safe names for one name")?;
    }
    let Some(id) = BackupId::parse(text) else { return Ok(false) };
    let key = name::object_key("db1", "shop", &id, &name::artifact(&id, ".dump.gz"));
    holds(id.begun_at().is_some() && inventory::id_of(&key) == Some(id), "an id is lost in a path")?;
    let is_inside = !key.split('/').any(|piece| matches!(piece, "" | "." | ".."));
    holds(is_inside && key.bytes().all(|byte| is_plain(byte) || byte == b'/'), "a key is not safe")?;
    Ok(true)
}

/// The path of something in a store.
fn path(bytes: &[u8]) -> Verdict {
    let Some(text) = text(bytes) else { return Ok(false) };
    let Some(id) = inventory::id_of(inventory::artifact_of(text)) else { return Ok(false) };
    holds(text.contains(id.as_str()), "an id that stands nowhere in the path")?;
    Ok(true)
}

/// The body of an answer of the S3 API.
fn answer(bytes: &[u8]) -> Verdict {
    if let Some(words) = s3::refusal_in(bytes) {
        let is_fit = words.len() <= ERROR_LIMIT_BYTES && !words.contains(char::is_control);
        holds(is_fit, "a refusal that is not fit to be shown")?;
    }
    Ok(s3::is_document(bytes))
}

/// What PostgreSQL's programs print: a version, the entries of an archive.
fn output(bytes: &[u8]) -> Verdict {
    let said = String::from_utf8_lossy(bytes);
    if let Some((version, major)) = clients::parse_version(&said) {
        holds(version.starts_with(|c: char| c.is_ascii_digit()), "a version that is no number")?;
        holds(
            version.trim_start_matches('0').starts_with(&major.to_string()) || major == 0,
            "another version",
        )?;
        return Ok(true);
    }
    Ok(said.lines().filter_map(restore::entry).count() > 0)
}

/// A record that waits for the catalog, or the fingerprint in one.
fn record(bytes: &[u8]) -> Verdict {
    if let Ok(figures) = serde_json::from_slice::<Fingerprint>(bytes) {
        holds(figures.differences(&figures).is_empty(), "a fingerprint differs from itself")?;
        drop(figures.differences(&Fingerprint::default()));
    }
    let Ok(read) = serde_json::from_slice::<Backup>(bytes) else { return Ok(false) };
    let written = serde_json::to_vec(&read).map_err(told)?;
    let again: Backup = serde_json::from_slice(&written).map_err(told)?;
    holds(again == read, "a record changed between writing and reading")?;
    let mut summed = again;
    summed.summarize_copies();
    Ok(true)
}

/// Lengths of time, sizes, and points in time.
fn value(bytes: &[u8]) -> Verdict {
    let Some(text) = text(bytes) else { return Ok(false) };
    let now = Timestamp::UNIX_EPOCH;
    let is_span = Span::parse(text).is_ok();
    let is_size = Bytes::parse(text).is_ok_and(|size| size.0 > 0);
    let since = select::since(text, now);
    if let (true, Ok(since)) = (is_span, &since) {
        holds(*since <= now, "an age that lies ahead")?;
    }
    Ok(is_span || is_size || since.is_ok())
}
