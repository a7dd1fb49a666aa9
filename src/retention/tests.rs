//! The rules of retention against another implementation of them, and what must hold whatever the rules.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_wrap)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn group(database: &str) -> Group {
    Group {
        source: "db1".to_owned(),
        database: database.to_owned(),
        tenant: None,
        backup_type: "full".to_owned(),
    }
}

fn entry(begun_at: Timestamp, status: Status) -> Entry {
    // Of a degraded backup this copy is well, and another one is not.
    let is_proven = matches!(status, Status::Verified | Status::Degraded);
    let has_copy = !matches!(status, Status::Failed | Status::InProgress | Status::Expired);
    Entry {
        id: format!("full-shop-{begun_at}"),
        group: group("shop"),
        begun_at,
        status,
        pin: None,
        copy: has_copy.then_some(Copy { is_proven, locked_until: None }),
    }
}

fn policy<'a>(keep: &'a Keep, zone: &'a TimeZone) -> Policy<'a> {
    Policy { keep, min_keep: NonZeroU32::new(3).unwrap(), zone, even_if_failing: false }
}

fn nightly(first: &str, nights: i64) -> Vec<Entry> {
    let first = at(first);
    (0..nights).map(|night| entry(first + SignedDuration::from_secs(night * DAY), Status::Verified)).collect()
}

fn going(entries: &[Entry], verdicts: &[Option<Verdict>]) -> BTreeSet<String> {
    let goes = |(entry, verdict): (&Entry, &Option<Verdict>)| {
        matches!(verdict, Some(Verdict::Go(_))).then(|| entry.id.clone())
    };
    entries.iter().zip(verdicts).filter_map(goes).collect()
}

fn decided(entries: &[Entry], keep: &Keep, now: Timestamp) -> BTreeSet<String> {
    going(entries, &decide(entries, &policy(keep, &TimeZone::UTC), now))
}

/// Grandfather-father-son by labels: each period is a text, the newest texts count, the newest time of each stays.
fn reference(
    times: &BTreeSet<Timestamp>,
    rules: &Rules,
    zone: &TimeZone,
    now: Timestamp,
) -> BTreeSet<Timestamp> {
    let mut kept: BTreeSet<Timestamp> =
        times.iter().rev().take(3.max(rules.last as usize)).copied().collect();
    if let Some(within) = rules.within {
        let oldest = now - SignedDuration::try_from(within).unwrap();
        kept.extend(times.iter().filter(|time| **time > oldest));
    }
    for (format, count) in
        [("%F", rules.daily), ("%G-%V", rules.weekly), ("%Y-%m", rules.monthly), ("%Y", rules.yearly)]
    {
        let label = |time: &Timestamp| time.to_zoned(zone.clone()).strftime(format).to_string();
        let labels: BTreeSet<String> = times.iter().map(label).collect();
        for wanted in labels.iter().rev().take(count as usize) {
            kept.extend(times.iter().rfind(|time| label(time) == *wanted));
        }
    }
    kept
}

fn rules() -> impl Strategy<Value = Rules> {
    (prop::option::of(1u32..60), 0u32..5, 0u32..10, 0u32..7, 0u32..14, 0u32..4).prop_map(
        |(within, last, daily, weekly, monthly, yearly)| Rules {
            within: within.map(|days| std::time::Duration::from_secs(u64::from(days) * 86_400)),
            last,
            daily,
            weekly,
            monthly,
            yearly,
        },
    )
}

fn zones() -> impl Strategy<Value = TimeZone> {
    prop::sample::select(vec!["UTC", "Europe/Berlin", "Pacific/Apia", "America/St_Johns"])
        .prop_map(|name| TimeZone::get(name).unwrap())
}

/// Runs at odd times over some years, each with how it ended.
fn history() -> impl Strategy<Value = Vec<Entry>> {
    let run = (0i64..3 * 365 * 24, 0u8..12).prop_map(|(hour, fate)| {
        let status = match fate {
            0 => Status::Failed,
            1 => Status::Degraded,
            2 => Status::Completed,
            3 => Status::Expired,
            _ => Status::Verified,
        };
        let mut entry = entry(at("2024-01-01T02:00:00Z") + SignedDuration::from_hours(hour), status);
        // The store does not show it.
        if let (4, Some(copy)) = (fate, &mut entry.copy) {
            copy.is_proven = false;
        }
        entry
    });
    prop::collection::vec(run, 0..120).prop_map(|mut runs| {
        runs.sort_by_key(|run| run.begun_at);
        runs.dedup_by_key(|run| run.begun_at);
        runs
    })
}

fn is_good(entry: &Entry) -> bool {
    entry.status == Status::Verified && entry.copy.is_some_and(|copy| copy.is_proven)
}

