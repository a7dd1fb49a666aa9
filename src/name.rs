//! Names: of backups, artifacts, and where they stand in a store. Pure; it knows no store and no clock.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::exit::shown;

/// Digits and letters of `<stamp>-<4 hex>` at the end of an id: `20261122T020000Z-3f9a`.
const STAMP_LEN: usize = 16;
const TAIL_LEN: usize = STAMP_LEN + 1 + 4;
const STAMP_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// What follows the artifact's name in its manifest's.
pub const MANIFEST_SUFFIX: &str = ".json";

/// Makes a name safe for file systems and S3 keys: every byte outside `[A-Za-z0-9._-]` becomes `%XX`,
/// and the dots of `.` and `..` as well. [`decode`] reads it back.
#[must_use]
pub fn encode(name: &str) -> String {
    let all_dots = !name.is_empty() && name.bytes().all(|byte| byte == b'.');
    let mut safe = String::with_capacity(name.len());
    for byte in name.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if plain && !all_dots {
            safe.push(char::from(byte));
        } else {
            safe.extend(hex_pair(byte));
        }
    }
    safe
}

fn hex_pair(byte: u8) -> [char; 3] {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).map_or('0', |c| c.to_ascii_uppercase());
    ['%', digit(byte >> 4), digit(byte & 15)]
}

/// The name that [`encode`] made safe, `None` for what it cannot have made.
#[must_use]
pub fn decode(safe: &str) -> Option<String> {
    let name = percent_encoding::percent_decode_str(safe).decode_utf8().ok()?.into_owned();
    (encode(&name) == safe).then_some(name)
}

/// The name of one backup: `<type>-<database>-<UTC stamp>-<4 hex>`, its parts made safe by [`encode`].
/// Sorts by time within a type and database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

impl BackupId {
    /// The id of a backup that starts at `at`; `salt` tells two of the same second apart.
    #[must_use]
    pub fn new(backup_type: &str, database: &str, at: Timestamp, salt: u16) -> Self {
        let stamp = at.to_zoned(TimeZone::UTC).strftime(STAMP_FORMAT).to_string();
        Self(format!("{}-{}-{stamp}-{salt:04x}", encode(backup_type), encode(database)))
    }

    /// Reads an id; `None` for anything that [`BackupId::new`] cannot have made.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (head, tail) = text.split_at_checked(text.len().checked_sub(TAIL_LEN)?)?;
        let (stamp, salt) = tail.split_once('-')?;
        let (backup_type, database) = head.strip_suffix('-')?.split_once('-')?;
        let lower_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let sound = decode(backup_type).is_some_and(|name| !name.is_empty())
            && decode(database).is_some_and(|name| !name.is_empty())
            && parse_stamp(stamp).is_some()
            && salt.len() == 4
            && salt.chars().all(lower_hex);
        sound.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The type of the backup: `full`.
    #[must_use]
    pub fn backup_type(&self) -> &str {
        self.0.split_once('-').map_or("", |(backup_type, _)| backup_type)
    }

    /// When the backup began, to the second.
    #[must_use]
    pub fn begun_at(&self) -> Option<Timestamp> {
        let stamp = self.0.len().checked_sub(TAIL_LEN)?;
        parse_stamp(self.0.get(stamp..stamp + STAMP_LEN)?)
    }

    /// Year and month of the backup's stamp, as they stand in paths.
    #[must_use]
    pub fn year_and_month(&self) -> (&str, &str) {
        let stamp = self.0.len().saturating_sub(TAIL_LEN);
        (
            self.0.get(stamp..stamp + 4).unwrap_or_default(),
            self.0.get(stamp + 4..stamp + 6).unwrap_or_default(),
        )
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BackupId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{}` is not the id of a backup", shown(&text)))
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

fn parse_stamp(stamp: &str) -> Option<Timestamp> {
    if stamp.len() != STAMP_LEN || !stamp.is_ascii() {
        return None;
    }
    let digits = stamp.strip_suffix('Z')?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", digits).ok()?;
    let at = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    (at.to_zoned(TimeZone::UTC).strftime(STAMP_FORMAT).to_string() == stamp).then_some(at)
}

/// The file name of a backup's artifact; `suffix` names what is inside (`.dump.gz`).
#[must_use]
pub fn artifact(id: &BackupId, suffix: &str) -> String {
    format!("{id}{suffix}.pgk")
}

/// The folder, under a store's root or prefix, of all backups of a database: `<source>/<database>/`.
#[must_use]
pub fn database_prefix(source: &str, database: &str) -> String {
    format!("{}/{}/", encode(source), encode(database))
}

/// Where an artifact stands in a store: `<source>/<database>/<type>/<YYYY>/<MM>/<artifact>`.
#[must_use]
pub fn object_key(source: &str, database: &str, id: &BackupId, artifact: &str) -> String {
    let (year, month) = id.year_and_month();
    let folder = database_prefix(source, database);
    format!("{folder}{}/{year}/{month}/{artifact}", id.backup_type())
}

/// The path of an artifact's manifest.
#[must_use]
pub fn manifest_path(artifact_path: &str) -> String {
    format!("{artifact_path}{MANIFEST_SUFFIX}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_design_s_example() {
        let at: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let id = BackupId::new("full", "shop", at, 0x3f9a);
        assert_eq!(id.as_str(), "full-shop-20261122T020000Z-3f9a");
        assert_eq!(
            object_key("prod-db1", "shop", &id, &artifact(&id, ".dump.gz")),
            "prod-db1/shop/full/2026/11/full-shop-20261122T020000Z-3f9a.dump.gz.pgk"
        );
    }

    #[test]
    fn what_leaves_a_folder_is_made_safe() {
        assert_eq!(encode(".."), "%2E%2E");
        assert_eq!(encode("../x"), "..%2Fx");
        assert_eq!(encode("my\"db é"), "my%22db%20%C3%A9");
        assert_eq!(decode("my%22db%20%C3%A9").unwrap(), "my\"db é");
        assert_eq!(decode(".."), None);
        assert_eq!(decode("a%2fb"), None);
        assert_eq!(BackupId::parse("full-a/b-20261122T020000Z-3f9a"), None);
        assert_eq!(BackupId::parse("full--20261122T020000Z-3f9a"), None);
        assert_eq!(BackupId::parse("full-shop-20261322T020000Z-3f9a"), None);
    }

    proptest! {
        #[test]
        fn every_name_reads_back(name in "\\PC{1,40}") {
            let safe = encode(&name);
            prop_assert!(safe.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-%".contains(&b)));
            prop_assert!(safe != "." && safe != "..");
            prop_assert_eq!(decode(&safe), Some(name));
        }

        #[test]
        fn every_id_reads_back(name in "\\PC{1,40}", seconds in 0i64..4_000_000_000, salt: u16) {
            let at = Timestamp::from_second(seconds).unwrap();
            let id = BackupId::new("full", &name, at, salt);
            prop_assert_eq!(BackupId::parse(id.as_str()), Some(id.clone()));
            let stamp = &id.as_str()[id.as_str().len() - TAIL_LEN..];
            prop_assert_eq!(parse_stamp(&stamp[..STAMP_LEN]), Some(at));
        }

        #[test]
        fn ids_sort_by_time(a in 0i64..4_000_000_000, b in 0i64..4_000_000_000) {
            let id = |s| BackupId::new("full", "shop", Timestamp::from_second(s).unwrap(), 0);
            prop_assert_eq!(a.cmp(&b), id(a).cmp(&id(b)));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,60}") {
            if let Some(id) = BackupId::parse(&text) {
                prop_assert_eq!(id.as_str(), text);
            }
        }
    }
}
