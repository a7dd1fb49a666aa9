//! The manifest: the JSON file beside each copy. It is written last, so its presence means "this copy is
//! whole"; its `mac` means "someone with the key wrote it". It knows no store.

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer as _, Serialize};
use serde_json::json;

use crate::backup::{Backup, RUN, Status};
use crate::exit::{Failure, shown};
use crate::fingerprint::Fingerprint;
use crate::key::{Key, KeyRing, Signer};
use crate::name::BackupId;

mod canonical;

/// The format of artifacts and manifests that this version writes and reads.
const FORMAT: u32 = 1;
/// No manifest is larger; what is, is something else.
pub const LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// A fingerprint that takes more loses its tables.
pub const FINGERPRINT_LIMIT_BYTES: usize = 12 * 1024 * 1024;
/// The name of the fingerprint in the metadata of a backup.
pub const FINGERPRINT: &str = "fingerprint";

/// The name of the number of tables there.
pub const TABLES: &str = "tables";
/// The name of what a backup lacks, however whole its copies are.
pub const LACKS: &str = "lacks";

/// What stands beside a copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the artifact and of this file.
    pub format: u32,
    /// The backup's id.
    pub id: BackupId,
    /// What kind of backup.
    #[serde(rename = "type")]
    pub backup_type: String,
    /// The name of the cluster it is of.
    pub source: String,
    /// The database it is of.
    pub database: String,
    /// The tenant it is of, where it is of one.
    pub tenant: Option<String>,
    /// How it stood when this was written.
    pub status: Status,
    /// The artifact's file name.
    pub filename: String,
    /// Size of the artifact.
    pub size_bytes: u64,
    /// SHA-256 of the artifact, lower-case hex.
    pub checksum: String,
    /// Size of what `pg_dump` wrote.
    pub dump_bytes: u64,
    /// SHA-256 of what `pg_dump` wrote, lower-case hex.
    pub dump_checksum: String,
    /// How the dump is packed.
    pub compression: String,
    /// Ids of the keys that open the artifact; the first one's owner wrote this.
    pub keys: Vec<String>,
    /// Version of the server.
    pub server_version: Option<String>,
    /// Version of `pg_dump`.
    pub pg_dump_version: Option<String>,
    /// When the run began.
    pub started_at: Timestamp,
    /// When the artifact was whole.
    pub finished_at: Timestamp,
    /// Version of pgkeep.
    pub pgkeep_version: String,
    /// The entity tag of this copy, in an S3 store.
    pub etag: Option<String>,
    /// Size of the parts it was uploaded in, in an S3 store.
    pub part_size_bytes: Option<u64>,
    /// How many tables the dump holds, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<u64>,
    /// What it lacks, however whole its copies are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
    /// The id of the call that made it, and what else belongs to the same night.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What the database held when it was dumped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// A keyed hash of all the rest in canonical form, base64.
    pub mac: String,
}

impl Manifest {
    /// The manifest of a backup whose artifact is whole, without what differs from copy to copy.
    ///
    /// # Errors
    /// When the record lacks what only a whole artifact has.
    pub fn of(backup: &Backup, key: &Key) -> Result<Self> {
        let size_bytes = backup.size_bytes.context("the record has no size")?;
        let checksum = backup.checksum.clone().context("the record has no checksum")?;
        let text = |name: &str| backup.metadata_str(name).map(str::to_owned);
        Ok(Self {
            format: FORMAT,
            id: backup.id.clone(),
            backup_type: backup.backup_type.clone(),
            source: backup.source.clone(),
            database: backup.database.clone(),
            tenant: backup.tenant.clone(),
            status: Status::Completed,
            filename: backup.filename.clone(),
            size_bytes,
            checksum,
            dump_bytes: backup.metadata_u64("dump_bytes").context("the record has no dump size")?,
            dump_checksum: text("dump_checksum").context("the record has no dump checksum")?,
            compression: text("compression").context("the record names no compression")?,
            keys: vec![key.id()],
            server_version: text("server_version"),
            pg_dump_version: text("pg_dump_version"),
            started_at: backup.created_at,
            finished_at: backup.finished_at.context("the record has no end")?,
            pgkeep_version: env!("CARGO_PKG_VERSION").to_owned(),
            etag: None,
            part_size_bytes: None,
            tables: backup.metadata_u64(TABLES),
            lacks: text(LACKS),
            run: text(RUN),
            fingerprint: fingerprint_of(backup)?,
            mac: String::new(),
        })
    }

