//! What two fingerprints say of each other.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

fn at(value: i64, is_called: bool) -> SequenceState {
    SequenceState { value: Some(value), is_called }
}

fn moved(start: SequenceState, end: SequenceState, increment: i64) -> SequenceFigures {
    SequenceFigures { start, end, increment, is_cycle: false }
}

fn table(rows: u64, hash: &str) -> TableFigures {
    TableFigures { rows, hash: Some(hash.to_owned()) }
}

fn shop() -> Fingerprint {
    let hash_method = Some(HASH_METHOD.to_owned());
    let mut shop = Fingerprint { level: Level::Content, hash_method, indexes: 13, ..Fingerprint::default() };
    shop.tables.insert("public.orders".to_owned(), table(42, "11"));
    shop.tables.insert("public.users".to_owned(), table(7, "-5"));
    shop.sequences.insert("public.ids".to_owned(), moved(at(7, true), at(9, true), 1));
    shop.extensions.insert("citext".to_owned(), "1.6".to_owned());
    shop
}

/// What is said of a restored database that differs from the shop by this change.
fn said(change: impl FnOnce(&mut Fingerprint)) -> Vec<String> {
    let mut restored = shop();
    change(&mut restored);
    shop().differences(&restored)
}

#[test]
fn equal_databases_have_no_difference() {
    assert_eq!(said(|_| ()), Vec::<String>::new());
}

#[test]
fn each_difference_is_named_with_both_figures() {
    for (change, wanted) in [
        (
            (|shop| shop.tables.get_mut("public.orders").unwrap().rows = 41) as fn(&mut Fingerprint),
            "table `public.orders` has 41 rows, not 42",
        ),
        (
            |shop| drop(shop.tables.insert("public.users".to_owned(), table(7, "6"))),
            "table `public.users`: its rows differ (hash 6, not -5)",
        ),
        (|shop| drop(shop.tables.remove("public.users")), "table `public.users` is missing: it has 7 rows"),
        (
            |shop| drop(shop.tables.insert("x.y".to_owned(), table(3, "1"))),
            "table `x.y` is too much: it has 3 rows",
        ),
        (|shop| shop.indexes = 12, "it has 12 indexes, not 13"),
        (|shop| shop.constraints = 1, "it has 1 constraints, not 0"),
        (|shop| shop.views = 1, "it has 1 views, not 0"),
        (|shop| shop.functions = 1, "it has 1 functions, not 0"),
        (|shop| shop.large_objects = 1, "it has 1 large objects, not 0"),
        (|shop| shop.extensions.clear(), "extension `citext` (1.6) is missing"),
        (|shop| shop.sequences.clear(), "sequence `public.ids` is missing: it stood at 9"),
        (
            |shop| shop.sequences.get_mut("public.ids").unwrap().end = at(5, true),
            "sequence `public.ids` stands at 5, not between at 7 and at 9",
        ),
        (
            |shop| {
                shop.sequences.insert("x.y".to_owned(), moved(at(1, true), at(1, true), 1));
            },
            "sequence `x.y` is too much",
        ),
    ] {
        assert_eq!(said(change), [wanted]);
    }
}

#[test]
fn what_was_not_looked_at_on_either_side_is_not_compared() {
    let skip = |shop: &mut Fingerprint, name: &str| {
        shop.tables.remove(name);
        shop.sequences.remove(name);
        shop.skipped.insert(name.to_owned(), "too slow".to_owned());
    };
    let mut source = shop();
    skip(&mut source, "public.orders");
    skip(&mut source, "public.ids");
    assert_eq!(source.differences(&shop()), Vec::<String>::new());
    assert_eq!(shop().differences(&source), Vec::<String>::new());
}

#[test]
fn a_hash_that_one_side_lacks_is_not_compared_and_a_count_is() {
    let without = |shop: &mut Fingerprint| shop.tables.values_mut().for_each(|table| table.hash = None);
    assert_eq!(said(without), Vec::<String>::new());
    let fewer = said(|shop| {
        without(shop);
        shop.tables.get_mut("public.users").unwrap().rows = 6;
    });
    assert_eq!(fewer, ["table `public.users` has 6 rows, not 7"]);
}

#[test]
fn another_encoding_has_other_hashes() {
    let other = said(|shop| {
        shop.database.encoding = "LATIN1".to_owned();
        shop.tables.values_mut().for_each(|table| table.hash = Some("0".to_owned()));
    });
    assert_eq!(other, Vec::<String>::new());
}

/// A record of an older version, or of one that is still to come.
#[test]
fn hashes_of_another_method_are_not_compared_and_counts_are() {
    for method in [None, Some("siphash128-copy-2".to_owned())] {
        let mut recorded = shop();
        recorded.hash_method = method;
        recorded.tables.insert("public.users".to_owned(), table(7, "-123456789"));
        assert_eq!(recorded.differences(&shop()), Vec::<String>::new());
        recorded.tables.insert("public.users".to_owned(), table(8, "-123456789"));
        assert_eq!(recorded.differences(&shop()), ["table `public.users` has 7 rows, not 8"]);
    }
}

