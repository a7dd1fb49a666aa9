//! `pgkeep verify`: every copy of a backup looked at as deep as is asked, mended from a good one where that
//! is asked too, and what was found put on record.

use anyhow::Result;
use serde_json::{Value, json};

use super::clock::now;
use super::configured_store::ConfiguredStore;
use super::context::Context;
use super::copy_check::{Reader, Verdict};
use super::progress::Phase;
use super::test_restore::TestRestored;
use super::{select, status};
use crate::backup::{Backup, CONFIG, CheckLevel, Copy};
use crate::catalog::Catalog;
use crate::catalog::query::CHECKED;
use crate::cli;
use crate::exit::{Code, Failure, code_of, one_line};
use crate::fingerprint::Level;
use crate::key::KeyRing;
use crate::name::BackupId;
use crate::source::server::Server;

mod check;
mod checked_copy;
mod orphans;
mod repair;
mod sweep;
mod watch;

use checked_copy::CheckedCopy;
use watch::Seen;

/// What one call of `verify` works with.
#[derive(Clone, Copy)]
struct Session<'a> {
    context: &'a Context,
    configured_stores: &'a [ConfiguredStore],
    /// Not there where none is needed and none is at hand.
    ring: Option<&'a KeyRing>,
    level: CheckLevel,
    /// Only the copies in these stores; empty means all.
    stores: &'a [String],
    repair: bool,
    /// Where test restores go; `None` means a server of our own.
    scratch: Option<&'a str>,
    /// Whether a line for each copy that is whole is too much.
    is_sweep: bool,
}

/// A backup that was looked at.
struct Checked {
    backup: Backup,
    /// Of each copy, in their order.
    findings: Vec<CheckedCopy>,
    code: Code,
}

