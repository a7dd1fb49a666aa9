//! How long copies are kept: an age, counts of calendar periods, or for ever. It decides nothing.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::value::Span;

const FORMS: &str = "an age (\"30d\"), \"forever\", or { within = \"30d\", last = 3, daily = 7, weekly = 5, monthly = 12, yearly = 3 }";
const DAY: Duration = Duration::from_hours(24);

/// How long the copies in a store are kept. The rules are those of grandfather-father-son: a copy that any of them
/// keeps stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Until somebody removes them.
    Forever,
    /// As long as one of these keeps them.
    Rules(Rules),
}

/// Which copies of a database are kept; at least one rule is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// All that are younger.
    pub within: Option<Duration>,
    /// The newest so many.
    pub last: u32,
    /// The newest of each of the newest so many days.
    pub daily: u32,
    /// The same of weeks (ISO 8601: from Monday).
    pub weekly: u32,
    /// The same of months.
    pub monthly: u32,
    /// The same of years.
    pub yearly: u32,
}

impl Keep {
    /// All that is younger than so many days.
    #[must_use]
    pub fn within_days(days: u32) -> Self {
        Self::Rules(Rules { within: Some(DAY.saturating_mul(days)), ..Rules::default() })
    }

    /// The age from which on a copy may go, where age alone decides.
    #[must_use]
    pub fn age_alone(&self) -> Option<Duration> {
        match self {
            Self::Rules(rules) if rules.counts().iter().all(|(_, count)| *count == 0) => rules.within,
            Self::Forever | Self::Rules(_) => None,
        }
    }
}

impl Rules {
    /// The rules that count, by their words.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u32); 5] {
        [
            ("last", self.last),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        ]
    }
}

/// A length of time in the largest unit that it is a whole number of, days at most.
#[must_use]
pub fn in_units(length: Duration) -> String {
    let seconds = length.as_secs();
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds > 0 && seconds.is_multiple_of(unit) && length.subsec_nanos() == 0 {
            return format!("{}{name}", seconds / unit);
        }
    }
    if length.subsec_nanos() == 0 { format!("{seconds}s") } else { format!("{}ms", length.as_millis()) }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = Keep;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FORMS)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Keep, E> {
                if text == "forever" {
                    return Ok(Keep::Forever);
                }
                let within = Some(age(text)?);
                Ok(Keep::Rules(Rules { within, ..Rules::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keep, A::Error> {
                let mut rules = Rules::default();
                while let Some(name) = map.next_key::<String>()? {
                    let count = match name.as_str() {
                        "within" => {
                            rules.within = Some(age(&map.next_value::<String>()?)?);
                            continue;
                        }
                        "last" => &mut rules.last,
                        "daily" => &mut rules.daily,
                        "weekly" => &mut rules.weekly,
                        "monthly" => &mut rules.monthly,
                        "yearly" => &mut rules.yearly,
                        _ => return Err(de::Error::custom(format!("`{name}` is no rule: it is {FORMS}"))),
                    };
                    *count = map.next_value()?;
                    if *count == 0 {
                        return Err(de::Error::custom(format!("`{name} = 0` keeps nothing: leave it out")));
                    }
                }
                if rules == Rules::default() {
                    return Err(de::Error::custom(format!("no rule keeps anything: it is {FORMS}")));
                }
                Ok(Keep::Rules(rules))
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

fn age<E: de::Error>(text: &str) -> Result<Duration, E> {
    let wrong = |_| de::Error::custom(format!("it is {FORMS}"));
    let span = Span::parse(text).map_err(wrong)?;
    if span.0.is_zero() {
        return Err(de::Error::custom("an age of 0 keeps nothing"));
    }
    Ok(span.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Store {
        keep: Keep,
    }

    fn read(text: &str) -> Result<Keep, String> {
        let read: Result<Store, _> = toml::from_str(&format!("keep = {text}"));
        read.map(|store| store.keep).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn it_reads_as_written() {
        assert_eq!(read("\"30d\""), Ok(Keep::within_days(30)));
        assert_eq!(read("\"forever\""), Ok(Keep::Forever));
        let text = "{ within = \"2w\", last = 3, daily = 7, weekly = 5, monthly = 12, yearly = 4 }";
        let within = Some(DAY * 14);
        let all = Rules { within, last: 3, daily: 7, weekly: 5, monthly: 12, yearly: 4 };
        assert_eq!(read(text), Ok(Keep::Rules(all)));
        for (text, word) in [
            ("\"0d\"", "keeps nothing"),
            ("\"ever\"", "forever"),
            ("{}", "no rule keeps anything"),
            ("{ daily = 0 }", "leave it out"),
            ("{ dayly = 7 }", "`dayly` is no rule"),
            ("{ within = \"30\" }", "an age"),
            ("{ daily = -1 }", "invalid value"),
            ("30", "an age"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn an_age_decides_alone_only_without_counts() {
        assert_eq!(Keep::within_days(30).age_alone(), Some(DAY * 30));
        assert_eq!(read("{ within = \"30d\", last = 3 }").unwrap().age_alone(), None);
        assert_eq!(Keep::Forever.age_alone(), None);
    }

    #[test]
    fn lengths_read_well() {
        for text in ["30d", "26h", "90m", "5s", "1500ms"] {
            assert_eq!(in_units(Span::parse(text).unwrap().0), text);
        }
        assert_eq!(in_units(Span::parse("2w").unwrap().0), "14d");
    }
}