#[test]
fn nothing_is_compared_where_one_side_has_nothing() {
    for (one, other) in [(shop(), Fingerprint::default()), (Fingerprint::default(), shop())] {
        assert_eq!(one.differences(&other), Vec::<String>::new());
    }
}

#[test]
fn another_version_of_an_extension_and_one_more_are_no_difference() {
    let changed = said(|shop| {
        shop.extensions.insert("citext".to_owned(), "1.8".to_owned());
        shop.extensions.insert("plpgsql".to_owned(), "1.0".to_owned());
    });
    assert_eq!(changed, Vec::<String>::new());
}

#[test]
fn a_sequence_may_stand_anywhere_between_the_two_looks() {
    let differs = |figures: SequenceFigures, there| figures.difference("s", there).is_some();
    let up = moved(at(1, false), at(3, true), 1);
    for there in [at(1, false), at(1, true), at(2, false), at(2, true), at(3, true), at(4, false)] {
        assert!(!differs(up, there), "{there:?}");
    }
    for there in [-1, 4, 5].map(|value| at(value, true)) {
        assert!(differs(up, there), "{there:?}");
    }
    let down = moved(at(-1, true), at(-9, true), -2);
    assert!(!differs(down, at(-5, true)) && differs(down, at(-10, true)) && differs(down, at(1, true)));
    let extreme = moved(at(i64::MAX, false), at(i64::MAX, true), i64::MAX);
    assert!(!differs(extreme, at(i64::MAX, true)));
}

#[test]
fn a_sequence_that_stood_still_is_compared_to_the_letter() {
    let still = moved(at(4, false), at(4, false), 1);
    let said = |there| still.difference("s", there);
    assert_eq!(said(at(4, false)), None);
    assert_eq!(said(at(3, true)).unwrap(), "sequence `s` stands at 3, not before 4");
    let cycle = SequenceFigures { is_cycle: true, ..still };
    assert!(cycle.difference("s", at(1, true)).is_some(), "it did not move");
    let turning = SequenceFigures { end: at(1, true), ..cycle };
    assert_eq!(turning.difference("s", at(99, true)), None);
}

/// Servers before version 18 do not say where a sequence stands that has given out nothing.
#[test]
fn a_sequence_of_which_only_its_freshness_is_known_is_compared_by_that() {
    let fresh = SequenceState { value: None, is_called: false };
    let differs =
        |start, end, increment, there| moved(start, end, increment).difference("s", there).is_some();
    for (there, wrong) in [(fresh, false), (at(7, false), false), (at(7, true), true)] {
        assert_eq!(differs(fresh, fresh, 1, there), wrong, "{there:?}");
        assert_eq!(differs(at(7, false), at(7, false), 1, there), wrong, "{there:?}");
    }
    assert!(differs(at(7, true), at(7, true), 1, fresh) && differs(at(7, true), at(9, true), 1, fresh));
    for (there, wrong) in [(fresh, false), (at(1, false), false), (at(9, true), false), (at(11, true), true)]
    {
        assert_eq!(differs(fresh, at(9, true), 1, there), wrong, "{there:?}");
    }
    assert!(
        !differs(fresh, at(-9, true), -1, at(-3, true)) && differs(fresh, at(-9, true), -1, at(-11, true))
    );
    assert!(!differs(at(9, true), fresh, 1, at(500, true)), "it began again meanwhile");
    let old: SequenceState = serde_json::from_str(r#"{"value": 3, "is_called": false}"#).unwrap();
    assert_eq!(old, at(3, false));
    assert_eq!(serde_json::to_string(&fresh).unwrap(), r#"{"is_called":false}"#);
}

#[test]
fn too_many_tables_are_left_out_as_one() {
    let mut many = shop();
    assert!(!many.fit_into(10_000));
    assert_eq!(many, shop());
    assert!(many.fit_into(100));
    assert_eq!(many.skipped["*"], "2 tables and 1 sequences are too many to record");
    assert_eq!(many.differences(&shop()), Vec::<String>::new());
    assert_eq!(shop().differences(&many), Vec::<String>::new());
    many.indexes = 1;
    assert_eq!(many.differences(&shop()), ["it has 13 indexes, not 1"]);
}

#[test]
fn it_reads_back_as_it_was_written_and_from_less() {
    let text = serde_json::to_string(&shop()).unwrap();
    assert_eq!(serde_json::from_str::<Fingerprint>(&text).unwrap(), shop());
    let less: Fingerprint = serde_json::from_str("{\"level\": \"counts\", \"more\": 1}").unwrap();
    assert_eq!(less, Fingerprint { level: Level::Counts, ..Fingerprint::default() });
}
