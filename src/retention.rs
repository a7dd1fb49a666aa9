//! Which copies of a store may go, and why each of the others stays. Pure: it reads no clock, no store and no
//! catalog, and removes nothing.
//!
//! Grandfather-father-son (the newest copy of each of the newest so many periods), an age, or both; never across
//! databases, tenants and types. On top of what the rules keep stands what they must never be able to do: only
//! copies that were read back, of backups that are whole everywhere, let others go.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use jiff::civil::ISOWeekDate;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::backup::Status;
use crate::config::keep::{Keep, Rules};

pub mod reason;
#[cfg(test)]
mod tests;
pub use reason::{Going, Holding, Keeping, Verdict};

/// Clocks of several hosts differ by no more, and a clock that is put right goes back by no more.
const LARGEST_SKEW: SignedDuration = SignedDuration::from_hours(25);
/// A time that lies further after the one before it than usual, and than this, is not believed ...
const LARGEST_PAUSE: SignedDuration = SignedDuration::from_hours(60 * 24);
/// ... where usual is so many times the longest time between two before that; further than this it never is ...
const USUAL_TIMES: i32 = 3;
const LARGEST_JUMP: SignedDuration = SignedDuration::from_hours(400 * 24);
/// ... before backups were made for so long after it.
const SETTLED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One run, and what is known of its copy in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The backup's id.
    pub id: String,
    /// What it is compared with, and never beyond.
    pub group: Group,
    /// When its run began.
    pub begun_at: Timestamp,
    /// How the backup stands.
    pub status: Status,
    /// Whether somebody wants it kept.
    pub pin: Option<Pin>,
    /// Its copy in the store; `None` where there is none, or none any more.
    pub copy: Option<Copy>,
}

/// Backups that can stand for one another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The cluster.
    pub source: String,
    /// The database.
    pub database: String,
    /// The tenant, where it is of one.
    pub tenant: Option<String>,
    /// The type: `full`.
    pub backup_type: String,
}

/// The wish that a backup is kept, whatever the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Until then; `None` is for good.
    pub until: Option<Timestamp>,
}

/// A copy in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Whether it is there, was read back, and nothing was found wrong with it since.
    pub is_proven: bool,
    /// Until when the store was asked to lock it.
    pub locked_until: Option<Timestamp>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Policy<'a> {
    /// The rules of the store.
    pub keep: &'a Keep,
    /// So many proven copies of each group stay, whatever their age.
    pub min_keep: NonZeroU32,
    /// Where days, weeks, months and years begin and end.
    pub zone: &'a TimeZone,
    /// Whether copies may go though the newest run failed.
    pub even_if_failing: bool,
}

/// Decides of each entry that has a copy. The verdicts stand in the order of the entries; `None` for one without
/// a copy.
///
/// `now` is what a clock says. It is believed no further than the newest verified backup's time: a clock that is
/// years ahead makes nothing old.
#[must_use]
pub fn decide(entries: &[Entry], policy: &Policy<'_>, now: Timestamp) -> Vec<Option<Verdict>> {
    decide_at(entries, policy, Clock::of(entries, now))
}

/// The same for some of the entries that the time was taken from.
#[must_use]
pub fn decide_at(entries: &[Entry], policy: &Policy<'_>, clock: Clock) -> Vec<Option<Verdict>> {
    let mut groups: BTreeMap<&Group, Vec<usize>> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        groups.entry(&entry.group).or_default().push(index);
    }
    let mut verdicts = vec![None; entries.len()];
    for members in groups.into_values() {
        let mut members: Vec<(usize, &Entry)> =
            members.into_iter().filter_map(|index| Some((index, entries.get(index)?))).collect();
        members.sort_by(|(_, one), (_, other)| order(other).cmp(&order(one)));
        let of_group = OfGroup { entries: members.iter().map(|(_, entry)| *entry).collect(), policy, clock };
        for ((index, _), verdict) in members.iter().zip(of_group.decide()) {
            if let Some(place) = verdicts.get_mut(*index) {
                *place = verdict;
            }
        }
    }
    verdicts
}

fn order(entry: &Entry) -> (Timestamp, &str) {
    (entry.begun_at, &entry.id)
}

/// What the time is taken to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// What the clock says.
    says: Timestamp,
    /// The latest that ages are counted to.
    believed: Timestamp,
    /// What began then or later was stamped by a clock that is not believed.
    doubted_from: Option<Timestamp>,
}

