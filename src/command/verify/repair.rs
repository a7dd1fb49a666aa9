//! `verify --repair`: a copy that is damaged, or not there, made again from one that passed in the same run.
//! What is damaged stays until what takes its place is whole.

use anyhow::{Context as _, Result, anyhow, bail};

use super::super::clock::now;
use super::super::copies::{expiry, mark_checked, path_in, pour};
use super::super::copy_check::{CheckFailure, CopyCheck, Part};
use super::Session;
use super::checked_copy::{CheckedCopy, Found, mended, store_of};
use crate::backup::{Backup, CheckLevel, Copy, CopyState};
use crate::exit::one_line;
use crate::key::KeyRing;
use crate::manifest::Manifest;
use crate::name;
use crate::store::{Handle, Kind, Stale, Store};
use crate::testpoint::{self, Step};

const MIB: u64 = 1024 * 1024;
const LEAST_PART_BYTES: u64 = 8 * MIB;
/// What S3 takes of parts: the size is known, so one upload holds it all.
const MOST_PARTS: u64 = 10_000;
/// Unfinished uploads to one path that are removed at once.
const MOST_UPLOADS: usize = 1000;
/// Parts that memory has room for; a copy whose parts were larger is sent in smaller ones.
const LARGEST_PART_BYTES: u64 = 48 * MIB;

/// A copy that passed, and its proven manifest.
struct Good<'a> {
    copy: &'a Copy,
    store: &'a dyn Store,
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    /// The tags that proven manifests name, and the sizes of the parts that they come from: equal bytes in
    /// equal parts have equal tags.
    tags: Vec<(String, u64)>,
}

/// Mends each copy that is damaged or missing, and says so in its finding.
pub(super) fn run(
    session: &Session<'_>,
    look: &CopyCheck<'_>,
    backup: &mut Backup,
    found: &[Found],
    findings: &mut [CheckedCopy],
) -> Result<()> {
    let ring = session.ring.context("a repair needs the key")?;
    let damaged = found.iter().zip(&look.backup.copies).map(|(found, copy)| damage_of(session, found, copy));
    let damaged: Vec<Option<Part>> = damaged.collect();
    if damaged.iter().all(Option::is_none) {
        return Ok(());
    }
    let good = good_copies(session, look, found);
    if good.is_empty() {
        log::error!("`{}`: no copy is whole, so nothing can be repaired, and nothing was touched", backup.id);
        return Ok(());
    }
    let places = backup.copies.iter_mut().zip(findings).zip(damaged);
    for ((copy, finding), part) in places.filter_map(|(place, part)| Some((place, part?))) {
        if session.context.interrupt.is_raised() {
            break;
        }
        let was = finding.message.clone();
        let mut problems = Vec::new();
        for good in &good {
            match repair_copy(session, look, copy, part, good, ring) {
                Ok(repaired) => {
                    let (id, store, from) = (&look.backup.id, &copy.store, &good.copy.store);
                    for problem in problems.drain(..) {
                        log::warn!("`{id}`: store `{store}` could not be repaired {problem}");
                    }
                    log::warn!("`{id}`: store `{store}` was repaired from `{from}`: {was}");
                    *finding = mended(format!("from `{from}` ({was})"));
                    *copy = repaired;
                    break;
                }
                Err(error) => problems.push(format!("from `{}`: {}", good.copy.store, one_line(&error))),
            }
            if session.context.interrupt.is_raised() {
                break;
            }
        }
        if !finding.repaired {
            finding.message = format!("{was}; not repaired {}", problems.join("; "));
        }
        copy.error = (!finding.repaired).then(|| finding.message.clone());
    }
    Ok(())
}

/// What of a copy is to be made again.
fn damage_of(session: &Session<'_>, found: &Found, copy: &Copy) -> Option<Part> {
    match found {
        Some(Err(fault)) if fault.is_damage() => Some(fault.part),
        None if copy.state == CopyState::Failed && session.is_selected(&copy.store) => Some(Part::Artifact),
        _ => None,
    }
}

/// The copies that passed, a near one first, whose manifest is proven.
fn good_copies<'a>(session: &'a Session<'_>, look: &'a CopyCheck<'_>, found: &[Found]) -> Vec<Good<'a>> {
    let copies = look.backup.copies.iter().zip(found);
    let passed = copies.filter(|(_, found)| matches!(found, Some(Ok(()))));
    let mut passed: Vec<(&Copy, &dyn Store)> = passed
        .filter_map(|(copy, _)| Some((copy, store_of(copy, session.configured_stores).ok()?)))
        .collect();
    passed.sort_by_key(|(_, store)| store.kind() != Kind::Local);
    // What is copied on must be proven, whatever the level.
    let look = CopyCheck { level: look.level.max(CheckLevel::Content), ..*look };
    let proven = passed.into_iter().filter_map(|(copy, store)| {
        let (manifest, manifest_bytes) = look
            .read_manifest(store, &copy.path)
            .map_err(|fault| log::warn!("store `{}`: {}", copy.store, fault.message))
            .ok()?;
        Some(Good { copy, store, manifest, manifest_bytes, tags: Vec::new() })
    });
    let proven: Vec<Good<'_>> = proven.collect();
    let tags = proven.iter().filter_map(|good| good.manifest.etag.clone().zip(good.manifest.part_size_bytes));
    let tags: Vec<(String, u64)> = tags.collect();
    proven.into_iter().map(|good| Good { tags: tags.clone(), ..good }).collect()
}