    /// The record of the backup that this tells of, as far as it does: without copies.
    #[must_use]
    pub fn record(&self) -> Backup {
        let (source, database) = (&self.source, &self.database);
        let mut backup =
            Backup::begin(self.id.clone(), source, database, self.filename.clone(), self.started_at);
        backup.tenant.clone_from(&self.tenant);
        backup.status = Status::Completed;
        backup.size_bytes = Some(self.size_bytes);
        backup.checksum = Some(self.checksum.clone());
        backup.finished_at = Some(self.finished_at);
        backup.backup_duration_seconds = Some(self.finished_at.duration_since(self.started_at).as_secs_f64());
        #[allow(clippy::cast_precision_loss, reason = "a share shown to people")]
        let ratio = 1.0 - self.size_bytes as f64 / self.dump_bytes.max(1) as f64;
        backup.compression_ratio = Some(ratio);
        backup.heartbeat_at = None;
        let texts = [
            ("server_version", &self.server_version),
            ("pg_dump_version", &self.pg_dump_version),
            (LACKS, &self.lacks),
            (RUN, &self.run),
        ];
        let known = texts.into_iter().filter_map(|(name, text)| Some((name, json!(text.as_ref()?))));
        let known = known.chain(self.fingerprint.as_ref().map(|figures| (FINGERPRINT, json!(figures))));
        let known = known.chain(self.tables.map(|count| (TABLES, json!(count))));
        let always = [
            ("dump_bytes", json!(self.dump_bytes)),
            ("dump_checksum", json!(self.dump_checksum)),
            ("compression", json!(self.compression)),
            ("keys", json!(self.keys)),
            ("pgkeep_version", json!(self.pgkeep_version)),
        ];
        backup.metadata =
            always.into_iter().chain(known).map(|(name, value)| (name.to_owned(), value)).collect();
        backup
    }

