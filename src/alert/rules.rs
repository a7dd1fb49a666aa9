//! When figures are an alert: each judgment is a function of what was seen, and asks nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::backup::{CLUSTER, TablesBefore};
use crate::config::alert::Bounds;
use crate::finding::{AlertKey, Finding, Rule, Severity};

/// So many of the last backups are what is usual.
pub const LAST: usize = 7;
/// How many there have to be before more than usual is odd: a young database grows.
const LEAST: usize = 3;
/// Dumps that differ by less are alike, whatever the share.
const SAME_BYTES: u64 = 32 * 1024;
/// Runs that differ by less took as long.
const SAME_SECONDS: u64 = 60;
/// A key with nothing left by then is as good as gone.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A run that takes longer keeps others away.
const TOO_LONG: SignedDuration = SignedDuration::from_hours(24);

/// How far a figure is from the usual one.
enum Change {
    Less(u128),
    More(u128),
}

/// Compares a dump's size with the last ones of its database, the newest first.
#[must_use]
pub fn size(database: &str, now_bytes: u64, earlier: &[u64], bounds: &Bounds) -> Finding {
    let subject = AlertKey::of_database(Rule::SizeChanged, database);
    let Some((usual, count, change)) = changed(now_bytes, earlier, bounds, SAME_BYTES, 1) else {
        return subject.is_well();
    };
    let (now_bytes, usual) = (bytes(now_bytes), bytes(usual));
    subject.has_problem(format!(
        "the dump of `{database}` has {now_bytes}, {} had {usual}: {}",
        last(count),
        share(&change)
    ))
}

/// Compares how long a backup took, in seconds, with the last ones of its database, the newest first.
#[must_use]
pub fn duration(database: &str, now_seconds: u64, earlier: &[u64], bounds: &Bounds) -> Finding {
    let subject = AlertKey::of_database(Rule::DurationChanged, database);
    let Some((usual, count, change)) = changed(now_seconds, earlier, bounds, SAME_SECONDS, LEAST) else {
        return subject.is_well();
    };
    let (took, usual) = (span(now_seconds), span(usual));
    subject.has_problem(format!(
        "the backup of `{database}` took {took}, {} took {usual}: {}",
        last(count),
        share(&change)
    ))
}

/// The usual figure, of how many, and how far this one is beyond the bounds from it.
fn changed(
    figure: u64,
    earlier: &[u64],
    bounds: &Bounds,
    same: u64,
    least_for_drop: usize,
) -> Option<(u64, usize, Change)> {
    let mut last: Vec<u64> = earlier.iter().take(LAST).copied().collect();
    let count = last.len();
    let usual = median(&mut last)?;
    let difference = figure.abs_diff(usual);
    if difference < same {
        return None;
    }
    let percent = |bound: u32| u128::from(usual) * u128::from(bound);
    let is_beyond = |bound: Option<u32>| bound.is_some_and(|it| u128::from(difference) * 100 > percent(it));
    let share = (u128::from(difference) * 100).checked_div(u128::from(usual));
    if figure < usual {
        let is_odd = count >= least_for_drop && is_beyond(bounds.drop_percent);
        return is_odd.then(|| (usual, count, Change::Less(share.unwrap_or_default())));
    }
    // Of nothing, anything is more than any share.
    let is_odd = count >= LEAST && is_beyond(bounds.growth_percent);
    is_odd.then(|| (usual, count, Change::More(share.unwrap_or_default())))
}

fn median(figures: &mut [u64]) -> Option<u64> {
    figures.sort_unstable();
    let upper = *figures.get(figures.len() / 2)?;
    let lower = *figures.get(figures.len().checked_sub(1)? / 2)?;
    Some(lower.midpoint(upper))
}

fn last(count: usize) -> String {
    if count == 1 { "the last one".to_owned() } else { format!("the last {count}") }
}

fn share(change: &Change) -> String {
    match change {
        Change::Less(percent) => format!("{percent} % less"),
        Change::More(0) => "more".to_owned(),
        Change::More(percent) => format!("{percent} % more"),
    }
}

/// Whether a dump without a table is odd, where it is known how many tables it has.
#[must_use]
pub fn empty_dump(database: &str, tables: Option<u64>, before: TablesBefore) -> Option<Finding> {
    let subject = AlertKey::of_database(Rule::EmptyDump, database);
    if tables? > 0 || before == TablesBefore::Accepted {
        return Some(subject.is_well());
    }
    let what = format!("the dump of `{database}` holds no table");
    let problem = match before {
        TablesBefore::Some(1) => subject.has_problem(format!("{what}; there was 1")),
        TablesBefore::Some(count) => subject.has_problem(format!("{what}; there were {count}")),
        TablesBefore::None => subject.has_problem(what).severity(Severity::Warning),
        TablesBefore::First | TablesBefore::Unknown | TablesBefore::Accepted => subject.has_problem(what),
    };
    let hint = "is it the right database, and may the role that dumps see what is in it? \
                If that is how it should be, `pgkeep alert resolve` says so";
    Some(problem.detail(hint))
}

/// Whether a store has room for the next backups; `last_night_bytes` is what the newest ones of all databases took.
#[must_use]
pub fn room(
    store: &str,
    free_bytes: u64,
    total_bytes: u64,
    last_night_bytes: u64,
    min_free_percent: u8,
) -> Finding {
    let subject = AlertKey::of_store(Rule::StoreNearlyFull, store);
    let is_small = u128::from(free_bytes) * 100 < u128::from(total_bytes) * u128::from(min_free_percent);
    if !is_small && free_bytes >= last_night_bytes.saturating_mul(2) {
        return subject.is_well();
    }
    let percent = (u128::from(free_bytes) * 100).checked_div(u128::from(total_bytes)).unwrap_or_default();
    let free = bytes(free_bytes);
    let needs = bytes(last_night_bytes);
    let problem = subject.has_problem(format!(
        "store `{store}` has {free} left ({percent} %); the newest backups took {needs}"
    ));
    if free_bytes < last_night_bytes { problem.severity(Severity::Critical) } else { problem }
}