/// Makes one copy again, and reads it back.
fn repair_copy(
    session: &Session<'_>,
    look: &CopyCheck<'_>,
    damaged: &Copy,
    part: Part,
    good: &Good<'_>,
    ring: &KeyRing,
) -> Result<Copy> {
    let configured = session.configured_stores.iter().find(|configured| configured.name == damaged.store);
    let configured = configured.context("the configuration has no such store")?;
    let store = configured.store.as_deref().map_err(|error| anyhow!("{error}"))?;
    let mut copy = damaged.clone();
    // A store that was moved gets the copy where it is now, not where it was.
    if !copy.path.starts_with(&store.path_of("")) || copy.path.is_empty() {
        copy.path = path_in(look.backup, store);
    }
    let part = match part {
        // A manifest says that its artifact is whole: no look from outside has proven that.
        Part::Manifest if look.level == CheckLevel::Stat => read_first(look, store, &copy)?,
        part => part,
    };
    // Its own manifest, where that is sound: the artifact is sent in the same parts, and fits it again.
    let proving = CopyCheck { level: CheckLevel::Content, ..*look };
    let own = proving.read_manifest(store, &copy.path).ok().map(|(manifest, _)| manifest);
    let mut part_size_bytes = own.as_ref().and_then(|own| own.part_size_bytes);
    if part == Part::Artifact {
        let least = good.manifest.size_bytes.div_ceil(MOST_PARTS).next_multiple_of(MIB);
        let planned = least.max(LEAST_PART_BYTES);
        let size = part_size_bytes.filter(|size| (planned..=LARGEST_PART_BYTES).contains(size));
        let size = size.unwrap_or(planned);
        clear_unfinished(store, &copy.path);
        testpoint::reached(Step::RepairBegun);
        let artifact = good.store.open(&good.copy.path)?;
        let upload = store.replace(&copy.path, size)?;
        let upload = pour(artifact, good.store.name(), upload, size, look.backup, look.interrupt)?;
        let stored = upload.publish().context("cannot publish")?;
        testpoint::reached(Step::RepairPublished);
        copy.etag = stored.etag;
        copy.size_bytes = Some(stored.size_bytes);
        copy.stored_at = Some(now());
        copy.locked_until = stored.locked_until;
        copy.expires_at = copy.expires_at.or_else(|| expiry(look.backup, configured));
        part_size_bytes = stored.part_size_bytes.or(Some(size));
    } else {
        let stat = store.stat(&copy.path)?.context("its artifact is gone")?;
        copy.etag = stat.etag;
        let same = |(tag, _): &&(String, u64)| Some(tag) == copy.etag.as_ref();
        part_size_bytes = part_size_bytes.or_else(|| Some(good.tags.iter().find(same)?.1));
    }
    let (etag, part_size_bytes) = match store.kind() {
        Kind::S3 => (copy.etag.clone(), part_size_bytes),
        Kind::Local => (None, None),
    };
    let wanted = Manifest { etag, part_size_bytes, ..good.manifest.clone() };
    if own.is_none_or(|own| own != Manifest { mac: own.mac.clone(), ..wanted.clone() }) {
        let bytes = if wanted == good.manifest { good.manifest_bytes.clone() } else { seal(wanted, ring)? };
        store.replace_small(&name::manifest_path(&copy.path), &bytes).context("cannot write the manifest")?;
    }
    read_back(look, store, copy)
}

/// Removes what a repair that was killed left of its upload; what stands at the path itself stays.
fn clear_unfinished(store: &dyn Store, path: &str) {
    let is_upload = |stale: &Stale| !matches!(stale.handle, Handle::Object(_));
    let mut uploads = Vec::new();
    let listed = store.each_stale(path, &|found| found == path, &mut |stale| {
        if is_upload(&stale) && uploads.len() < MOST_UPLOADS {
            uploads.push(stale);
        }
    });
    let cleared = listed.and_then(|()| uploads.iter().try_for_each(|stale| store.delete_stale_upload(stale)));
    if let Err(error) = cleared {
        log::warn!(
            "store `{}`: an unfinished upload of `{path}` may stay: {}",
            store.name(),
            one_line(&error)
        );
    }
}

/// What is to be made again of a copy whose manifest is not sound, now that its artifact is read.
fn read_first(look: &CopyCheck<'_>, store: &dyn Store, copy: &Copy) -> Result<Part> {
    match look.read_back(store, &copy.path) {
        Ok(()) => Ok(Part::Manifest),
        Err(fault) if fault.is_damage() => Ok(Part::Artifact),
        Err(fault) => bail!("its artifact can't be read: {}", fault.message),
    }
}

/// Signs a manifest by a key that its artifact was sealed with.
fn seal(manifest: Manifest, ring: &KeyRing) -> Result<Vec<u8>> {
    let key = manifest.keys.iter().find_map(|id| ring.find(id));
    let key = key.context("no key at hand signs its manifest")?;
    manifest.seal(key)
}

fn read_back(look: &CopyCheck<'_>, store: &dyn Store, mut copy: Copy) -> Result<Copy> {
    // Read to its end even where the level asks for less: it is new.
    let level = look.level.max(CheckLevel::Checksum).min(CheckLevel::Content);
    let level = if look.level == CheckLevel::Restore { CheckLevel::Checksum } else { level };
    let look = CopyCheck { level, ..*look };
    if let Err(CheckFailure { message, .. }) = look.at(store, &copy) {
        bail!("what was written does not read back: {message}");
    }
    mark_checked(&mut copy, level);
    Ok(copy)
}