/// Makes sure that a scratch server is named as one, and is none by its name alone. One that is away is no fault of the
/// flag's: each test restore says so.
fn ensure_usable(context: &Context, url: &str) -> Result<()> {
    let info = context.connection(url)?;
    match Server::connect(&info, &context.connect_options()) {
        Err(error) if code_of(&error) == Code::Usage => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn run(context: &Context, flags: &cli::Verify) -> Result<Code> {
    let level = flags.level.as_deref().and_then(CheckLevel::parse).unwrap_or(CheckLevel::Checksum);
    if flags.scratch.is_some() && level != CheckLevel::Restore {
        return Err(Failure::usage("`--scratch` is for test restores").hint("add --level restore").into());
    }
    if let Some(url) = &flags.scratch {
        ensure_usable(context, url)?;
    }
    let ring = keys(context, level, flags.repair)?;
    let configured_stores = context.configured_stores()?;
    for name in &flags.stores {
        select::configured(&configured_stores, name)?;
    }
    let mut seen = Seen::default();
    let reached = if flags.all {
        sweep::reachable(&configured_stores, &flags.stores, &mut seen)
    } else {
        Ok((None, Code::Done))
    };
    let (stores, reached) = reached.inspect_err(|_| seen.raise_away(context))?;
    let session = Session {
        context,
        configured_stores: &configured_stores,
        ring: ring.as_ref(),
        level,
        stores: stores.as_deref().unwrap_or(&flags.stores),
        repair: flags.repair,
        scratch: flags.scratch.as_deref(),
        is_sweep: flags.all,
    };
    let mut catalog = context.catalog()?;
    if flags.all {
        let swept = sweep::run(&session, &mut catalog, flags, &mut seen);
        seen.raise(context, &mut catalog);
        return Ok(reached.worse(swept?));
    }
    let id = flags.id.as_deref().unwrap_or_default();
    let backup = select::one(&mut catalog, &context.config.source.name, id, &flags.filters, now())?;
    select::ensure_usable(&backup, "verify")?;
    let checked = session.verify(&mut catalog, backup)?;
    seen.looked_at(&checked, level);
    seen.raise(context, &mut catalog);
    context.out.json(&checked.json()?)?;
    Ok(checked.code)
}

/// The keys. What reads no further than the checksum does without, unless it is to write manifests.
fn keys(context: &Context, level: CheckLevel, repair: bool) -> Result<Option<KeyRing>> {
    let is_there = context.config.encryption.key_file.try_exists().unwrap_or(true);
    if !is_there && level <= CheckLevel::Checksum && !repair {
        log::info!("there is no key at hand: manifests are compared, not proven");
        return Ok(None);
    }
    context.existing_keys().map(Some)
}

/// Records the copies that were repaired before an interrupt, and nothing else.
fn keep_repaired(catalog: &mut Catalog, backup: &Backup, findings: &[CheckedCopy]) {
    let repaired: Vec<Copy> = backup
        .copies
        .iter()
        .zip(findings)
        .filter(|(_, finding)| finding.repaired)
        .map(|(copy, _)| copy.clone())
        .collect();
    if repaired.is_empty() {
        return;
    }
    let kept = catalog.find(backup.id.as_str(), 1).and_then(|found| {
        let Some(mut known) = found.into_iter().find(|known| known.id == backup.id) else {
            return Ok(());
        };
        for copy in repaired {
            known.copies.iter_mut().filter(|known| known.store == copy.store).for_each(|known| {
                known.clone_from(&copy);
            });
        }
        status::recompute(&mut known);
        catalog.save(&known)
    });
    if let Err(error) = kept {
        log::warn!("the catalog does not take what was repaired: {}", one_line(&error));
    }
}

impl Session<'_> {
    /// Looks at a backup, mends what is to be mended, says what was found, and puts it on record.
    ///
    /// # Errors
    /// Exit code 5 when it has gone since the record was read, 6 while a prune is removing it.
    fn verify(&self, catalog: &mut Catalog, backup: Backup) -> Result<Checked> {
        let is_dump = backup.backup_type != CONFIG;
        // There is no database to restore it into: what can be proven of it is that it reads to its end.
        let level = if is_dump { self.level } else { self.level.min(CheckLevel::Content) };
        Session { level, ..*self }.verify_as_deep(catalog, backup)
    }

    fn verify_as_deep(&self, catalog: &mut Catalog, backup: Backup) -> Result<Checked> {
        let id = backup.id.clone();
        let backup = select::claimed(catalog, backup, &self.context.interrupt)?;
        let usable = select::ensure_usable(&backup, "verify");
        let checked = usable.and_then(|()| self.verify_in_use(catalog, backup));
        if let Err(error) = catalog.let_copies_go(&id) {
            log::debug!("`{id}`: {error:#}");
        }
        checked
    }

    fn verify_in_use(&self, catalog: &mut Catalog, mut backup: Backup) -> Result<Checked> {
        let reader = self.reader(&backup);
        let phase = Phase::start(&self.context.out.bars, format!("{}: looking at its copies", backup.id));
        let findings = check::run(self, &mut backup, &reader)?;
        drop(phase);
        let mut code = Code::Done;
        for (copy, finding) in backup.copies.iter().zip(&findings) {
            let one = finding.code();
            code = code.worse(one);
            let Some(word) = finding.word() else { continue };
            let line = format!("{}: {word}", copy.store);
            if one == Code::Done && !self.is_sweep {
                self.context.out.line(&line)?;
            } else if one != Code::Done {
                log::error!("`{}`: store {line}", backup.id);
            }
        }
        if backup.copies.is_empty() {
            code = code.worse(Code::Verification);
            log::error!("`{}`: there is no copy on record", backup.id);
        }
        if self.context.interrupt.is_raised() {
            // What could not be looked at for want of time is no finding; what was made anew is on record.
            keep_repaired(catalog, &backup, &findings);
            return Ok(Checked { backup, findings, code: Code::Failed });
        }
        status::recompute(&mut backup);
        if let Some(error) = status::unproven(&backup).filter(|_| code == Code::Done) {
            log::error!("`{}`: a deeper check found, and none as deep has passed since: {error}", backup.id);
            code = code.worse(Code::Degraded);
        }
        if let Some(lacks) = status::lacks(&backup) {
            log::error!("`{}`: its copies are whole, and {lacks}", backup.id);
            code = code.worse(Code::Degraded);
        }
        self.mark_looked_at(&mut backup);
        if let Err(error) = catalog.save(&backup) {
            log::warn!("the catalog does not take the verdict: {error:#}");
            code = code.worse(Code::Degraded);
        }
        Ok(Checked { backup, findings, code })
    }

    /// Keeps in mind for the next sweep when the stores were looked at, whatever was found.
    fn mark_looked_at(&self, backup: &mut Backup) {
        let checked = backup.metadata.entry(CHECKED).or_insert_with(|| json!({}));
        if let Some(checked) = checked.as_object_mut() {
            checked.extend(self.stores().map(|store| (store.to_owned(), json!(now()))));
        }
    }

    /// The names of the stores that are looked at.
    fn stores(&self) -> impl Iterator<Item = &str> {
        self.configured_stores
            .iter()
            .map(|configured| configured.name.as_str())
            .filter(|name| self.is_selected(name))
    }

    fn reader(&self, backup: &Backup) -> Result<Reader, String> {
        if self.level == CheckLevel::Content {
            return self.context.reader(backup);
        }
        Err("no copy is opened at this level".to_owned())
    }

    /// Says what a test restore found equal: in words of its own where it is the one thing that was asked.
    fn restored(&self, id: &BackupId, restored: &TestRestored) {
        log::info!("`{id}`: {restored}");
        if restored.tables.is_none() && self.context.config.fingerprint.level != Level::Off {
            log::warn!("`{id}` restores, but there are no figures on record to compare it with");
        }
        if !self.is_sweep
            && let Err(error) = self.context.out.line(&restored.to_string())
        {
            log::warn!("{error:#}");
        }
    }

    fn is_selected(&self, store: &str) -> bool {
        self.stores.is_empty() || self.stores.iter().any(|name| name == store)
    }
}

impl Checked {
    /// The backup, and of each copy that was looked at the verdict.
    fn json(&self) -> Result<Value> {
        let mut document = serde_json::to_value(&self.backup)?;
        let copies = document.get_mut("copies").and_then(Value::as_array_mut).into_iter().flatten();
        for (copy, finding) in copies.zip(&self.findings) {
            let Some(copy) = copy.as_object_mut() else { continue };
            copy.insert("verdict".to_owned(), json!(finding.verdict));
            copy.insert("offset".to_owned(), json!(finding.offset_bytes));
            copy.insert("repaired".to_owned(), json!(finding.repaired));
        }
        Ok(document)
    }

    /// What was found, in a few words.
    fn words(&self) -> String {
        let copies = self.backup.copies.iter().zip(&self.findings);
        let words = copies.filter_map(|(copy, finding)| {
            let verdict = finding.verdict?;
            let word = match (verdict, finding.repaired) {
                (Verdict::Ok, true) => "repaired".to_owned(),
                (Verdict::Ok, false) => "ok".to_owned(),
                (verdict, _) => serde_json::to_string(&verdict).unwrap_or_default().trim_matches('"').into(),
            };
            Some(format!("{} {word}", copy.store))
        });
        words.collect::<Vec<_>>().join(", ")
    }
}