impl Clock {
    /// What can be believed of a clock, by the times of the verified backups among all entries.
    #[must_use]
    pub fn of(entries: &[Entry], now: Timestamp) -> Self {
        let verified = entries.iter().filter(|entry| entry.status == Status::Verified);
        let known: BTreeSet<Timestamp> = verified.map(|entry| entry.begun_at).collect();
        let known: Vec<Timestamp> = known.into_iter().filter(|at| !is_after(*at, now)).collect();
        let mut doubted_from = None;
        let mut believed = known.as_slice();
        // From the newest back to the last jump; what lies after it must have lasted.
        while let Some(jump) = last_jump(believed) {
            let (before, after) = believed.split_at(jump.saturating_add(1));
            let lasted = after.first().zip(after.last()).map(|(first, last)| last.duration_since(*first));
            if lasted.unwrap_or_default() >= SETTLED {
                break;
            }
            doubted_from = after.first().copied();
            believed = before;
        }
        let newest = believed.last().copied().unwrap_or(now);
        Self { says: now, believed: now.min(newest), doubted_from }
    }

    /// The newest time that is believed, and the first one after it that is not, as yet.
    #[must_use]
    pub fn doubted(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.believed, self.doubted_from?))
    }

    /// Whether an entry's time can't be right.
    fn doubts(&self, entry: &Entry) -> bool {
        is_after(entry.begun_at, self.says) || self.doubted_from.is_some_and(|from| entry.begun_at >= from)
    }
}

fn is_after(at: Timestamp, now: Timestamp) -> bool {
    at.duration_since(now) > LARGEST_SKEW
}

/// The place before the last jump: a time to the next one that is out of all proportion.
fn last_jump(times: &[Timestamp]) -> Option<usize> {
    let mut longest: Option<SignedDuration> = None;
    let mut last = None;
    for (place, pair) in times.windows(2).enumerate() {
        let [one, next] = pair else { continue };
        let gap = next.duration_since(*one);
        let usual = longest.map_or(LARGEST_JUMP, |longest| longest.saturating_mul(USUAL_TIMES));
        if gap > usual.clamp(LARGEST_PAUSE, LARGEST_JUMP) {
            last = Some(place);
        } else {
            longest = longest.max(Some(gap));
        }
    }
    last
}

/// The entries of a group, the newest first.
struct OfGroup<'a> {
    entries: Vec<&'a Entry>,
    policy: &'a Policy<'a>,
    clock: Clock,
}

