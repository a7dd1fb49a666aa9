//! `pgkeep catalog rebuild`: the rows that the manifests in stores tell of, written again. It adds, and sets
//! right what is on record as lost; it takes nothing away.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;

use super::agree::{self, Unproven};
use super::clock::now;
use super::configured_store::ConfiguredStore;
use super::context::Context;
use super::inventory::{self, Orphan};
use super::liveness::is_alive;
use super::trust::Trust;
use super::{select, status};
use crate::backup::{Backup, Copy, CopyState, Status};
use crate::catalog::Catalog;
use crate::catalog::query::Filter;
use crate::exit::Code;
use crate::key::{KeyRing, Signer};
use crate::name::BackupId;
use crate::testpoint::{self, Step};

/// What became of a backup that a manifest tells of.
enum Outcome {
    New(Backup),
    Changed(Backup),
    /// Its run was on record as failed.
    Revived(Backup),
    Known,
    /// It is left as it is; why.
    Left(String),
}

pub(super) fn run(context: &Context, from: &[String], accept: &[String]) -> Result<Code> {
    let ring = context.existing_keys()?;
    let configured_stores = context.configured_stores()?;
    let named: Vec<&ConfiguredStore> =
        from.iter().map(|name| select::configured(&configured_stores, name)).collect::<Result<_>>()?;
    let mut taken = Taken::default();
    let mut trust = Trust::at(now());
    for configured in named {
        taken.read(configured, &ring, &mut trust, accept)?;
    }
    let mut catalog = context.catalog()?;
    taken.leave_what_is_in_doubt(&mut catalog, &ring, &mut trust, accept)?;
    let (found, older, mut code) = taken.put_together();
    let order = |copy: &Copy| configured_stores.iter().position(|configured| configured.name == copy.store);
    let (mut new, mut changed, mut new_by_older, count) = (0usize, 0usize, 0usize, found.len());
    let mut written = Vec::new();
    for (id, told) in found {
        let mut odd = Vec::new();
        let outcome = merge(&mut catalog, told, older.get(&id), &mut odd)?;
        for why in odd {
            log::warn!("`{id}`: {why}");
            code = code.worse(Code::Degraded);
        }
        let mut backup = match outcome {
            Outcome::Known => continue,
            Outcome::Left(why) => {
                log::warn!("`{id}` is left as it is: {why}");
                code = code.worse(Code::Degraded);
                continue;
            }
            Outcome::New(backup) => {
                new += 1;
                new_by_older += usize::from(older.contains_key(&id));
                backup
            }
            Outcome::Changed(backup) | Outcome::Revived(backup) => {
                changed += 1;
                backup
            }
        };
        backup.copies.sort_by_key(|copy| order(copy).unwrap_or(usize::MAX));
        status::recompute(&mut backup);
        catalog.save(&backup)?;
        testpoint::reached(Step::RowRebuilt);
        written.push(backup);
    }
    let plural = if count == 1 { "" } else { "s" };
    context.out.line(&format!("{count} backup{plural} found, {new} new on record, {changed} set right"))?;
    if new > 0 {
        context.out.line("pins stand in no manifest: pin again what is to stay whatever the rules say")?;
    }
    if new_by_older > 0 {
        context.out.line(&format!(
            "of the new, a key that was rotated out proves {new_by_older}: whoever has it can write one of that time"
        ))?;
    }
    context.out.json(&written)?;
    Ok(code)
}

/// What the manifest of one copy tells.
struct Told {
    backup: Backup,
    /// The key that proves it, where that was rotated out.
    older: Option<Signer>,
    /// It is in doubt, and was asked for.
    is_accepted: bool,
}

/// What manifests tell of.
struct Taken {
    told: Vec<Told>,
    code: Code,
}

impl Default for Taken {
    fn default() -> Self {
        Self { told: Vec::new(), code: Code::Done }
    }
}

