//! The rows of a table as `COPY ... TO STDOUT` sends them: counted, and hashed where a key is given. It knows
//! no session.

use std::hash::Hasher as _;
use std::io::{self, BufRead};

use siphasher::sip128::{Hasher128 as _, SipHasher24};

/// The key of the hash of rows. Whoever does not know it can neither test guesses about a small table nor
/// make up other rows with the same sum.
pub type RowKey = [u8; 16];

/// How many rows, and the sum of their hashes. A sum does not depend on the order, and unlike an exclusive
/// or it counts rows that are there twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: u64,
    sum: Option<u128>,
}

impl Tally {
    /// Reads rows to their end.
    pub(super) fn of(rows: impl BufRead, key: Option<&RowKey>) -> io::Result<Self> {
        match key {
            Some(key) => hashed(rows, key),
            None => counted(rows),
        }
    }

    /// The hash of all rows, as it stands on record.
    pub(super) fn hash(self) -> Option<String> {
        self.sum.map(|sum| format!("{sum:032x}"))
    }
}

/// In the text format a newline within a value is escaped: each one that stands there ends a row.
fn counted(mut from: impl BufRead) -> io::Result<Tally> {
    let mut tally = Tally::default();
    loop {
        let block = from.fill_buf()?;
        let length = block.len();
        if length == 0 {
            return Ok(tally);
        }
        tally.rows += block.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        from.consume(length);
    }
}

/// This is what [`crate::fingerprint::HASH_METHOD`] names.
fn hashed(mut from: impl BufRead, key: &RowKey) -> io::Result<Tally> {
    let (mut count, mut sum) = (0u64, 0u128);
    let fresh = SipHasher24::new_with_key(key);
    let mut row = fresh;
    loop {
        let block = from.fill_buf()?;
        let length = block.len();
        if length == 0 {
            return Ok(Tally { rows: count, sum: Some(sum) });
        }
        for line in block.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(rest) => {
                    row.write(rest);
                    sum = sum.wrapping_add(row.finish128().as_u128());
                    count += 1;
                    row = fresh;
                }
                None => row.write(line),
            }
        }
        from.consume(length);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::BufReader;

    use super::*;

    const KEY: RowKey = *b"0123456789abcdef";

    fn of(text: &str, block_len: usize) -> Tally {
        Tally::of(BufReader::with_capacity(block_len, text.as_bytes()), Some(&KEY)).unwrap()
    }

    #[test]
    fn rows_are_counted_and_hashed_wherever_blocks_end() {
        let text = "one\t1\n\ntwo\\nlines\t\\N\none\t1\n";
        let whole = of(text, 1000);
        assert_eq!(whole.rows, 4);
        for length in 1..30 {
            assert_eq!(of(text, length), whole, "{length}");
            let counts = Tally::of(BufReader::with_capacity(length, text.as_bytes()), None).unwrap();
            assert_eq!((counts.rows, counts.hash()), (4, None));
        }
        assert_eq!(of("", 10), Tally { rows: 0, sum: Some(0) });
    }

    #[test]
    fn the_order_does_not_matter_and_everything_else_does() {
        let whole = of("a\nb\nb\n", 100);
        assert_eq!(of("b\na\nb\n", 100), whole);
        for other in ["a\nb\n", "a\na\nb\n", "a\nb\nb\nb\n", "ab\n\nb\n", "a\nbb\n\n", "a\nb\nc\n"] {
            assert_ne!(of(other, 100).hash(), whole.hash(), "{other:?}");
        }
        let other_key = Tally::of("a\nb\nb\n".as_bytes(), Some(&[0; 16])).unwrap();
        assert_ne!(other_key.hash(), whole.hash());
    }

    /// What is on record is compared with what later versions find: this never changes.
    #[test]
    fn the_hash_is_the_one_of_its_method() {
        let wanted = SipHasher24::new_with_key(&KEY).hash(b"row\t1").as_u128();
        assert_eq!(of("row\t1\n", 100).hash().unwrap(), format!("{wanted:032x}"));
    }
}