impl OfGroup<'_> {
    fn decide(&self) -> Vec<Option<Verdict>> {
        let Keep::Rules(rules) = self.policy.keep else {
            let all = self.entries.iter().map(|entry| entry.copy.map(|_| Verdict::Keep(Keeping::Forever)));
            return all.collect();
        };
        let counted = self.kept_by_counts(rules);
        let problem = self.problem();
        let newest_verified = self.newest_verified();
        let needed = self.policy.min_keep.get();
        let mut newer: u32 = 0;
        let mut verdicts = Vec::with_capacity(self.entries.len());
        for (place, entry) in self.entries.iter().enumerate() {
            let keeping = self
                .doubtful(entry)
                .or_else(|| self.pinned(entry))
                .or_else(|| self.young(entry, rules))
                .or_else(|| counted.get(&place).cloned())
                .or_else(|| (newest_verified == Some(entry.id.as_str())).then_some(Keeping::NewestVerified))
                .or_else(|| (newer < needed).then_some(Keeping::TooFewNewer { newer, needed }));
            let is_kept = keeping.is_some();
            let verdict = entry.copy.map(|copy| match keeping {
                Some(keeping) => Verdict::Keep(keeping),
                None => match problem.clone().or_else(|| self.locked(copy)) {
                    Some(holding) => Verdict::Held(holding),
                    None => Verdict::Go(Going { rules: rules.clone() }),
                },
            });
            newer = newer.saturating_add(u32::from(is_kept && self.is_proven(entry)));
            verdicts.push(verdict);
        }
        verdicts
    }

    /// Whether others may go because of this one: read back, part of a backup that is whole everywhere, at a time
    /// that can be right.
    fn is_proven(&self, entry: &Entry) -> bool {
        entry.status == Status::Verified
            && entry.copy.is_some_and(|copy| copy.is_proven)
            && !self.clock.doubts(entry)
    }

    /// Why nothing of the group may go at all.
    fn problem(&self) -> Option<Holding> {
        let is_run = |entry: &&&Entry| entry.status != Status::Expired && !self.clock.doubts(entry);
        let newest = self.entries.iter().find(is_run).filter(|_| !self.policy.even_if_failing)?;
        match newest.status {
            Status::Failed => Some(Holding::NewestFailed(newest.id.clone())),
            Status::InProgress => Some(Holding::NewestUnfinished(newest.id.clone())),
            Status::Completed | Status::Verified | Status::Degraded | Status::Expired => None,
        }
    }

    fn doubtful(&self, entry: &Entry) -> Option<Keeping> {
        self.clock.doubts(entry).then_some(Keeping::Doubtful)
    }

    fn newest_verified(&self) -> Option<&str> {
        let is_verified = |entry: &&&Entry| entry.status == Status::Verified && !self.clock.doubts(entry);
        Some(self.entries.iter().find(is_verified)?.id.as_str())
    }

    fn pinned(&self, entry: &Entry) -> Option<Keeping> {
        let Pin { until } = entry.pin?;
        until.is_none_or(|until| until > self.clock.believed).then_some(Keeping::Pinned(until))
    }

    fn young(&self, entry: &Entry, rules: &Rules) -> Option<Keeping> {
        let within = rules.within?;
        let age = self.clock.believed.duration_since(entry.begun_at);
        (age < SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX))
            .then_some(Keeping::Within(within))
    }

    fn locked(&self, copy: Copy) -> Option<Holding> {
        copy.locked_until.filter(|until| *until > self.clock.believed).map(Holding::Locked)
    }

    /// What the counting rules keep, by its place.
    fn kept_by_counts(&self, rules: &Rules) -> BTreeMap<usize, Keeping> {
        let mut kept = BTreeMap::new();
        for (rule, count) in rules.counts() {
            if count == 0 {
                continue;
            }
            for (place, keeping) in self.kept_by(rule, count) {
                kept.entry(place).or_insert(keeping);
            }
        }
        kept
    }

    /// The newest proven copy of each of the newest so many periods that have one. In a period without, all that
    /// there is stays, and counts for nothing.
    fn kept_by(&self, rule: &'static str, count: u32) -> Vec<(usize, Keeping)> {
        let mut periods: BTreeMap<(Period, usize), Vec<(usize, &Entry)>> = BTreeMap::new();
        for (place, entry) in self.entries.iter().enumerate() {
            if entry.copy.is_some() && !self.clock.doubts(entry) {
                let period = self.period(rule, entry.begun_at);
                // The newest of all has the highest number: for `last` each is a period of its own.
                let number = if rule == "last" { self.entries.len().saturating_sub(place) } else { 0 };
                periods.entry((period, number)).or_default().push((place, entry));
            }
        }
        let mut kept = Vec::new();
        let mut taken: u32 = 0;
        for ((period, _), members) in periods.into_iter().rev() {
            if taken == count {
                break;
            }
            if let Some((place, _)) = members.iter().find(|(_, entry)| self.is_proven(entry)) {
                taken = taken.saturating_add(1);
                kept.push((*place, Keeping::Counted { rule, count, period: period.to_string() }));
            } else {
                let unproven = |place| (place, Keeping::NoneProven { rule, period: period.to_string() });
                kept.extend(members.iter().map(|(place, _)| unproven(*place)));
            }
        }
        kept
    }

    fn period(&self, rule: &str, at: Timestamp) -> Period {
        let date = at.to_zoned(self.policy.zone.clone()).date();
        let (year, month, day) = (date.year(), date.month(), date.day());
        match rule {
            "daily" => Period::Day(year, month, day),
            "weekly" => {
                let week: ISOWeekDate = date.iso_week_date();
                Period::Week(week.year(), week.week())
            }
            "monthly" => Period::Month(year, month),
            "yearly" => Period::Year(year),
            _ => Period::One,
        }
    }
}

/// A piece of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Period {
    Day(i16, i8, i8),
    Week(i16, i8),
    Month(i16, i8),
    Year(i16),
    /// None: each copy stands for itself.
    One,
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Day(year, month, day) => write!(f, "{year:04}-{month:02}-{day:02}"),
            Self::Week(year, week) => write!(f, "{year:04}-W{week:02}"),
            Self::Month(year, month) => write!(f, "{year:04}-{month:02}"),
            Self::Year(year) => write!(f, "{year:04}"),
            Self::One => Ok(()),
        }
    }
}
