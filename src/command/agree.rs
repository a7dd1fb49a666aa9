//! Whether a manifest in a store is that of a backup on record: signed by a key that the backup was sealed with, and
//! of the same artifact. The record is believed; the store is not.

use crate::backup::Backup;
use crate::exit::{Failure, one_line, shown};
use crate::key::{KeyRing, Signer};
use crate::manifest::Manifest;

/// Why a manifest is not taken.
#[derive(Debug)]
pub(super) enum Unproven {
    /// It is not what was written there.
    Damaged(String),
    /// What could prove it is not at hand.
    NoKey(String),
}

/// Reads the manifest of a backup on record and proves it. Without keys it is read and compared, not proven.
pub(super) fn open(bytes: &[u8], backup: &Backup, ring: Option<&KeyRing>) -> Result<Manifest, Unproven> {
    let sealed_by = keys_of(backup);
    let damaged = |error: anyhow::Error| Unproven::Damaged(format!("its manifest: {}", one_line(&error)));
    let manifest = match ring {
        None => {
            let manifest = Manifest::read(bytes).map_err(damaged)?;
            ensure_names(&names_of(&manifest), &sealed_by)?;
            manifest
        }
        Some(ring) => match Manifest::open_signed(bytes, ring) {
            Ok((manifest, signer)) => {
                ensure_signer(&signer, &sealed_by)?;
                manifest
            }
            Err(error) if error.downcast_ref::<Failure>().is_some() => {
                let manifest = Manifest::read(bytes).map_err(damaged)?;
                return Err(without_key(&names_of(&manifest), &sealed_by, ring));
            }
            Err(error) => return Err(damaged(error)),
        },
    };
    Ok(manifest)
}

fn names_of(manifest: &Manifest) -> Vec<&str> {
    manifest.keys.iter().map(String::as_str).collect()
}

/// The ids of the keys that a backup was sealed with, by its record.
pub(super) fn keys_of(backup: &Backup) -> Vec<&str> {
    let keys = backup.metadata.get("keys").and_then(serde_json::Value::as_array).into_iter().flatten();
    keys.filter_map(serde_json::Value::as_str).collect()
}

/// A key that was rotated out signs what it sealed, and nothing else.
pub(super) fn ensure_signer(signer: &Signer, sealed_by: &[&str]) -> Result<(), Unproven> {
    match signer {
        Signer::Older { id, .. } if !sealed_by.is_empty() && !sealed_by.contains(&id.as_str()) => {
            Err(Unproven::Damaged(format!(
                "its manifest is signed with the key {id}, and the backup was sealed with {}",
                in_words(sealed_by)
            )))
        }
        Signer::Sealing | Signer::Older { .. } => Ok(()),
    }
}

fn ensure_names(named: &[&str], sealed_by: &[&str]) -> Result<(), Unproven> {
    if sealed_by.is_empty() || named == sealed_by {
        return Ok(());
    }
    Err(Unproven::Damaged(format!(
        "its manifest names {}, and the backup was sealed with {}",
        in_words(named),
        in_words(sealed_by)
    )))
}

/// What it means that none of the keys at hand is one that a manifest names.
pub(super) fn without_key(named: &[&str], sealed_by: &[&str], ring: &KeyRing) -> Unproven {
    let is_at_hand = sealed_by.iter().any(|id| ring.find(id).is_some());
    match ensure_names(named, sealed_by) {
        // Whoever wrote it did not have the key.
        Err(differs) => differs,
        Ok(()) if is_at_hand => Unproven::Damaged("its manifest is not signed".to_owned()),
        Ok(()) => Unproven::NoKey(format!(
            "its manifest can't be checked: {} is not at hand (`[encryption] open_with`)",
            in_words(named)
        )),
    }
}

/// In what that which a manifest tells is not the backup on record.
pub(super) fn difference(told: &Backup, backup: &Backup) -> Option<String> {
    let is_other =
        |name: &str| backup.metadata.get(name).is_some_and(|known| told.metadata.get(name) != Some(known));
    let begun_by_id = backup.id.begun_at().map(jiff::Timestamp::as_second);
    let fields = [
        ("the checksum", backup.checksum.is_some() && told.checksum != backup.checksum),
        ("the size", backup.size_bytes.is_some() && told.size_bytes != backup.size_bytes),
        ("the type", told.backup_type != backup.backup_type),
        ("the source", told.source != backup.source),
        ("the database", told.database != backup.database),
        ("the tenant", told.tenant != backup.tenant),
        ("the file name", told.filename != backup.filename),
        ("the begin", begun_by_id != Some(told.created_at.as_second())),
        ("the size of the dump", is_other("dump_bytes")),
        ("the checksum of the dump", is_other("dump_checksum")),
        ("the compression", is_other("compression")),
    ];
    let (field, _) = fields.into_iter().find(|(_, differs)| *differs)?;
    Some(format!("its manifest has another value for {field} than the record"))
}

fn in_words(keys: &[&str]) -> String {
    match keys {
        [] => "no key".to_owned(),
        keys => format!("the key {}", shown(&keys.join(", "))),
    }
}
