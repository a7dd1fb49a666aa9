//! The values a configuration is made of: durations, ages, names, secrets. Each refuses what it cannot
//! mean while it is read, so that the error carries the line it stands on.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use zeroize::Zeroizing;

use crate::interrupt::Interrupt;
use crate::{files, process};

/// A length of time: a number and one of `ms s m h d w y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    /// Reads `10s`, `5m`, `26h`, `30d`, `2w`, `1y`.
    ///
    /// # Errors
    /// When it is anything else, or longer than 1000 years.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no duration: a number and ms, s, m, h, d, w or y, as in `5m`");
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (digits, unit) = text.split_at(split);
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let unit_ms: u64 = match unit.trim() {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 3600 * 1000,
            "d" => 86_400 * 1000,
            "w" => 7 * 86_400 * 1000,
            "y" => 365 * 86_400 * 1000,
            _ => return Err(wrong()),
        };
        let limit_ms = 1000 * 365 * 86_400 * 1000;
        let length_ms = number.checked_mul(unit_ms).filter(|ms| *ms <= limit_ms);
        length_ms.map(|ms| Self(Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

/// A number of bytes: a number, alone or with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Reads `500M`, `2T`, `1000000`: K, M, G, T and KiB to TiB count in powers of 1024, kB, MB, GB and TB in
    /// powers of 1000.
    ///
    /// # Errors
    /// When it is anything else, or nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no size: a number and K, M, G or T, as in `500M`");
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let unit = unit.trim();
        let (letter, rest) = unit.split_at(unit.chars().next().map_or(0, char::len_utf8));
        let power = match letter {
            "" | "B" => 0,
            "k" | "K" => 1,
            "M" => 2,
            "G" => 3,
            "T" => 4,
            _ => return Err(wrong()),
        };
        let base: u64 = match (power, rest) {
            (0, "") | (1.., "" | "iB") => 1024,
            (1.., "B") => 1000,
            _ => return Err(wrong()),
        };
        let size = base.checked_pow(power).and_then(|unit| unit.checked_mul(number));
        size.filter(|size| *size > 0).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// A duration that is more than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Duration);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let span = Span::deserialize(deserializer)?;
        if span.0.is_zero() {
            return Err(de::Error::custom("a time limit of 0 would end everything at once"));
        }
        Ok(Self(span.0))
    }
}

/// A value that must not be shown, and where it comes from.
#[derive(Clone)]
pub enum Secret {
    /// It stands in the configuration.
    Plain(Zeroizing<String>),
    /// It stands in a variable of the environment.
    Env(String),
    /// It stands in a file that only its owner can read.
    File(PathBuf),
    /// A program prints it.
    Command(Vec<String>),
}

impl Secret {
    /// Fetches the value; white space at its end is not part of it.
    ///
    /// # Errors
    /// When the variable, file or program does not give one; the error names the place, never the value.
    pub fn fetch(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        interrupt: &Interrupt,
    ) -> Result<Zeroizing<String>> {
        let value = match self {
            Self::Plain(value) => value.clone(),
            Self::Env(name) => Zeroizing::new(
                variable(name).ok_or_else(|| anyhow!("the environment variable `{name}` is not set"))?,
            ),
            Self::File(path) => {
                files::read_secret(path).with_context(|| format!("secret file `{}`", path.display()))?
            }
            Self::Command(words) => {
                let (program, arguments) = words.split_first().context("the command is empty")?;
                let out = Zeroizing::new(process::output_of(program.as_ref(), arguments, interrupt)?);
                let text =
                    std::str::from_utf8(&out).map_err(|_| anyhow!("what `{program}` printed is no text"))?;
                Zeroizing::new(text.to_owned())
            }
        };
        let trimmed = value.trim_end();
        if trimmed.is_empty() {
            bail!("{self:?} gives an empty secret");
        }
        Ok(Zeroizing::new(trimmed.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("the configuration"),
            Self::Env(name) => write!(f, "the environment variable `{name}`"),
            Self::File(path) => write!(f, "the file `{}`", path.display()),
            Self::Command(words) => {
                write!(f, "the command `{}`", words.first().map_or("", String::as_str))
            }
        }
    }
}

const SECRET_FORMS: &str =
    "a string, { env = \"NAME\" }, { file = \"PATH\" } or { command = [\"PROGRAM\", ...] }";

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SECRET_FORMS)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Secret, E> {
                Ok(Secret::Plain(Zeroizing::new(value.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
                let wrong = || de::Error::custom(format!("a secret is {SECRET_FORMS}"));
                let name: String = map.next_key()?.ok_or_else(wrong)?;
                let secret = match name.as_str() {
                    "env" => Secret::Env(map.next_value()?),
                    "file" => Secret::File(map.next_value()?),
                    "command" => Secret::Command(map.next_value()?),
                    _ => return Err(wrong()),
                };
                if map.next_key::<String>()?.is_some() {
                    return Err(wrong());
                }
                Ok(secret)
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_written() {
        for (text, seconds) in [("10s", 10), ("5m", 300), ("26h", 93_600), ("30d", 2_592_000), ("0s", 0)] {
            assert_eq!(Span::parse(text).unwrap().0, Duration::from_secs(seconds));
        }
        for text in ["", "5", "m", "-5m", "5 minutes", "1.5h", "99999999999999999999s", "2000y"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_as_written() {
        for (text, bytes) in [
            ("1", 1),
            ("512B", 512),
            ("2k", 2048),
            ("3KiB", 3072),
            ("5M", 5 << 20),
            ("2TB", 2_000_000_000_000),
        ] {
            assert_eq!(Bytes::parse(text), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "0", "M", "-1", "1.5G", "5Mi", "5Bi", "99999999999T", "7 Q", "é", "5é", "5Mé"] {
            assert!(Bytes::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_plain_secret_is_never_shown() {
        let secret = Secret::Plain(Zeroizing::new("hunter2".to_owned()));
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.fetch(|_| None, &Interrupt::new()).unwrap().as_str(), "hunter2");
    }

    proptest! {
        #[test]
        fn parsing_a_duration_never_panics(text in "\\PC{0,30}") {
            if let Ok(span) = Span::parse(&text) {
                prop_assert!(span.0 <= Duration::from_hours(8_760_000));
            }
        }
    }
}