/// A history that leaves nothing to doubt: no pause is longer than two months, and the newest run went well.
fn settled(mut entries: Vec<Entry>) -> (Vec<Entry>, Timestamp) {
    for day in (0..3 * 365).step_by(60) {
        let begun_at = at("2024-01-01T01:15:00Z") + SignedDuration::from_hours(day * 24);
        entries.push(entry(begun_at, Status::Verified));
    }
    entries.sort_by_key(|entry| entry.begun_at);
    let newest = entries.last().map_or(at("2026-06-01T02:00:00Z"), |last| last.begun_at);
    let now = newest + SignedDuration::from_hours(24);
    entries.push(entry(now, Status::Verified));
    (entries, now)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_stays_is_what_another_implementation_keeps(
        history in history(), rules in rules(), zone in zones()
    ) {
        prop_assume!(rules != Rules::default());
        let (entries, now) = settled(history);
        let good: BTreeSet<Timestamp> =
            entries.iter().filter(|entry| is_good(entry)).map(|entry| entry.begun_at).collect();
        let keep = Keep::Rules(rules.clone());
        let verdicts = decide(&entries, &policy(&keep, &zone), now);
        let stays: BTreeSet<Timestamp> = entries.iter().zip(&verdicts)
            .filter(|(entry, verdict)| is_good(entry) && matches!(verdict, Some(Verdict::Keep(_))))
            .map(|(entry, _)| entry.begun_at).collect();
        prop_assert_eq!(stays, reference(&good, &rules, &zone, now));
    }

    #[test]
    fn the_newest_good_ones_and_what_is_pinned_stay(
        history in history(), rules in rules(), pins in prop::collection::vec(any::<bool>(), 121),
        hour in -10i64 * 365 * 24..10 * 365 * 24
    ) {
        let mut entries = history;
        let now = at("2026-01-01T02:00:00Z") + SignedDuration::from_hours(hour);
        for (entry, pinned) in entries.iter_mut().zip(pins) {
            entry.pin = pinned.then_some(Pin { until: None });
        }
        let gone = decided(&entries, &Keep::Rules(rules), now);
        let newest_good = entries.iter().rev().filter(|entry| is_good(entry)).take(3);
        for entry in newest_good.chain(entries.iter().filter(|entry| entry.pin.is_some())) {
            prop_assert!(!gone.contains(&entry.id), "{}", entry.id);
        }
        for entry in entries.iter().filter(|entry| gone.contains(&entry.id)) {
            let newer = entries.iter().filter(|other| {
                is_good(other) && other.begun_at > entry.begun_at && !gone.contains(&other.id)
            });
            prop_assert!(newer.count() >= 3, "{} goes", entry.id);
        }
    }

    #[test]
    fn what_is_not_good_lets_nothing_go(
        history in history(), rules in rules(), hour in 0i64..3 * 365 * 24, fate in 0usize..4
    ) {
        let (entries, now) = settled(history);
        let begun_at = at("2024-01-01T02:30:00Z") + SignedDuration::from_hours(hour);
        let status = [Status::Failed, Status::Degraded, Status::Completed, Status::InProgress][fate];
        let keep = Keep::Rules(rules);
        let before = decided(&entries, &keep, now);
        let mut more = entries;
        let added = entry(begun_at, status);
        let id = added.id.clone();
        more.push(added);
        let mut after = decided(&more, &keep, now);
        after.remove(&id);
        prop_assert!(after.is_subset(&before), "{:?}", after.difference(&before));
    }

    #[test]
    fn one_more_good_one_lets_go_no_more_than_the_rules_say(history in history(), rules in rules()) {
        let (entries, now) = settled(history);
        let keep = Keep::Rules(rules.clone());
        let before = decided(&entries, &keep, now);
        let mut more = entries;
        let next = now + SignedDuration::from_hours(1);
        more.push(entry(next, Status::Verified));
        let good: BTreeSet<Timestamp> =
            more.iter().filter(|entry| is_good(entry)).map(|entry| entry.begun_at).collect();
        let kept = reference(&good, &rules, &TimeZone::UTC, next);
        let after = decided(&more, &keep, next);
        for entry in more.iter().filter(|entry| after.contains(&entry.id) && !before.contains(&entry.id)) {
            prop_assert!(!kept.contains(&entry.begun_at), "{} goes", entry.id);
        }
    }

    #[test]
    fn a_clock_that_is_years_wrong_removes_nothing(
        history in history(), rules in rules(), years in 2i64..200, is_ahead in any::<bool>()
    ) {
        let (entries, now) = settled(history);
        let keep = Keep::Rules(rules);
        let by_right = decided(&entries, &keep, now);
        let years = SignedDuration::from_secs(years * 365 * DAY);
        let wrong = if is_ahead { now + years } else { now - years };
        prop_assert!(decided(&entries, &keep, wrong).is_subset(&by_right));
    }

    #[test]
    fn a_backup_under_a_clock_that_is_a_year_wrong_removes_nothing(
        nights in 30i64..500, days in 100i64..4000, keep_days in 1u32..2000, more in 0i64..5
    ) {
        let (keep, mut entries) = (Keep::within_days(keep_days), nightly("2026-01-01T02:00:00Z", nights));
        let newest = entries.last().unwrap().begun_at;
        let by_right = decided(&entries, &keep, newest);
        let wrong = newest + SignedDuration::from_hours(days * 24);
        for night in 0..=more {
            entries.push(entry(wrong + SignedDuration::from_hours(night * 24), Status::Verified));
        }
        let gone = decided(&entries, &keep, wrong + SignedDuration::from_hours((more + 1) * 24));
        prop_assert!(gone.is_subset(&by_right), "{:?}", gone.difference(&by_right));
    }

    #[test]
    fn nothing_goes_while_the_newest_run_failed(history in history(), rules in rules()) {
        let (mut entries, now) = settled(history);
        let keep = Keep::Rules(rules);
        let by_right = decided(&entries, &keep, now);
        entries.push(entry(now + SignedDuration::from_secs(60), Status::Failed));
        prop_assert!(decided(&entries, &keep, now + SignedDuration::from_secs(90)).is_empty());
        let zone = TimeZone::UTC;
        let forced = Policy { even_if_failing: true, ..policy(&keep, &zone) };
        prop_assert_eq!(going(&entries, &decide(&entries, &forced, now)), by_right);
    }
}