impl Taken {
    fn read(
        &mut self,
        configured: &ConfiguredStore,
        ring: &KeyRing,
        trust: &mut Trust,
        accept: &[String],
    ) -> Result<()> {
        let inventory = inventory::read(configured, Some(ring), &Filter::default(), None, trust)?;
        inventory.orphans.warn();
        if !inventory.orphans.is_empty() {
            self.code = self.code.worse(Code::Degraded);
        }
        inventory.notes.iter().for_each(Orphan::warn);
        let older = inventory.older;
        let told = |backup: Backup, is_accepted| {
            let older = older.get(&backup.id).cloned();
            Told { backup, older, is_accepted }
        };
        self.told.extend(inventory.backups.into_iter().map(|backup| told(backup, false)));
        let accepted = inventory.doubtful.into_iter().filter_map(|backup| accepted(backup, accept));
        self.told.extend(accepted.map(|backup| told(backup, true)));
        Ok(())
    }

    /// What one store knows of a key holds for what another one told before, and the catalog may know more than all.
    fn leave_what_is_in_doubt(
        &mut self,
        catalog: &mut Catalog,
        ring: &KeyRing,
        trust: &mut Trust,
        accept: &[String],
    ) -> Result<()> {
        let sealing = ring.sealing().id();
        let mut search = |source: &str, at: Timestamp| {
            let first = catalog.first_sealed(source, &sealing)?;
            Ok(first.filter(|first| *first <= at))
        };
        trust.search_again();
        for mut told in std::mem::take(&mut self.told) {
            let older = told.older.as_ref().filter(|_| !told.is_accepted);
            let doubt = match older {
                Some(signer) => trust.doubt(&told.backup, Some(signer), &mut search)?,
                None => None,
            };
            if let Some(why) = doubt {
                let (id, stores) = (&told.backup.id, stores_of(&told.backup));
                log::warn!("store {stores}: `{id}`: {why}");
                self.code = self.code.worse(Code::Degraded);
                told.is_accepted = accept.iter().any(|asked| asked == id.as_str());
                if !told.is_accepted {
                    continue;
                }
            }
            self.told.push(told);
        }
        Ok(())
    }

    /// The backups, and of those the ones that a key proves which was rotated out. What the sealing key proves goes before
    /// what such a key says of the same backup, and that before what is in doubt.
    fn put_together(mut self) -> (BTreeMap<BackupId, Backup>, BTreeMap<BackupId, Signer>, Code) {
        self.told.sort_by_key(|told| (told.is_accepted, told.older.is_some()));
        let (mut found, mut older) = (BTreeMap::new(), BTreeMap::new());
        for Told { backup, older: signer, .. } in self.told {
            if let Some(orphan) = gather(&mut found, &mut older, backup, signer) {
                orphan.warn();
                self.code = self.code.worse(Code::Degraded);
            }
        }
        (found, older, self.code)
    }
}

fn stores_of(backup: &Backup) -> String {
    backup.copies.iter().map(|copy| format!("`{}`", copy.store)).collect::<Vec<_>>().join(", ")
}

/// A backup that is in doubt, where it was asked for.
fn accepted(mut backup: Backup, accept: &[String]) -> Option<Backup> {
    if !accept.iter().any(|asked| asked == backup.id.as_str()) {
        log::warn!("`{}` is not put on record (--accept {} does)", backup.id, backup.id);
        return None;
    }
    let is_damaged = |copy: &Copy| copy.state == CopyState::Corrupt;
    backup.copies.iter_mut().filter(|copy| !is_damaged(copy)).for_each(|copy| copy.error = None);
    Some(backup)
}