    /// The bytes of the file, signed with `key`.
    ///
    /// # Errors
    /// Never for sound values; the libraries say so by results.
    pub fn seal(mut self, key: &Key) -> Result<Vec<u8>> {
        self.mac = key.mac(&self.canonical()?)?;
        let mut bytes = serde_json::to_vec_pretty(&self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a manifest without proving anything: whoever can write to the store may have written it.
    ///
    /// # Errors
    /// When it is none of this format.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| anyhow!(shown(&error.to_string())).context("the manifest is damaged"))?;
        if manifest.format != FORMAT {
            bail!("the manifest is of format {}, this version reads {FORMAT}", manifest.format);
        }
        Ok(manifest)
    }

    /// Reads a manifest and proves that an owner of one of the keys wrote it.
    ///
    /// # Errors
    /// When it is none of this format, no key of the ring is its, or it was changed.
    pub fn open(bytes: &[u8], ring: &KeyRing) -> Result<Self> {
        Self::open_signed(bytes, ring).map(|(manifest, _)| manifest)
    }

    /// The same, and by which key it is proven.
    ///
    /// # Errors
    /// As [`Manifest::open`].
    pub fn open_signed(bytes: &[u8], ring: &KeyRing) -> Result<(Self, Signer)> {
        let manifest = Self::read(bytes)?;
        let canonical = canonical_of(bytes)?;
        let mut known = manifest.keys.iter().filter_map(|id| ring.find_signer(id)).peekable();
        if known.peek().is_none() {
            let ids = match manifest.keys.as_slice() {
                [] => "none".to_owned(),
                keys => shown(&keys.join(", ")),
            };
            return Err(Failure::failed(format!("no key at hand proves the manifest: it names {ids}"))
                .hint("name the key's file in `[encryption] open_with`")
                .into());
        }
        for (key, signer) in known {
            if key.mac_matches(&canonical, &manifest.mac)? {
                return Ok((manifest, signer));
            }
        }
        bail!("the manifest was changed, or not written by an owner of the key: its mac differs")
    }

    fn canonical(&self) -> Result<Vec<u8>> {
        canonical_of(&serde_json::to_vec(self)?)
    }
}

/// The fingerprint on record of a backup, where one was taken.
///
/// # Errors
/// When the record holds something else in its place.
pub fn fingerprint_of(backup: &Backup) -> Result<Option<Fingerprint>> {
    let known = backup.metadata.get(FINGERPRINT).map(Fingerprint::deserialize);
    known.transpose().with_context(|| format!("the record of `{}` has a damaged fingerprint", backup.id))
}

/// The canonical form: the object without `mac`, keys in byte order, no white space. Works on the file
/// itself rather than on known fields, so that nothing in it goes unproven.
fn canonical_of(bytes: &[u8]) -> Result<Vec<u8>> {
    let damaged = |error: serde_json::Error| {
        anyhow!(shown(&error.to_string())).context("the manifest is no JSON object")
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let canonical = reader.deserialize_map(canonical::Top { without: "mac" }).map_err(damaged)?;
    reader.end().map_err(damaged)?;
    Ok(canonical)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Manifest {
        let id = BackupId::parse("full-shop-20261122T020000Z-3f9a").unwrap();
        let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let mut backup = Backup::begin(id, "db1", "shop", "x.dump.gz.pgk".to_owned(), now);
        backup.size_bytes = Some(10);
        backup.checksum = Some("ab".repeat(32));
        backup.finished_at = Some(now);
        for (name, value) in [
            ("dump_bytes", serde_json::json!(20)),
            ("dump_checksum", serde_json::json!("cd")),
            ("compression", serde_json::json!("gzip")),
        ] {
            backup.metadata.insert(name.to_owned(), value);
        }
        Manifest::of(&backup, &Key::generate().unwrap()).unwrap()
    }

    #[test]
    fn a_signed_manifest_opens_with_its_key_alone() {
        let key = Key::generate().unwrap();
        let mut manifest = sample();
        manifest.keys = vec![key.id()];
        let bytes = manifest.seal(&key).unwrap();
        let ring = KeyRing::of(Key::parse(&key.line()).unwrap());
        assert_eq!(Manifest::open(&bytes, &ring).unwrap().size_bytes, 10);
        let other = KeyRing::of(Key::generate().unwrap());
        assert!(Manifest::open(&bytes, &other).unwrap_err().to_string().contains("no key at hand"));
    }

    #[test]
    fn a_changed_or_added_field_is_found() {
        let key = Key::generate().unwrap();
        let mut manifest = sample();
        manifest.keys = vec![key.id()];
        let text = String::from_utf8(manifest.seal(&key).unwrap()).unwrap();
        let ring = KeyRing::of(key);
        for (from, to) in [
            ("\"size_bytes\": 10", "\"size_bytes\": 11"),
            ("\"tenant\": null", "\"tenant\": \"x\""),
            ("\"format\": 1", "\"format\": 1, \"extra\": 2"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            assert!(Manifest::open(changed.as_bytes(), &ring).is_err(), "{to}");
        }
    }

    /// The canonical form as `serde_json` makes it of a document that it holds whole: what signed the manifests
    /// that are out there.
    fn reference(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut all: std::collections::BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(bytes).ok()?;
        all.remove("mac");
        serde_json::to_vec(&all).ok()
    }

    #[test]
    fn the_canonical_form_is_that_of_serde_json() {
        for text in [
            "{}",
            "{\"mac\": \"x\", \"b\": {\"z\": 1, \"a\": [1.0, -0, 1e3, 18446744073709551615, -9223372036854775808]}}",
            "{\"b\": 1, \"a\": null, \"b\": {\"mac\": true}, \"mac\": 1, \"mac\": 2}",
            "{\"\u{fc}\": \"\\u001b\\n\\\"\u{1f600}\", \"\\u00fc\": 0.1, \"c\": 123456789012345678901234567890}",
            "{\"a\": {\"k\": [], \"k\": {}}, \"\": [[[]]], \"A\": [{}, {\"\": false}]}",
            "[]",
            "{",
            "{\"a\": 1e999}",
            "{} x",
            "null",
            "{\"a\": }",
            "",
        ] {
            let ours = canonical_of(text.as_bytes()).ok();
            let text_of = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(text_of(ours), text_of(reference(text.as_bytes())), "{text}");
        }
    }

    #[test]
    fn a_hostile_value_does_not_fill_the_screen() {
        let mut value = serde_json::to_value(sample()).unwrap();
        for field in ["status", "id", "format", "size_bytes", "started_at"] {
            let mut hostile = value.clone();
            hostile[field] = "x".repeat(100_000).into();
            let error = format!("{:#}", Manifest::read(hostile.to_string().as_bytes()).unwrap_err());
            assert!(error.len() < 1000, "{field}: {} bytes", error.len());
        }
        value["keys"] = vec!["k".repeat(1000); 1000].into();
        let ring = KeyRing::of(Key::generate().unwrap());
        let error = format!("{:#}", Manifest::open(value.to_string().as_bytes(), &ring).unwrap_err());
        assert!(error.len() < 1000, "{} bytes", error.len());
    }

    proptest! {
        #[test]
        fn opening_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let ring = KeyRing::of(Key::generate().unwrap());
            prop_assert!(Manifest::open(&bytes, &ring).is_err());
        }
    }
}
