//! Bounds are bounds, on both sides of them.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { drop_percent: Some(30), growth_percent: Some(100) };
const MIB: u64 = 1024 * 1024;

fn message(finding: Finding) -> String {
    finding.problem.map(|problem| problem.message).unwrap_or_default()
}

fn severity(finding: Finding) -> Option<Severity> {
    finding.problem.map(|problem| problem.severity)
}

fn at(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

#[test]
fn a_dump_that_lost_most_is_told_in_figures() {
    let told = message(size("shop", 12 * MIB / 10, &[40 * MIB; 9], &BOUNDS));
    assert_eq!(told, "the dump of `shop` has 1.1 MiB, the last 7 had 40 MiB: 97 % less");
    let told = message(size("shop", 400 * MIB, &[40 * MIB; 3], &BOUNDS));
    assert_eq!(told, "the dump of `shop` has 400 MiB, the last 3 had 40 MiB: 900 % more");
}

#[test]
fn sizes_by_how_many_there_were_and_by_how_much() {
    for (now, earlier, is_problem) in [
        (MIB, vec![], false),
        (MIB, vec![2 * MIB], true),
        (70 * MIB, vec![100 * MIB], false),
        (69 * MIB, vec![100 * MIB], true),
        (300 * MIB, vec![100 * MIB; 2], false),
        (300 * MIB, vec![100 * MIB; 3], true),
        (200 * MIB, vec![100 * MIB; 3], false),
        (1, vec![32 * 1024], false),
        (0, vec![32 * 1024], true),
        (MIB, vec![0; 3], true),
        // One odd night does not move the median; what is older than seven does not count.
        (100 * MIB, vec![MIB, 100 * MIB, 100 * MIB], false),
        (100 * MIB, [vec![100 * MIB; 7], vec![1000 * MIB; 20]].concat(), false),
    ] {
        let told = size("shop", now, &earlier, &BOUNDS);
        assert_eq!(told.problem.is_some(), is_problem, "{now} after {earlier:?}: {told:?}");
    }
    let none = Bounds { drop_percent: None, growth_percent: None };
    assert_eq!(size("shop", 0, &[100 * MIB; 7], &none).problem, None);
    assert_eq!(size("shop", 1000 * MIB, &[100 * MIB; 7], &none).problem, None);
}

#[test]
fn durations_need_three_and_a_minute() {
    for (now, earlier, is_problem) in [
        (10, vec![600; 2], false),
        (10, vec![600; 3], true),
        (1300, vec![600; 2], false),
        (1300, vec![600; 3], true),
        (60, vec![1; 3], false),
        (61, vec![1; 3], true),
    ] {
        let told = duration("shop", now, &earlier, &BOUNDS);
        assert_eq!(told.problem.is_some(), is_problem, "{now} after {earlier:?}: {told:?}");
    }
    let told = message(duration("shop", 7200, &[600; 3], &BOUNDS));
    assert_eq!(told, "the backup of `shop` took 2 h, the last 3 took 10 min: 1100 % more");
}

#[test]
fn a_dump_without_tables() {
    use Severity::{Critical, Warning};
    for (tables, before, wanted) in [
        (None, TablesBefore::Unknown, None),
        (Some(1), TablesBefore::Some(9), Some(None)),
        (Some(0), TablesBefore::Unknown, Some(Some(Critical))),
        (Some(0), TablesBefore::First, Some(Some(Critical))),
        (Some(0), TablesBefore::Some(4), Some(Some(Critical))),
        (Some(0), TablesBefore::None, Some(Some(Warning))),
        (Some(0), TablesBefore::Accepted, Some(None)),
    ] {
        assert_eq!(empty_dump("shop", tables, before).map(severity), wanted, "{tables:?} {before:?}");
    }
}

#[test]
fn room_by_share_and_by_what_a_night_takes() {
    use Severity::{Critical, Warning};
    for (free, total, night, percent, wanted) in [
        (50, 100, 10, 10, None),
        (10, 100, 5, 10, None),
        (9, 100, 1, 10, Some(Warning)),
        (19, 100, 10, 10, Some(Warning)),
        (9, 100, 10, 0, Some(Critical)),
        (1, 100, 0, 0, None),
        (0, 0, 0, 10, None),
        (u64::MAX, u64::MAX, u64::MAX, 100, None),
    ] {
        let told = room("local", free, total, night, percent);
        assert_eq!(severity(told), wanted, "{free} of {total}, {night} a night, {percent} %");
    }
    let told = message(room("local", 5 * MIB, 100 * MIB, 3 * MIB, 10));
    assert_eq!(told, "store `local` has 5 MiB left (5 %); the newest backups took 3 MiB");
}

#[test]
fn a_good_backup_may_be_so_old() {
    let day = Duration::from_hours(26);
    assert_eq!(age("shop", Some(at(0)), at(26), day).problem, None);
    assert_eq!(age("shop", Some(at(1)), at(0), day).problem, None);
    assert_eq!(message(age("shop", None, at(0), day)), "there is no good backup of `shop`");
    let told = message(age("shop", Some(at(0)), at(50), day));
    let wanted =
        "the newest good backup of `shop` is 50 h old, and may be 26 h: it began 1970-01-01 00:00 UTC";
    assert_eq!(told, wanted);
    let late = at(26) + SignedDuration::from_secs(1);
    assert_eq!(severity(age("shop", Some(at(0)), late, day)), Some(Severity::Critical));
}

#[test]
fn keys_that_are_lost_or_about_to_be_alone() {
    let used =
        |id: &str, key: &str, gone_at| KeyUse { id: id.to_owned(), keys: vec![key.to_owned()], gone_at };
    let (old, new) = (used("b", "old", Some(at(24))), used("c", "new", Some(at(900))));
    assert_eq!(severity(only_key(&[new.clone(), old.clone()], at(0))), Some(Severity::Info));
    assert_eq!(only_key(std::slice::from_ref(&new), at(0)).problem, None);
    assert_eq!(only_key(&[new.clone(), used("b", "old", None)], at(0)).problem, None);
    assert_eq!(only_key(&[new.clone(), used("b", "old", Some(at(169)))], at(0)).problem, None);
    let uses = [new, old.clone(), used("a", "old", None)];
    assert_eq!(key_missing(&uses, |_| true).problem, None);
    let told = key_missing(&uses, |key| key == "new").problem.unwrap();
    assert_eq!(told.message, "no key at hand opens 2 backups, the newest `b`");
    assert_eq!((told.severity, told.backup_id.as_deref()), (Severity::Critical, Some("b")));
}

#[test]
fn figures_for_people() {
    for (count, text) in
        [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (40 * MIB, "40 MiB"), (u64::MAX, "15 EiB")]
    {
        assert_eq!(bytes(count), text);
    }
    for (seconds, text) in [(50, "50 s"), (5400, "90 min"), (93_600, "26 h"), (864_000, "10 d")] {
        assert_eq!(span(seconds), text);
    }
}

proptest! {
    #[test]
    fn what_is_as_ever_is_well(figure in any::<u64>(), count in 0..9_usize) {
        let earlier = vec![figure; count];
        prop_assert_eq!(size("x", figure, &earlier, &BOUNDS).problem, None);
        prop_assert_eq!(duration("x", figure, &earlier, &BOUNDS).problem, None);
    }

    #[test]
    fn less_is_never_better_than_more(
        one in any::<u64>(), other in any::<u64>(), earlier in proptest::collection::vec(any::<u64>(), 1..12),
    ) {
        let only_drops = Bounds { growth_percent: None, ..BOUNDS };
        let is_bad = |figure| size("x", figure, &earlier, &only_drops).problem.is_some();
        prop_assert!(!is_bad(one.max(other)) || is_bad(one.min(other)));
    }

    #[test]
    fn no_room_is_too_odd(free in any::<u64>(), total in any::<u64>(), night in any::<u64>(), share in 0..=100_u8) {
        let told = room("x", free, total, night, share);
        prop_assert_eq!(severity(told) == Some(Severity::Critical), free < night);
    }
}