/// Adds a backup to those found, or its copy to what another store told of it; what the sealing key proves comes first.
/// `older` is the key that proves it, where that was rotated out.
pub(super) fn gather(
    found: &mut BTreeMap<BackupId, Backup>,
    by_older: &mut BTreeMap<BackupId, Signer>,
    backup: Backup,
    older: Option<Signer>,
) -> Option<Orphan> {
    let Some(known) = found.get_mut(&backup.id) else {
        by_older.extend(older.map(|signer| (backup.id.clone(), signer)));
        found.insert(backup.id.clone(), backup);
        return None;
    };
    let foreign = older.and_then(|signer| agree::ensure_signer(&signer, &agree::keys_of(known)).err());
    let what = match foreign {
        Some(Unproven::Damaged(why) | Unproven::NoKey(why)) => why,
        None if known.checksum == backup.checksum && known.size_bytes == backup.size_bytes => {
            known.copies.extend(backup.copies);
            return None;
        }
        None => "its manifest names another checksum than that in another store".to_owned(),
    };
    let copy = backup.copies.into_iter().next()?;
    Some(Orphan { store: copy.store, path: copy.path, what })
}

/// What is to be put on record of a backup by what its manifests tell; and whether it was on record as failed: its
/// run died, or gave up, after it had published whole copies. `None` where there is nothing new.
pub(super) fn take_up(
    catalog: &mut Catalog,
    told: Backup,
    signer: Option<&Signer>,
) -> Result<Option<(Backup, bool)>> {
    Ok(match merge(catalog, told, signer, &mut Vec::new())? {
        Outcome::Revived(backup) => Some((backup, true)),
        Outcome::Changed(backup) => Some((backup, false)),
        Outcome::New(_) | Outcome::Known | Outcome::Left(_) => None,
    })
}

/// Puts what manifests tell of a backup together with what is on record of it. What is `odd` is left.
fn merge(
    catalog: &mut Catalog,
    told: Backup,
    signer: Option<&Signer>,
    odd: &mut Vec<String>,
) -> Result<Outcome> {
    let found = catalog.find(told.id.as_str(), 1)?.into_iter().find(|backup| backup.id == told.id);
    let Some(mut known) = found else { return Ok(Outcome::New(told)) };
    if let Some(Unproven::Damaged(why) | Unproven::NoKey(why)) =
        signer.and_then(|signer| agree::ensure_signer(signer, &agree::keys_of(&known)).err())
    {
        return Ok(Outcome::Left(why));
    }
    let is_whole = told.copies.iter().any(|copy| copy.error.is_none());
    match known.status {
        Status::InProgress if is_alive(catalog, &known)? => {
            return Ok(Outcome::Left("a run is making it".to_owned()));
        }
        Status::InProgress | Status::Failed if !is_whole => {
            return Ok(Outcome::Left("no copy that was found of it is whole".to_owned()));
        }
        // A run that died, or gave up, after it had published whole copies.
        Status::InProgress | Status::Failed => {
            let Backup { mut metadata, mut copies, .. } = known;
            metadata.extend(told.metadata.clone());
            merge_copies(&mut copies, told.copies, odd);
            return Ok(Outcome::Revived(Backup { metadata, copies, ..told }));
        }
        Status::Expired => {
            return Ok(Outcome::Left("it is on record as expired, and copies of it are there".to_owned()));
        }
        Status::Completed | Status::Verified | Status::Degraded => {}
    }
    if known.checksum != told.checksum {
        return Ok(Outcome::Left("the record has another checksum than the manifest".to_owned()));
    }
    let is_changed = merge_copies(&mut known.copies, told.copies, odd);
    Ok(if is_changed { Outcome::Changed(known) } else { Outcome::Known })
}

/// Adds the copies that are not on record, and sets right those on record as lost, or in another place: the
/// folder or the prefix of a store may have changed. Whether there was one.
fn merge_copies(known: &mut Vec<Copy>, told: Vec<Copy>, odd: &mut Vec<String>) -> bool {
    let mut is_changed = false;
    for copy in told {
        match known.iter_mut().find(|known| known.store == copy.store) {
            None => known.push(copy),
            Some(known) if known.state == CopyState::Expired => {
                odd.push(format!("its copy in `{}` is on record as expired, and is there", copy.store));
                continue;
            }
            Some(known)
                if matches!(known.state, CopyState::Missing | CopyState::Failed)
                    || known.path != copy.path =>
            {
                *known = copy;
            }
            Some(_) => continue,
        }
        is_changed = true;
    }
    is_changed
}
