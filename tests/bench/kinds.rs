//! Kinds of data that databases hold, made up the same way each time: what compression is measured and
//! tested on. It knows nothing of engines.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "made-up data"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "nothing that anybody else made is read here"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// English as it is written: the project's own pages.
const PAGES: [&str; 4] = [
    include_str!("../../README.md"),
    include_str!("../../LICENSE"),
    include_str!("../../CHANGELOG.md"),
    include_str!("../../man/pgkeep-recovery.7"),
];

/// A kind's name and the function that makes `length` bytes of it.
pub(crate) type Kind = (&'static str, fn(usize) -> Vec<u8>);

/// Every kind.
pub(crate) const KINDS: [Kind; 9] = [
    ("prose", prose),
    ("json", json),
    ("logs", logs),
    ("numerics", numerics),
    ("bytea", bytea),
    ("packed", packed),
    ("rows", rows),
    ("base64", base64),
    ("mixed", mixed),
];

/// A small generator of numbers that look random (xorshift64).
pub(crate) struct Noise(u64);

impl Noise {
    /// A generator with a seed of its own; 0 is none.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 11) as usize) % limit
    }

    /// A number below `limit`, small ones far more often.
    fn skewed(&mut self, limit: usize) -> usize {
        let share = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((share * share * share) * limit as f64) as usize
    }
}

/// Fills up with what `line` adds, and cuts to the length.
fn filled(length: usize, mut line: impl FnMut(&mut String)) -> Vec<u8> {
    let mut text = String::with_capacity(length + 1024);
    while text.len() < length {
        line(&mut text);
    }
    let mut bytes = text.into_bytes();
    bytes.truncate(length);
    bytes
}

/// Sentences: a walk from each two words to one that followed them in the pages, or, now and then, to
/// any word.
fn prose(length: usize) -> Vec<u8> {
    let words: Vec<&str> = PAGES.iter().flat_map(|page| page.split_whitespace()).collect();
    let mut after: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for three in words.windows(3) {
        after.entry((three[0], three[1])).or_default().push(three[2]);
    }
    let mut noise = Noise::new(1);
    let (mut before, mut last) = (words[0], words[1]);
    let mut column = 0;
    filled(length, |text| {
        let next = after.get(&(before, last)).filter(|_| noise.below(4) > 0);
        let word = next.map_or(words[noise.below(words.len())], |next| next[noise.below(next.len())]);
        (before, last) = (last, word);
        column += word.len() + 1;
        text.push_str(word);
        let ends = column > 200 + noise.below(400);
        column = if ends { 0 } else { column };
        text.push(if ends { '\n' } else { ' ' });
    })
}

fn json(length: usize) -> Vec<u8> {
    let mut noise = Noise::new(2);
    let kinds = ["page_view", "add_to_cart", "checkout", "search", "login", "refund"];
    let agents = ["Firefox/131.0", "Chrome/130.0.0.0", "Safari/17.6", "okhttp/4.12"];
    let mut id = 0;
    filled(length, |text| {
        id += 1;
        writeln!(
            text,
            "{{\"id\": {id}, \"kind\": \"{}\", \"user\": {{\"id\": \"{}\", \"agent\": \"{}\", \"score\": {}.{}}}, \
             \"items\": [{}, {}, {}], \"at\": \"2026-0{}-{:02}T{:02}:{:02}:{:02}.{:03}Z\", \"ok\": {}}}",
            kinds[noise.skewed(kinds.len())],
            uuid(&mut noise),
            agents[noise.below(agents.len())],
            noise.below(100),
            noise.below(1000),
            noise.skewed(9000),
            noise.skewed(9000),
            noise.skewed(9000),
            1 + noise.below(9),
            1 + noise.below(28),
            noise.below(24),
            noise.below(60),
            noise.below(60),
            noise.below(1000),
            noise.below(10) > 0
        )
        .unwrap();
    })
}

