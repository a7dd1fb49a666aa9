//! An entry of `[encryption] open_with`: a key file, or one with the day until which its key proves anything. It
//! reads no key.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::key::OlderFile;

const FORMS: &str = "the path of a key file, or { file = \"PATH\", until = \"2026-01-01\" }";
const MOMENTS: &str = "a date (`2026-01-01`: its start, UTC) or a time (`2026-01-01T02:00:00Z`)";

/// One entry.
#[derive(Debug)]
pub(super) struct OpenWith(pub(super) OlderFile);

impl<'de> Deserialize<'de> for OpenWith {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = OpenWith;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(FORMS)
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<OpenWith, E> {
                Ok(OpenWith(OlderFile { file: PathBuf::from(path), until: None }))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OpenWith, A::Error> {
                let (mut file, mut until) = (None, None);
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "file" => file = Some(map.next_value::<PathBuf>()?),
                        "until" => until = Some(moment(&map.next_value::<Text>()?.0)?),
                        _ => {
                            return Err(de::Error::custom(format!(
                                "`{name}` is unknown here: it is {FORMS}"
                            )));
                        }
                    }
                }
                let file =
                    file.ok_or_else(|| de::Error::custom(format!("`file` is missing: it is {FORMS}")))?;
                Ok(OpenWith(OlderFile { file, until }))
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

/// A date in quotes: one without them is another type of TOML's.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer);
        text.map(Text).map_err(|_| de::Error::custom(format!("`until` is {MOMENTS}, in quotes")))
    }
}

fn moment<E: de::Error>(text: &str) -> Result<Timestamp, E> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let is_date = text.len() == "2026-01-01".len();
    let date = text.parse::<Date>().ok().filter(|_| is_date);
    let start = date.and_then(|date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp()));
    start.ok_or_else(|| de::Error::custom(format!("`until = \"{text}\"`: it is {MOMENTS}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Part {
        open_with: Vec<OpenWith>,
    }

    fn read(text: &str) -> Result<OlderFile, String> {
        let read: Result<Part, _> = toml::from_str(&format!("open_with = [{text}]"));
        read.map(|mut part| part.open_with.remove(0).0).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn it_reads_as_written() {
        let at = |until: Option<&str>| OlderFile {
            file: PathBuf::from("/k"),
            until: until.map(|until| until.parse().unwrap()),
        };
        assert_eq!(read("\"/k\""), Ok(at(None)));
        assert_eq!(read("{ file = \"/k\" }"), Ok(at(None)));
        let day = "{ file = \"/k\", until = \"2026-01-01\" }";
        assert_eq!(read(day), Ok(at(Some("2026-01-01T00:00:00Z"))));
        let time = "{ until = \"2026-01-01T03:00:00+01:00\", file = \"/k\" }";
        assert_eq!(read(time), Ok(at(Some("2026-01-01T02:00:00Z"))));
        for (text, word) in [
            ("{ file = \"/k\", until = \"2026-13-01\" }", "2026-13-01"),
            ("{ file = \"/k\", until = \"yesterday\" }", "a date"),
            ("{ file = \"/k\", until = \"\" }", "a date"),
            ("{ file = \"/k\", until = 2026-01-01 }", "in quotes"),
            ("{ file = \"/k\", until = 3 }", "in quotes"),
            ("{ until = \"2026-01-01\" }", "`file` is missing"),
            ("{ file = \"/k\", unitl = \"2026-01-01\" }", "`unitl` is unknown"),
            ("3", "a key file"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