#[test]
fn years_of_nights_leave_what_the_rules_say() {
    let rules = Rules { daily: 7, weekly: 5, monthly: 12, yearly: 3, ..Rules::default() };
    let keep = Keep::Rules(rules.clone());
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let mut entries: Vec<Entry> = Vec::new();
    let mut ever = BTreeSet::new();
    for night in 0..4 * 365i64 {
        let begun_at = at("2022-03-01T01:00:00Z") + SignedDuration::from_secs(night * DAY);
        // Every eleventh night fails, every seventeenth lacks a store.
        let status = match (night % 11, night % 17) {
            (10, _) => Status::Failed,
            (_, 16) => Status::Degraded,
            _ => Status::Verified,
        };
        entries.push(entry(begun_at, status));
        let gone = going(&entries, &decide(&entries, &policy(&keep, &zone), begun_at));
        if status == Status::Verified {
            ever.insert(begun_at);
        }
        for entry in entries.iter_mut().filter(|entry| gone.contains(&entry.id)) {
            entry.copy = None;
            entry.status = Status::Expired;
        }
        let good: BTreeSet<Timestamp> =
            entries.iter().filter(|entry| is_good(entry)).map(|entry| entry.begun_at).collect();
        let newest = ever.last().unwrap();
        assert!(good.contains(newest), "night {night}");
        if status != Status::Failed {
            assert_eq!(good, reference(&ever, &rules, &zone, *newest), "night {night}");
        }
    }
}

#[test]
fn a_night_with_the_wrong_year_is_not_believed() {
    let keep = Keep::within_days(30);
    let mut entries = nightly("2026-01-01T02:00:00Z", 30);
    let wrong = at("2031-01-31T02:00:00Z");
    for second in 0..5 {
        entries.push(entry(wrong + SignedDuration::from_secs(second), Status::Verified));
    }
    assert_eq!(decided(&entries, &keep, wrong + SignedDuration::from_hours(1)), BTreeSet::new());
    // Put right again, the nights of the wrong year count for nothing.
    let zone = TimeZone::UTC;
    let last = Keep::Rules(Rules { last: 3, ..Rules::default() });
    let right = at("2026-01-30T03:00:00Z");
    let verdicts = decide(&entries, &policy(&last, &zone), right);
    for (verdict, entry) in verdicts[27..30].iter().zip(&entries[27..30]) {
        assert!(matches!(verdict, Some(Verdict::Keep(Keeping::Counted { .. }))), "{entry:?}: {verdict:?}");
    }
    assert!(matches!(verdicts[26], Some(Verdict::Go(_))));
    assert_eq!(verdicts[32], Some(Verdict::Keep(Keeping::Doubtful)));
}

#[test]
fn a_long_pause_is_believed_once_it_has_lasted() {
    let keep = Keep::within_days(30);
    let mut entries = nightly("2024-01-01T02:00:00Z", 30);
    entries.extend(nightly("2026-01-01T02:00:00Z", 10));
    assert_eq!(decided(&entries, &keep, at("2026-01-10T03:00:00Z")), BTreeSet::new());
    entries.extend(nightly("2026-01-11T02:00:00Z", 30));
    assert_eq!(decided(&entries, &keep, at("2026-02-10T03:00:00Z")).len(), 40);
}

