//! What a proven manifest is worth: by which key, and of which time. A key that was rotated out may be in other hands
//! by now, so it proves only what began while it sealed. It knows no store and no catalog.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::backup::Backup;
use crate::key::Signer;

/// Clocks of several hosts differ by so much, and nobody needs to know.
const SKEW: SignedDuration = SignedDuration::from_mins(1);
/// A clock that was put back by so much lets the next runs stamp theirs ahead of it, to keep their order.
const LARGEST_STEP: SignedDuration = SignedDuration::from_hours(25);

/// Finds out when a backup of that source began, at that moment or before, whose manifest the sealing key proves.
pub(super) type Search<'s> = dyn FnMut(&str, Timestamp) -> Result<Option<Timestamp>> + 's;

/// Since when the sealing key seals the backups of each source, as far as it is known.
pub(super) struct Trust {
    now: Timestamp,
    sources: BTreeMap<String, Known>,
}

#[derive(Default)]
struct Known {
    /// A backup of the sealing key began then; none is known that began before.
    first: Option<Timestamp>,
    /// There is none that began then or before.
    none_until: Option<Timestamp>,
}

impl Trust {
    pub(super) fn at(now: Timestamp) -> Self {
        Self { now, sources: BTreeMap::new() }
    }

    /// Keeps in mind that the sealing key proves a backup of a source that began then.
    pub(super) fn saw(&mut self, source: &str, at: Timestamp) {
        let known = self.sources.entry(source.to_owned()).or_default();
        known.first = Some(known.first.map_or(at, |first| first.min(at)));
    }

    /// Asks anew for what was not found: another search may know more.
    pub(super) fn search_again(&mut self) {
        self.sources.values_mut().for_each(|known| known.none_until = None);
    }

    /// Why a backup that its manifest proves is not to be taken for one without being asked for by its id. Searches
    /// only where it is not known yet.
    ///
    /// # Errors
    /// Of the search.
    pub(super) fn doubt(
        &mut self,
        backup: &Backup,
        signer: Option<&Signer>,
        search: &mut Search<'_>,
    ) -> Result<Option<String>> {
        let at = backup.created_at;
        match signer {
            Some(Signer::Sealing) => self.saw(&backup.source, at),
            Some(Signer::Older { id, until: Some(until) }) if at >= *until => {
                return Ok(Some(format!(
                    "it began at {}, and the key {id} that proves it is good until {} (`[encryption] open_with`)",
                    time(at),
                    time(*until)
                )));
            }
            None | Some(Signer::Older { until: Some(_), .. }) => {}
            Some(Signer::Older { id, until: None }) => {
                if let Some(first) = self.first_by(&backup.source, at, search)? {
                    return Ok(Some(rotated_out(id, at, first)));
                }
            }
        }
        let is_wrong = is_far_ahead(at, self.now);
        Ok(is_wrong.then(|| ahead(at, self.now)))
    }

    /// When the sealing key was in use at that moment already: since when, as far as it is known.
    fn first_by(
        &mut self,
        source: &str,
        at: Timestamp,
        search: &mut Search<'_>,
    ) -> Result<Option<Timestamp>> {
        let known = self.sources.entry(source.to_owned()).or_default();
        if let Some(first) = known.first.filter(|first| *first <= at) {
            return Ok(Some(first));
        }
        if known.none_until.is_some_and(|none| at <= none) {
            return Ok(None);
        }
        let found = search(source, at)?;
        match found {
            Some(first) => known.first = Some(first),
            None => known.none_until = Some(at),
        }
        Ok(found)
    }

    /// What is to be said of the time of a backup that counts nonetheless: the clock may have been put back.
    pub(super) fn note(&self, at: Timestamp) -> Option<String> {
        note(at, self.now)
    }
}

/// Whether a time is so far ahead that no clock that was put back explains it.
pub(super) fn is_far_ahead(at: Timestamp, now: Timestamp) -> bool {
    at.duration_since(now) > LARGEST_STEP
}

/// The words for a time stamp that is ahead of the clock.
pub(super) fn note(at: Timestamp, now: Timestamp) -> Option<String> {
    (at.duration_since(now) > SKEW).then(|| ahead(at, now))
}

/// Why a key that was rotated out does not prove what began since.
pub(super) fn rotated_out(id: &str, at: Timestamp, first: Timestamp) -> String {
    format!(
        "it began at {}, and the key {id} that proves it was rotated out by then: the key that seals now was in use at {} \
         (where both sealed at that time, `until` in `[encryption] open_with` says how long the older one did)",
        time(at),
        time(first)
    )
}

fn ahead(at: Timestamp, now: Timestamp) -> String {
    format!("its time stamp {} is ahead of this host's clock, which says {}", time(at), time(now))
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::name::BackupId;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn backup(begun: &str) -> Backup {
        let id = BackupId::new("full", "shop", at(begun), 1);
        Backup::begin(id, "db1", "shop", "x".to_owned(), at(begun))
    }

    fn older(until: Option<&str>) -> Signer {
        Signer::Older { id: "abc".to_owned(), until: until.map(at) }
    }

    #[test]
    fn an_older_key_proves_what_began_before_the_first_of_the_new_one() {
        let mut trust = Trust::at(at("2026-06-01T00:00:00Z"));
        trust.saw("db1", at("2026-03-01T02:00:00Z"));
        trust.saw("db1", at("2026-03-02T02:00:00Z"));
        let mut searched = 0;
        let mut search = |_: &str, _: Timestamp| {
            searched += 1;
            Ok(None)
        };
        let mut doubt = |begun: &str, signer: &Signer| {
            trust.doubt(&backup(begun), Some(signer), &mut search).unwrap().is_some()
        };
        assert!(doubt("2026-03-01T02:00:00Z", &older(None)));
        assert!(doubt("2026-05-01T02:00:00Z", &older(None)));
        assert!(!doubt("2026-02-28T02:00:00Z", &older(None)));
        assert!(!doubt("2026-02-27T02:00:00Z", &older(None)));
        // What the configuration says goes before.
        assert!(!doubt("2026-03-03T02:00:00Z", &older(Some("2026-03-04T00:00:00Z"))));
        assert!(doubt("2026-02-28T02:00:00Z", &older(Some("2026-02-28T00:00:00Z"))));
        assert!(!doubt("2026-05-01T02:00:00Z", &Signer::Sealing));
        assert!(doubt("2027-05-01T02:00:00Z", &Signer::Sealing));
        assert_eq!(searched, 1, "what is known is not searched for again");
    }

    #[test]
    fn a_clock_that_went_back_is_no_doubt() {
        let mut trust = Trust::at(at("2026-06-01T00:00:00Z"));
        let mut none = |_: &str, _: Timestamp| Ok(None);
        let near = backup("2026-06-01T01:00:00Z");
        assert_eq!(trust.doubt(&near, Some(&Signer::Sealing), &mut none).unwrap(), None);
        assert!(trust.note(near.created_at).unwrap().contains("ahead"));
        assert_eq!(trust.note(at("2026-06-01T00:00:30Z")), None);
    }
}
