//! A plan carried out, database by database, each under a lock of its own. Stopped anywhere and begun again, it ends
//! in the same state.

use std::collections::BTreeSet;

use anyhow::Result;

use super::super::clock::now;
use super::super::locks::{self, Claimant, Locks};
use super::leftovers;
use super::plan::StorePlan;
use super::plan_items::{Action, Item};
use super::removal::OfStore;
use super::report::{Done, Outcome};
use super::work::Work;
use crate::alert::rules;
use crate::catalog::Catalog;
use crate::exit::{Code, code_of, one_line};

impl Work<'_> {
    /// Carries the plan out, and says what became of each copy; the code for what fell short.
    pub(super) fn run(&self, catalog: &mut Catalog, done: &mut Done) -> Result<Code> {
        let mut code = Code::Done;
        for database in self.databases() {
            if self.is_interrupted() {
                self.leave(&database, "interrupted", done);
                continue;
            }
            code = code.worse(match self.lock(&database, done)? {
                Ok(locks) => {
                    let code = self.of_database(catalog, &database, done)?;
                    drop(locks);
                    code
                }
                Err((why, code)) => {
                    self.leave(&database, &why, done);
                    code
                }
            });
        }
        Ok(code)
    }

    /// The databases of what is to go, and of what is left over.
    fn databases(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for store in &self.plan.stores {
            let going = store.items.iter().filter(|item| item.action == Action::Remove);
            names.extend(going.map(|item| item.database.clone()));
            names.extend(leftovers::databases(store, self.plan.now));
        }
        names
    }

    /// Takes the locks of a database's prunes; the inner error says why there are none, and with what code.
    fn lock(&self, database: &str, done: &mut Done) -> Result<Result<Locks, (String, Code)>> {
        let mut is_stuck = false;
        let (why, code) = match locks::take(self.context, &Claimant::prune(self.scope.source, database), true)
        {
            Ok(locks) if locks.is_any() => return Ok(Ok(locks)),
            Ok(_) => ("there is no lock to be had".to_owned(), Code::Degraded),
            Err(error) if code_of(&error) == Code::Locked => {
                let held = locks::held_since(&error).and_then(|since| rules::too_long(since, now()));
                if let Some(hours) = held {
                    is_stuck = true;
                    done.hold(database, format!("another prune holds its lock for {hours}"));
                }
                (one_line(&error), Code::Locked)
            }
            Err(error) => return Err(error),
        };
        // One that hangs does not what this one would.
        if self.scope.yields && code == Code::Locked && !is_stuck {
            log::info!("`{database}` is left as it is: {why}");
            return Ok(Err((why, Code::Done)));
        }
        log::error!("`{database}` is left as it is: {why}");
        Ok(Err((why, code)))
    }

    /// Says of all that was to go of a database why it is left.
    fn leave(&self, database: &str, why: &str, done: &mut Done) {
        for store in &self.plan.stores {
            to_go(store, database).for_each(|item| done.tell(store, item, Outcome::Left(why.to_owned())));
        }
    }

    fn of_database(&self, catalog: &mut Catalog, database: &str, done: &mut Done) -> Result<Code> {
        let mut code = Code::Done;
        for store in &self.plan.stores {
            let going: Vec<&Item> = to_go(store, database).collect();
            if !going.is_empty() {
                code = code.worse(OfStore::new(self, store, database).remove(catalog, &going, done)?);
            }
            code = code.worse(leftovers::sweep(self, catalog, store, database, done)?);
        }
        Ok(code)
    }
}

fn to_go<'a>(store: &'a StorePlan<'_>, database: &str) -> impl Iterator<Item = &'a Item> {
    store.items.iter().filter(move |item| item.database == database && item.action == Action::Remove)
}