/// Backups that are always far apart are believed; one that is far from those of every night is not at once.
#[test]
fn how_long_a_pause_is_believed_depends_on_what_is_usual() {
    let keep = Keep::Rules(Rules { last: 1, ..Rules::default() });
    let apart = |days: i64, count: i64| -> Vec<Entry> {
        let first = at("2020-01-01T02:00:00Z");
        let times = (0..count).map(|number| first + SignedDuration::from_hours(24 * days * number));
        times.map(|begun_at| entry(begun_at, Status::Verified)).collect()
    };
    for (days, count) in [(1, 10), (31, 10), (92, 10), (366, 10)] {
        let entries = apart(days, count);
        let now = entries.last().unwrap().begun_at;
        assert_eq!(decided(&entries, &keep, now).len(), 7, "{days}");
    }
    let mut entries = apart(1, 10);
    for (pause, goes) in [(59, 8), (61, 7)] {
        let begun_at = at("2020-01-10T02:00:00Z") + SignedDuration::from_hours(24 * pause);
        entries.truncate(10);
        entries.push(entry(begun_at, Status::Verified));
        assert_eq!(decided(&entries, &keep, begun_at).len(), goes, "{pause}");
    }
}

/// That of a database which is backed up no more, say.
#[test]
fn the_newest_verified_one_stays_whatever_its_age() {
    let keep = Keep::within_days(1);
    let mut entries = nightly("2026-01-01T02:00:00Z", 20);
    for entry in &mut entries[1..] {
        entry.group.database = "crm".to_owned();
    }
    let verdicts = decide(&entries, &policy(&keep, &TimeZone::UTC), at("2026-01-20T03:00:00Z"));
    assert_eq!(verdicts[0], Some(Verdict::Keep(Keeping::NewestVerified)));
}

#[test]
fn bad_copies_of_a_period_without_a_good_one_stay() {
    let mut entries = vec![
        entry(at("2025-12-15T02:00:00Z"), Status::Degraded),
        entry(at("2026-01-15T02:00:00Z"), Status::Verified),
        entry(at("2026-02-15T02:00:00Z"), Status::Degraded),
    ];
    entries.extend(nightly("2026-03-01T02:00:00Z", 5));
    let keep = Keep::Rules(Rules { monthly: 2, ..Rules::default() });
    let verdicts = decide(&entries, &policy(&keep, &TimeZone::UTC), at("2026-03-05T03:00:00Z"));
    assert!(matches!(verdicts[2], Some(Verdict::Keep(Keeping::NoneProven { .. }))));
    assert!(matches!(verdicts[1], Some(Verdict::Keep(Keeping::Counted { .. }))));
    assert!(matches!(verdicts[0], Some(Verdict::Go(_))));
}

#[test]
fn groups_never_count_for_one_another() {
    let keep = Keep::Rules(Rules { last: 1, ..Rules::default() });
    let mut entries = nightly("2026-01-01T02:00:00Z", 5);
    entries[4].group.database = "crm".to_owned();
    entries[3].group.tenant = Some("t".to_owned());
    entries[2].group.backup_type = "config".to_owned();
    assert_eq!(decided(&entries, &keep, at("2026-01-05T03:00:00Z")), BTreeSet::new());
}

#[test]
fn a_pin_and_a_lock_end() {
    let keep = Keep::Rules(Rules { last: 1, ..Rules::default() });
    let mut entries = nightly("2026-01-01T02:00:00Z", 20);
    entries[0].pin = Some(Pin { until: Some(at("2026-01-10T00:00:00Z")) });
    entries[1].pin = Some(Pin { until: Some(at("2026-02-10T00:00:00Z")) });
    let copy = |day: &str| Some(Copy { is_proven: true, locked_until: Some(at(day)) });
    entries[2].copy = copy("2026-01-10T00:00:00Z");
    entries[3].copy = copy("2026-02-10T00:00:00Z");
    let now = at("2026-01-20T03:00:00Z");
    let verdicts = decide(&entries, &policy(&keep, &TimeZone::UTC), now);
    assert!(matches!(verdicts[0], Some(Verdict::Go(_))));
    assert_eq!(verdicts[1], Some(Verdict::Keep(Keeping::Pinned(Some(at("2026-02-10T00:00:00Z"))))));
    assert!(matches!(verdicts[2], Some(Verdict::Go(_))));
    assert_eq!(verdicts[3], Some(Verdict::Held(Holding::Locked(at("2026-02-10T00:00:00Z")))));
}
