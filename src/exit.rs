//! What a run ends with: the exit codes that scripts act on, and the error that carries one. It knows
//! no command; it is thrown wherever the cause decides the code.

use std::fmt::Write as _;

/// What `alert check` found, in the words of monitoring plugins and with their exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginState {
    /// All is well.
    Ok,
    /// To be looked at.
    Warning,
    /// Backups are at stake.
    Critical,
    /// It could not be found out.
    Unknown,
}

impl PluginState {
    /// The word that the status line begins with.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The exit codes of every command; those of `alert check` are [`Code::Plugin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Done, and every promise kept.
    Done,
    /// Nothing usable was made, or the command could not be carried out.
    Failed,
    /// Usage or configuration error; nothing was touched.
    Usage,
    /// A usable copy exists, but a store, the catalog or a check fell short.
    Degraded,
    /// A copy is corrupt or missing.
    Verification,
    /// No such backup.
    NoSuchBackup,
    /// Another run holds the lock.
    Locked,
    /// Ended by a signal, after cleaning up.
    Interrupted(i32),
    /// What a monitoring plugin says: numbers that mean something else than those of the other commands.
    Plugin(PluginState),
}

impl Code {
    /// The number that the process exits with.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Done | Self::Plugin(PluginState::Ok) => 0,
            Self::Failed | Self::Plugin(PluginState::Warning) => 1,
            Self::Usage | Self::Plugin(PluginState::Critical) => 2,
            Self::Degraded | Self::Plugin(PluginState::Unknown) => 3,
            Self::Verification => 4,
            Self::NoSuchBackup => 5,
            Self::Locked => 6,
            Self::Interrupted(signal) => u8::try_from(signal & 0x7f).map_or(1, |n| n | 0x80),
        }
    }

    /// The graver of two, for a command that did several things: an interruption first, then a failure,
    /// then what left something usable.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if self.rank() >= other.rank() { self } else { other }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Done | Self::Plugin(PluginState::Ok) => 0,
            Self::Degraded | Self::Plugin(PluginState::Warning) => 1,
            Self::Locked => 2,
            Self::NoSuchBackup => 3,
            Self::Verification => 4,
            Self::Usage | Self::Plugin(PluginState::Unknown) => 5,
            Self::Failed | Self::Plugin(PluginState::Critical) => 6,
            Self::Interrupted(_) => 7,
        }
    }
}

/// An error that knows its exit code, and what to do about it. Wrapped in or around other errors by
/// `anyhow`; the outermost one decides.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What the process exits with.
    pub code: Code,
    /// What failed, on what.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Whether the problem may pass by itself, so that another try is worth it.
    pub passing: bool,
}

impl Failure {
    /// An error that ends in `code`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, passing: false }
    }

    /// A usage or configuration error.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// A command that could not be carried out.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }

    /// The same, worth another try.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    /// The same with a word on what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Adds what was being done to an error, and keeps its exit code, hint and promise of another try.
#[must_use]
pub fn wrap(error: anyhow::Error, what: impl Into<String>) -> anyhow::Error {
    let mut failure = Failure::new(code_of(&error), what);
    if let Some(inner) = error.downcast_ref::<Failure>() {
        failure.hint.clone_from(&inner.hint);
        failure.passing = inner.passing;
    }
    error.context(failure)
}

/// The exit code of an error: its outermost [`Failure`]'s, else [`Code::Failed`].
#[must_use]
pub fn code_of(error: &anyhow::Error) -> Code {
    error.downcast_ref::<Failure>().map_or(Code::Failed, |failure| failure.code)
}

/// The error as a person reads it: what failed, each cause once on a line of its own, then the hint.
#[must_use]
pub fn render(error: &anyhow::Error) -> String {
    let mut text = format!("pgkeep: error: {error}");
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let line = cause.to_string();
        if !said.contains(&line) {
            // Writing to a String cannot fail; the result is all there is to it.
            if write!(text, "\n  caused by: {line}").is_err() {
                break;
            }
            said = line;
        }
    }
    if let Some(hint) = error.downcast_ref::<Failure>().and_then(|failure| failure.hint.as_ref()) {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    text
}

/// Longest text from outside that an error repeats.
const CLIP_CHARACTERS: usize = 300;

/// A control character, or one that turns the direction of what follows: it would be taken for a command, or make one
/// name look like another.
#[must_use]
pub fn is_command(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text from outside, or an error that quotes one, cut where it would fill a screen.
#[must_use]
pub fn clip(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(CLIP_CHARACTERS) {
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}

/// A text from outside as it may stand within a line: cut where it would fill a screen, and what would end the line,
/// command a terminal or turn the direction of what follows written as an escape.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len().min(CLIP_CHARACTERS));
    for c in text.chars().take(CLIP_CHARACTERS) {
        if is_command(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    if text.chars().nth(CLIP_CHARACTERS).is_some() {
        safe.push_str(" ...");
    }
    safe
}

/// An error and its causes on one line, for a catalog row or a warning.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let line = cause.to_string().trim().replace('\n', "; ");
        if text.is_empty() {
            text = line;
        } else if !text.contains(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_become_128_plus_their_number() {
        assert_eq!(Code::Interrupted(2).number(), 130);
        assert_eq!(Code::Interrupted(15).number(), 143);
        assert_eq!(Code::Interrupted(1).number(), 129);
    }

    #[test]
    fn plugins_have_numbers_and_an_order_of_their_own() {
        use PluginState::{Critical, Ok, Unknown, Warning};
        let numbers = [Ok, Warning, Critical, Unknown].map(|state| Code::Plugin(state).number());
        assert_eq!(numbers, [0, 1, 2, 3]);
        let ranked = [Ok, Warning, Unknown, Critical].map(Code::Plugin);
        for (place, graver) in ranked.iter().enumerate() {
            for other in ranked.iter().take(place) {
                assert_eq!(graver.worse(*other), *graver);
                assert_eq!(other.worse(*graver), *graver);
            }
            let interrupted = Code::Interrupted(2);
            assert_eq!(graver.worse(interrupted), interrupted);
        }
    }

    #[test]
    fn the_outermost_failure_decides() {
        let inner = anyhow::Error::new(Failure::usage("inner"));
        assert_eq!(code_of(&inner), Code::Usage);
        let outer = inner.context(Failure::new(Code::Degraded, "outer").hint("mend it"));
        assert_eq!(code_of(&outer), Code::Degraded);
        assert_eq!(render(&outer), "pgkeep: error: outer\n  caused by: inner\nhint: mend it");
    }

    #[test]
    fn a_failure_below_other_context_is_found() {
        let error = anyhow::Error::new(Failure::new(Code::Locked, "held")).context("backup of `shop`");
        assert_eq!(code_of(&error), Code::Locked);
        assert_eq!(one_line(&error), "backup of `shop`: held");
    }
}
