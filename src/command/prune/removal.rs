//! The copies of one database that go from one store: the manifest first, then the artifact, then the record. What
//! was planned is decided again when somebody else can't change it any more.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, anyhow};

use super::super::copies::side_by_side;
use super::super::output::printable;
use super::super::progress::Phase;
use super::super::{inventory, status};
use super::plan::{self, StorePlan};
use super::plan_items::Item;
use super::report::{Done, Outcome};
use super::work::Work;
use crate::backup::{CopyState, Status};
use crate::catalog::Catalog;
use crate::catalog::kept::{Kept, KeptCopy};
use crate::exit::{Code, one_line};
use crate::name::{self, BackupId};
use crate::retention::{self, Verdict};
use crate::store::{Listed, Removal, Store};
use crate::testpoint::{self, Step};

/// Copies that are removed at once.
const AT_ONCE: usize = 8;
/// Said of a copy that a store shows after it said that it removed it.
const STILL_THERE: &str = "it was removed, and the store still shows it";

/// The work on one database in one store.
pub(super) struct OfStore<'a> {
    work: &'a Work<'a>,
    store: &'a StorePlan<'a>,
    database: &'a str,
    /// What the store said it removed.
    removed: Vec<&'a Item>,
    /// What went wrong last: the same is not told twice.
    told: String,
}

impl<'a> OfStore<'a> {
    pub(super) fn new(work: &'a Work<'a>, store: &'a StorePlan<'a>, database: &'a str) -> Self {
        Self { work, store, database, removed: Vec::new(), told: String::new() }
    }

    /// Removes what goes, and says what became of each.
    pub(super) fn remove(
        mut self,
        catalog: &mut Catalog,
        going: &[&'a Item],
        done: &mut Done,
    ) -> Result<Code> {
        let rows = self.work.rows(catalog, self.database)?;
        let mut why = done.given_up(self.name());
        if why.is_none()
            && let Err(error) = self.ensure_the_rest(&rows, going)
        {
            why = Some(one_line(&error));
        }
        let mut code = if why.is_some() { Code::Degraded } else { Code::Done };
        let phase = Phase::start(&self.work.context.out.bars, "");
        for (place, some) in going.chunks(AT_ONCE).enumerate() {
            let (name, database) = (self.name(), printable(self.database));
            let begun = place.saturating_mul(AT_ONCE);
            phase.say(format!("{name}: removing copies of {database}, {begun} of {}", going.len()));
            if why.is_none() && self.work.is_interrupted() {
                why = Some("interrupted".to_owned());
            }
            why = why.or_else(|| done.given_up(self.name()));
            match &why {
                None => code = code.worse(self.remove_some(catalog, some, done)?),
                Some(why) => {
                    for item in some {
                        done.tell(self.store, item, Outcome::Left(why.clone()));
                    }
                }
            }
        }
        drop(phase);
        if let Some(why) = why.filter(|_| !self.work.is_interrupted()) {
            log::error!("store `{}`: copies of `{}` are left: {why}", self.name(), self.database);
        }
        Ok(code.worse(self.list_again(catalog, done)?))
    }

    fn name(&self) -> &'a str {
        &self.store.configured.name
    }

    /// Looks in the store itself for what lets the others go: not the record alone is to be believed.
    fn ensure_the_rest(&self, rows: &[Kept], going: &[&Item]) -> Result<()> {
        let going: BTreeSet<&str> = going.iter().map(|item| item.id.as_str()).collect();
        let needed = self.work.context.config.retention.min_keep.get();
        let mut looked_at: BTreeMap<(&Option<String>, &str), u32> = BTreeMap::new();
        let view = self.store.view();
        for row in
            rows.iter().filter(|row| row.status == Status::Verified && !going.contains(row.id.as_str()))
        {
            let is_good = |copy: &&KeptCopy| copy.state == CopyState::Verified && view.is_own(row, copy);
            let copy = view.copy_in(row).filter(is_good);
            let count = looked_at.entry((&row.tenant, &row.backup_type)).or_default();
            let Some(copy) = copy.filter(|_| *count < needed) else { continue };
            *count = count.saturating_add(1);
            let artifact = self.store.store.stat(&copy.path)?;
            let manifest = self.store.store.stat(&name::manifest_path(&copy.path))?;
            if manifest.is_none() || artifact.map(|stat| stat.size_bytes) != copy.size_bytes {
                let id = &row.id;
                return Err(anyhow!(
                    "the copy of `{id}`, which is to stay, is not whole in the store any more"
                ));
            }
        }
        Ok(())
    }