/// Whether the newest good backup of a database, by when it began, is young enough.
#[must_use]
pub fn age(database: &str, newest: Option<Timestamp>, now: Timestamp, max_age: Duration) -> Finding {
    let subject = AlertKey::of_database(Rule::NoGoodBackup, database);
    young_enough(subject, &format!("backup of `{database}`"), newest, now, max_age)
}

/// The same of what is in no database's dump: a night without is bad, and no night lost.
#[must_use]
pub fn config_age(newest: Option<Timestamp>, now: Timestamp, max_age: Duration) -> Finding {
    let subject = AlertKey::of_database(Rule::NoGoodBackup, CLUSTER);
    young_enough(subject, "config backup (roles, settings, files)", newest, now, max_age)
        .severity(Severity::Warning)
}

/// For how long a lock is held, where that is too long.
#[must_use]
pub fn too_long(since: Timestamp, now: Timestamp) -> Option<String> {
    let held = now.duration_since(since);
    (held > TOO_LONG).then(|| span(held.as_secs().unsigned_abs()))
}

/// Whether a run that came upon another one's lock has come upon one that is held for too long.
#[must_use]
pub fn locked(database: &str, since: Timestamp, now: Timestamp) -> Option<Finding> {
    too_long(since, now).map(|hours| {
        AlertKey::of_database(Rule::BackupLocked, database)
            .has_problem(format!(
                "no backup of `{database}` can begin: another run holds its lock for {hours}"
            ))
            .detail("is it still at work? If not, end its process: its lock goes with it")
    })
}

fn young_enough(
    subject: AlertKey,
    what: &str,
    newest: Option<Timestamp>,
    now: Timestamp,
    max_age: Duration,
) -> Finding {
    let Some(newest) = newest else {
        return subject.has_problem(format!("there is no good {what}"));
    };
    let age = age_seconds(newest, now);
    if age <= max_age.as_secs() {
        return subject.is_well();
    }
    let (age, most) = (span(age), span(max_age.as_secs()));
    let begun = newest.strftime("%Y-%m-%d %H:%M UTC");
    subject.has_problem(format!("the newest good {what} is {age} old, and may be {most}: it began {begun}"))
}

/// How long ago that was; of what is yet to come, 0.
#[must_use]
pub fn age_seconds(at: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.duration_since(at).as_secs()).unwrap_or_default()
}

/// What opens a usable backup, and until when there is something of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The backup.
    pub id: String,
    /// The ids of its keys.
    pub keys: Vec<String>,
    /// When its last copy may go; `None` is never by age.
    pub gone_at: Option<Timestamp>,
}

/// Whether one key alone will soon open all there is, where several do now.
#[must_use]
pub fn only_key(uses: &[KeyUse], now: Timestamp) -> Finding {
    let subject = AlertKey::new(Rule::OnlyKey);
    let soon = now.checked_add(SOON).unwrap_or(now);
    let keys = |uses: &mut dyn Iterator<Item = &KeyUse>| -> BTreeSet<String> {
        uses.flat_map(|it| it.keys.iter().cloned()).collect()
    };
    let today = keys(&mut uses.iter());
    let then = keys(&mut uses.iter().filter(|it| it.gone_at.is_none_or(|at| at > soon)));
    match then.iter().next() {
        Some(key) if today.len() > 1 && then.len() == 1 => subject
            .has_problem(format!("within 7 days key {key} is about to be the only one that opens backups"))
            .detail("keep a copy of it in a safe place that is neither this host nor one of the stores"),
        _ => subject.is_well(),
    }
}

/// Whether there are backups, the newest first, that no key at hand opens.
#[must_use]
pub fn key_missing(uses: &[KeyUse], is_at_hand: impl Fn(&str) -> bool) -> Finding {
    let subject = AlertKey::new(Rule::KeyMissing);
    // A record that names no key was planted, or is older than such records.
    let is_lost = |it: &&KeyUse| !it.keys.is_empty() && !it.keys.iter().any(|key| is_at_hand(key));
    let lost: Vec<&KeyUse> = uses.iter().filter(is_lost).collect();
    let Some(newest) = lost.first() else { return subject.is_well() };
    let names: BTreeSet<&str> = lost.iter().flat_map(|it| it.keys.iter().map(String::as_str)).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let what = if lost.len() == 1 { "1 backup".to_owned() } else { format!("{} backups", lost.len()) };
    subject
        .has_problem(format!("no key at hand opens {what}, the newest `{}`", newest.id))
        .of_backup(&newest.id)
        .detail(format!("name the files of these keys in `[encryption] open_with`: {}", names.join(", ")))
}

/// A size for people: `1.2 MiB`, `40 MiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = "B";
    // In tenths, so that no fraction is lost.
    let mut tenths = u128::from(count) * 10;
    for larger in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    match (tenths / 10, tenths % 10) {
        (whole @ 0..10, part @ 1..) => format!("{whole}.{part} {unit}"),
        (whole, _) => format!("{whole} {unit}"),
    }
}

/// A time for people: `50 s`, `90 min`, `26 h`, `9 d`.
#[must_use]
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..259_200 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
