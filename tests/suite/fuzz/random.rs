//! Random bytes, random changes of what is in the corpus, and a configuration that was mistyped: no promise
//! breaks, and no secret is told.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use pgkeep::conninfo::Environment;
use pgkeep::fuzzing::{PARSERS, run};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::support::key::write_private;

/// Every input of the corpus, with its parser.
fn inputs() -> &'static [(&'static str, Vec<u8>)] {
    static ALL: OnceLock<Vec<(&'static str, Vec<u8>)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let of = |parser: &'static str| {
            let files = files_under(&folder().join("corpus").join(parser));
            files.into_iter().map(move |file| (parser, fs::read(file).unwrap()))
        };
        PARSERS.iter().flat_map(|(parser, _)| of(parser)).collect()
    })
}

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Double(Index, Index),
    Splice(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let long = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..9),
        Just(b"\xff\xff\xff\xff".to_vec()),
        Just(b"\"\":".to_vec()),
        Just(b"[{".to_vec()),
        Just(b"999999999999999999999".to_vec()),
        Just("\u{e9}".into()),
    ];
    prop_oneof![
        (any::<Index>(), 1..=255u8).prop_map(|(at, by)| Change::Flip(at, by)),
        any::<Index>().prop_map(Change::Cut),
        (any::<Index>(), 1..20usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<Index>(), long).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Double(from, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, other)| Change::Splice(at, other)),
    ]
}

fn apply(parser: &str, bytes: &mut Vec<u8>, change: &Change) {
    let room = bytes.len() + 1;
    match change {
        Change::Flip(at, by) => {
            if let Some(byte) = bytes.get_mut(at.index(room)) {
                *byte ^= by;
            }
        }
        Change::Cut(at) => bytes.truncate(at.index(room)),
        Change::Remove(at, count) => {
            let at = at.index(room);
            bytes.drain(at..(at + count).min(bytes.len()));
        }
        Change::Insert(at, more) => drop(bytes.splice(at.index(room)..at.index(room), more.iter().copied())),
        Change::Double(from, to) => {
            let (from, to) = (from.index(room), to.index(room));
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.splice(to..to, piece);
        }
        Change::Splice(at, other) => {
            let same: Vec<_> = inputs().iter().filter(|(known, _)| *known == parser).collect();
            let (_, other) = other.get(&same);
            bytes.truncate(at.index(room));
            bytes.extend_from_slice(&other[at.index(other.len() + 1)..]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_a_promise(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for (parser, check) in PARSERS {
            prop_assert_eq!(check(&bytes).err(), None, "{}", parser);
        }
    }

    #[test]
    fn no_text_breaks_a_promise(text in "\\PC{0,100}") {
        for (parser, check) in PARSERS {
            prop_assert_eq!(check(text.as_bytes()).err(), None, "{}", parser);
        }
    }

    #[test]
    fn no_change_of_the_corpus_breaks_a_promise(
        input in any::<Index>(), changes in proptest::collection::vec(change(), 1..5)) {
        let (parser, bytes) = input.get(inputs());
        let mut bytes = bytes.clone();
        for change in &changes {
            apply(parser, &mut bytes, change);
        }
        prop_assert_eq!(run(parser, &bytes).err(), None, "{}", parser);
    }
}

const SECRETS: [&str; 3] = ["Zw7hunter4Url", "Zw7hunter4Words", "Zw7hunter4Store"];

/// Whatever key is hit, the message names what is wrong without the value: mails and logs keep it for years.
#[test]
fn a_mistyped_configuration_tells_no_secret() {
    let [url, words, store] = SECRETS;
    let text = format!(
        "[source]\nurl = \"postgresql://backup:{url}@db.internal:5432/shop?sslmode=require\"\n[catalog]\n\
         url = \"host=a port=1 password={words} user=u\"\n[[store]]\nname = \"r2\"\nkind = \"s3\"\n\
         endpoint = \"https://a.b\"\nregion = \"auto\"\nbucket = \"b\"\naccess_key_id = \"k\"\n\
         secret_access_key = \"{store}\"\n"
    );
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    let environment = Environment {
        variables: BTreeMap::new(),
        home: Some(home.path().to_owned()),
        user: Some("u".into()),
    };
    let mut refused = 0;
    let secret_spots: Vec<_> = SECRETS
        .iter()
        .map(|secret| text.find(secret).unwrap()..text.find(secret).unwrap() + secret.len())
        .collect();
    let mut check = |changed: &str, what: &str| {
        write_private(&file, changed);
        if let Err(error) = pgkeep::config::load(Some(&file), &environment) {
            refused += 1;
            let shown = format!("{error:#}\n{error:?}\n{}", pgkeep::exit::render(&error));
            assert!(!shown.contains("Zw7hunter4"), "{what}: {shown}");
        }
    };
    for at in
        (0..=text.len()).filter(|at| !secret_spots.iter().any(|spot| spot.start < *at && *at < spot.end))
    {
        for letter in ["\"", "'", "=", " ", "\n", "/", "@", "%", "&", "\\", "#", "x", "[", ",", "\0"] {
            check(&format!("{}{letter}{}", &text[..at], &text[at..]), &format!("{letter:?} at {at}"));
        }
        if secret_spots.iter().all(|spot| !spot.contains(&at)) && at < text.len() {
            check(&format!("{}{}", &text[..at], &text[at + 1..]), &format!("without {at}"));
        }
    }
    // A value that landed behind the wrong key; one is shown only where it should be one of a few words.
    for key in ["retry.attempts", "compression.level", "source.databases", "encryption.open_with"] {
        check(&format!("{key} = \"{store}\"\n"), key);
    }
    assert!(refused > 1000, "{refused} were refused");
}