    /// Claims some, looks at the record again, and removes those that still may go.
    fn remove_some(&mut self, catalog: &mut Catalog, some: &[&'a Item], done: &mut Done) -> Result<Code> {
        let session = catalog.session()?;
        let mut claimed = Vec::new();
        for item in some {
            let Some(id) = BackupId::parse(&item.id) else { continue };
            if catalog.claim_copies(&id)? {
                claimed.push((*item, id));
            } else {
                done.tell(self.store, item, Outcome::Left("somebody looks at its copies".to_owned()));
            }
        }
        testpoint::reached(Step::CopiesClaimed);
        // Whoever pins, checks or finds something wrong from now on waits, or has been heard.
        let rows = self.work.rows(catalog, self.database)?;
        if catalog.session()? != session {
            return Err(anyhow!("the catalog's session ended, and what was claimed with it"));
        }
        let still = self.still_going(&rows);
        let ids: Vec<BackupId> = claimed.iter().map(|(_, id)| id.clone()).collect();
        let (going, changed): (Vec<_>, Vec<_>) =
            claimed.into_iter().partition(|(item, _)| still.contains(item.id.as_str()));
        for (item, _) in changed {
            done.tell(self.store, item, Outcome::Left("its record has changed meanwhile".to_owned()));
        }
        let store = self.store.store;
        let outcomes = side_by_side(going, |(item, id)| (item, id, remove_one(store, &item.path)))?;
        // First of all what the stores did is told: the catalog may fail now.
        let mut gone = Vec::new();
        let mut code = Code::Done;
        for (item, id, outcome) in outcomes {
            if matches!(outcome, Ok(Removal::Gone)) {
                gone.push(id);
            }
            code = code.worse(self.tell(item, outcome, done));
        }
        let recorded = gone.iter().try_for_each(|id| {
            mark(catalog, id, self.name(), None).inspect(|()| testpoint::reached(Step::CopyMarkedExpired))
        });
        for id in &ids {
            if let Err(error) = catalog.give_copies_up(id) {
                log::debug!("`{id}`: {error:#}");
            }
        }
        recorded.context("what was removed is not on record; the next prune puts it there").map(|()| code)
    }

    /// The ids of what may go by what is on record.
    fn still_going<'r>(&self, rows: &'r [Kept]) -> BTreeSet<&'r str> {
        let view = self.store.view();
        let policy = plan::policy(self.work.context, self.store.configured, self.work.scope);
        let verdicts = retention::decide_at(&view.entries(rows), &policy, self.store.clock);
        let may_go = |(row, verdict): &(&Kept, Option<Verdict>)| match verdict {
            Some(verdict) => matches!(verdict, Verdict::Go(_)),
            None => view.is_half_gone(row),
        };
        rows.iter().zip(verdicts).filter(may_go).map(|(row, _)| row.id.as_str()).collect()
    }

    /// Says what the store made of a removal.
    fn tell(&mut self, item: &'a Item, outcome: Result<Removal>, done: &mut Done) -> Code {
        done.answered(self.name(), outcome.is_ok());
        let (outcome, code) = match outcome {
            Ok(Removal::Gone) if !item.is_there => (Outcome::Absent, Code::Done),
            Ok(Removal::Gone) => {
                self.removed.push(item);
                (Outcome::Removed, Code::Done)
            }
            Ok(Removal::Held(hold)) => (Outcome::held_by(&hold), Code::Done),
            Err(error) => {
                let text = one_line(&error);
                if self.told != text {
                    log::error!("store `{}`: `{}`: {text}", self.name(), item.id);
                    self.told.clone_from(&text);
                }
                (Outcome::Failed(text), Code::Degraded)
            }
        };
        done.tell(self.store, item, outcome);
        code
    }

    /// A store may say that something is gone, and keep it.
    fn list_again(&self, catalog: &mut Catalog, done: &mut Done) -> Result<Code> {
        let folder = |item: &&Item| item.path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let folders: BTreeSet<String> = self.removed.iter().filter_map(folder).collect();
        let removed: BTreeSet<&str> = self.removed.iter().map(|item| item.path.as_str()).collect();
        let is_one = |path: &str| removed.contains(inventory::artifact_of(path));
        let mut code = Code::Done;
        let mut shown = BTreeSet::new();
        for folder in folders {
            let mut see = |object: Listed| {
                shown.insert(object.path);
            };
            match self.store.store.each(&format!("{folder}/"), &is_one, &mut see) {
                Ok(()) => {}
                Err(error) => {
                    let (name, text) = (self.name(), one_line(&error));
                    log::error!("store `{name}`: what is left after the removal can't be listed: {text}");
                    code = code.worse(Code::Degraded);
                }
            }
        }
        for item in &self.removed {
            let both = [item.path.clone(), name::manifest_path(&item.path)];
            let Some(left) = both.into_iter().find(|path| shown.contains(path)) else { continue };
            log::error!("store `{}`: `{left}`: {STILL_THERE}", self.name());
            code = code.worse(Code::Degraded);
            if let Some(id) = inventory::id_of(&item.path) {
                mark(catalog, &id, self.name(), Some(STILL_THERE))?;
            }
            done.tell(self.store, item, Outcome::Failed(STILL_THERE.to_owned()));
        }
        Ok(code)
    }
}

/// Takes the manifest away first, so that what is half gone does not look whole. A lock on either keeps both.
fn remove_one(store: &dyn Store, path: &str) -> Result<Removal> {
    let removal = store.delete_versions(&[&name::manifest_path(path), path])?;
    testpoint::reached(Step::ArtifactExpired);
    Ok(removal)
}

/// Puts on record that a copy is gone, or what is wrong with that.
fn mark(catalog: &mut Catalog, id: &BackupId, store: &str, error: Option<&str>) -> Result<()> {
    let found = catalog.find(id.as_str(), 1)?.into_iter().find(|backup| backup.id == *id);
    let Some(mut backup) = found else { return Ok(()) };
    for copy in backup.copies.iter_mut().filter(|copy| copy.store == store) {
        copy.state = CopyState::Expired;
        copy.error = error.map(str::to_owned);
    }
    status::recompute(&mut backup);
    catalog.save(&backup)
}