fn logs(length: usize) -> Vec<u8> {
    let mut noise = Noise::new(3);
    let paths = ["/", "/cart", "/api/v1/orders", "/static/app.js", "/login", "/search?q=lamp", "/product/"];
    let mut second = 1_790_000_000;
    filled(length, |text| {
        second += noise.below(3);
        writeln!(
            text,
            "10.{}.{}.{} - - [{second}] \"GET {}{} HTTP/1.1\" {} {} \"https://shop.example/{}\" {}",
            noise.skewed(8),
            noise.skewed(256),
            noise.below(256),
            paths[noise.skewed(paths.len())],
            noise.skewed(5000),
            [200, 200, 200, 304, 404, 500][noise.below(6)],
            noise.skewed(90_000),
            paths[noise.skewed(paths.len())].trim_start_matches('/'),
            noise.skewed(4000)
        )
        .unwrap();
    })
}

/// Measurements as `COPY` writes them.
fn numerics(length: usize) -> Vec<u8> {
    let mut noise = Noise::new(4);
    let (mut at, mut value) = (0, 20.0_f64);
    filled(length, |text| {
        at += 1;
        value += (noise.below(2001) as f64 - 1000.0) / 7919.0;
        let (hour, minute, second) = (at / 3600 % 24, at / 60 % 60, at % 60);
        writeln!(
            text,
            "{at}\t2026-03-{:02} {hour:02}:{minute:02}:{second:02}+00\t{}\t{value:.14}\t{}.{:02}\t{}",
            1 + at / 86400 % 28,
            noise.below(64),
            noise.skewed(100_000),
            noise.below(100),
            noise.next() % 1_000_000_007
        )
        .unwrap();
    })
}

/// Random bytes as `COPY` writes a bytea.
fn bytea(length: usize) -> Vec<u8> {
    let mut noise = Noise::new(5);
    filled(length, |text| {
        text.push_str("\\\\x");
        for _ in 0..64 {
            write!(text, "{:016x}", noise.next()).unwrap();
        }
        text.push('\n');
    })
}

/// What is packed or sealed already.
fn packed(length: usize) -> Vec<u8> {
    let mut noise = Noise::new(6);
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| noise.next().to_le_bytes()).take(length / 8 + 1).flatten().collect();
    bytes.truncate(length);
    bytes
}

/// Rows of a shop: keys, names, prices, states, hashes.
fn rows(length: usize) -> Vec<u8> {
    let mut noise = Noise::new(7);
    let first = ["Anna", "Ben", "Carla", "Dmitri", "Elena", "Farid", "Grace", "Hiro", "Ines", "Jonas"];
    let last = ["Okafor", "Meyer", "Silva", "Novak", "Haddad", "Tanaka", "Dubois", "Larsen", "Rossi"];
    let states = ["paid", "shipped", "delivered", "open", "cancelled"];
    let mut id = 100_000;
    filled(length, |text| {
        id += 1 + noise.below(3);
        let (one, two) = (first[noise.below(first.len())], last[noise.below(last.len())]);
        writeln!(
            text,
            "{id}\t{}\t{one} {two}\t{}.{}{}@example.com\t{}\t{}.{:02}\tEUR\t{:016x}{:016x}\t\\N",
            uuid(&mut noise),
            one.to_lowercase(),
            two.to_lowercase(),
            noise.below(1000),
            states[noise.skewed(states.len())],
            noise.skewed(900),
            noise.below(100),
            noise.next(),
            noise.next()
        )
        .unwrap();
    })
}

fn base64(length: usize) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut noise = Noise::new(8);
    filled(length, |text| {
        for _ in 0..76 {
            text.push(char::from(LETTERS[noise.below(64)]));
        }
        text.push('\n');
    })
}

/// A dump: one kind after the other, as tables follow each other.
fn mixed(length: usize) -> Vec<u8> {
    let parts = [rows, json, bytea, prose, numerics, logs, packed];
    let each = length / parts.len() + 1;
    let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part(each)).collect();
    bytes.truncate(length);
    bytes
}

fn uuid(noise: &mut Noise) -> String {
    let (a, b) = (noise.next(), noise.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        a & 0xffff,
        a >> 16 & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}
