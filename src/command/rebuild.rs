//! `pgkeep catalog rebuild`: the rows that the manifests in stores tell of, written again. It adds, and sets
//! right what is on record as lost; it takes nothing away.

use std::collections::BTreeMap;

use anyhow::Result;

use super::context::{Context, Shelf};
use super::inventory::{self, Stray};
use super::{backup, select, standing};
use crate::backup::{Backup, Copy, CopyState, Status};
use crate::catalog::Catalog;
use crate::catalog::query::Filter;
use crate::exit::Code;
use crate::name::BackupId;
use crate::step::{self, Step};

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

pub(super) fn run(context: &Context, from: &[String]) -> Result<Code> {
    let ring = context.existing_keys()?;
    let shelves = context.shelves()?;
    let named: Vec<&Shelf> = from.iter().map(|name| select::shelf(&shelves, name)).collect::<Result<_>>()?;
    let mut code = Code::Done;
    let mut found: BTreeMap<BackupId, Backup> = BTreeMap::new();
    for shelf in named {
        let inventory = inventory::read(shelf, Some(&ring), &Filter::default(), None)?;
        inventory.strays.warn();
        if !inventory.strays.is_empty() {
            code = code.worse(Code::Degraded);
        }
        for backup in inventory.backups {
            if let Some(stray) = gather(&mut found, backup) {
                stray.warn();
                code = code.worse(Code::Degraded);
            }
        }
    }
    let mut catalog = context.catalog()?;
    let order = |copy: &Copy| shelves.iter().position(|shelf| shelf.name == copy.store);
    let (mut new, mut changed, count) = (0usize, 0usize, found.len());
    let mut written = Vec::new();
    for (id, told) in found {
        let mut odd = Vec::new();
        let outcome = merge(&mut catalog, told, &mut odd)?;
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
                backup
            }
            Outcome::Changed(backup) | Outcome::Revived(backup) => {
                changed += 1;
                backup
            }
        };
        backup.copies.sort_by_key(|copy| order(copy).unwrap_or(usize::MAX));
        standing::settle(&mut backup);
        catalog.save(&backup)?;
        step::reached(Step::RowRebuilt);
        written.push(backup);
    }
    let plural = if count == 1 { "" } else { "s" };
    context.out.line(&format!("{count} backup{plural} found, {new} new on record, {changed} set right"))?;
    if new > 0 {
        context.out.line("pins stand in no manifest: pin again what is to stay whatever the rules say")?;
    }
    context.out.json(&written)?;
    Ok(code)
}

/// Adds a backup to those found, or its copy to what another store told of it.
pub(super) fn gather(found: &mut BTreeMap<BackupId, Backup>, backup: Backup) -> Option<Stray> {
    let Some(known) = found.get_mut(&backup.id) else {
        found.insert(backup.id.clone(), backup);
        return None;
    };
    if known.checksum == backup.checksum && known.size_bytes == backup.size_bytes {
        known.copies.extend(backup.copies);
        return None;
    }
    let copy = backup.copies.into_iter().next()?;
    let what = "its manifest names another checksum than that in another store".to_owned();
    Some(Stray { store: copy.store, path: copy.path, what })
}

/// What is to be put on record of a backup by what its manifests tell; and whether it was on record as failed: its
/// run died, or gave up, after it had published whole copies. `None` where there is nothing new.
pub(super) fn take_up(catalog: &mut Catalog, told: Backup) -> Result<Option<(Backup, bool)>> {
    Ok(match merge(catalog, told, &mut Vec::new())? {
        Outcome::Revived(backup) => Some((backup, true)),
        Outcome::Changed(backup) => Some((backup, false)),
        Outcome::New(_) | Outcome::Known | Outcome::Left(_) => None,
    })
}

/// Puts what manifests tell of a backup together with what is on record of it. What is `odd` is left.
fn merge(catalog: &mut Catalog, told: Backup, odd: &mut Vec<String>) -> Result<Outcome> {
    let found = catalog.find(told.id.as_str(), 1)?.into_iter().find(|backup| backup.id == told.id);
    let Some(mut known) = found else { return Ok(Outcome::New(told)) };
    let is_whole = told.copies.iter().any(|copy| copy.error.is_none());
    match known.status {
        Status::InProgress if backup::is_alive(catalog, &known)? => {
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
