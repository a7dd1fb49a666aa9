//! What a person or a script sees: results on stdout, everything else on stderr, and bars in between
//! where stderr is a terminal.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use indicatif::{MultiProgress, ProgressDrawTarget};
use log::{Level, LevelFilter};
use serde::Serialize;

use crate::alert::clean::clean;
use crate::cli::Global;
use crate::exit::{self, is_command};

/// Whose lines are shown.
const OURS: &str = env!("CARGO_PKG_NAME");
/// So many of them are kept, for whoever asks how a run ended.
const TAIL_LINES: usize = 100;

/// How results are to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    Quiet,
}

/// Where output goes.
pub(super) struct Output {
    pub(super) form: Form,
    pub(super) bars: MultiProgress,
    quiet: bool,
    tail: Tail,
}

impl Output {
    /// Sets up the log as well: warnings and errors, more with `--verbose`; `--quiet` is about success.
    pub(super) fn new(global: &Global) -> Self {
        let form = match (global.json, global.quiet) {
            (true, _) => Form::Json,
            (false, true) => Form::Quiet,
            (false, false) => Form::Text,
        };
        let visible = std::io::stderr().is_terminal() && !global.quiet;
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        let level = match global.verbose {
            0 => LevelFilter::Warn,
            1 => LevelFilter::Info,
            _ => LevelFilter::Debug,
        };
        let tail = Tail::default();
        start_log(level, bars.clone(), tail.clone());
        Self { form, bars, quiet: global.quiet, tail }
    }

    /// The last lines of the log, those among them that are shown with `--verbose` alone.
    pub(super) fn tail(&self) -> String {
        self.tail.text()
    }

    /// Keeps in mind what is said elsewhere.
    pub(super) fn remember(&self, text: &str) {
        self.tail.push(&printable(text));
    }

    /// Says on stderr what failed, without the log's own words before it.
    pub(super) fn tell(&self, text: &str) {
        let text = printable(text);
        self.tail.push(&text);
        // A closed stderr leaves nobody to tell; the exit code still does.
        drop(self.bars.suspend(|| writeln!(std::io::stderr(), "{text}")));
    }

    /// Prints a line of a result, unless it is to be JSON or nothing.
    pub(super) fn line(&self, text: &str) -> Result<()> {
        match self.form {
            Form::Text => self.write(&printable(text)),
            Form::Json | Form::Quiet => Ok(()),
        }
    }

    /// Prints a status line, unless it is to be JSON; with `--quiet` only one that says more than that all is well.
    pub(super) fn status(&self, text: &str, is_ok: bool) -> Result<()> {
        match self.form {
            Form::Json => Ok(()),
            Form::Quiet if is_ok => Ok(()),
            Form::Text | Form::Quiet => self.write(&printable(text)),
        }
    }

    /// Prints the one JSON document, where that is asked for.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<()> {
        match self.form {
            Form::Json => self.write(&printable_json(serde_json::to_string_pretty(value)?)),
            Form::Text | Form::Quiet => Ok(()),
        }
    }

    /// Says on stderr what is about to be done, unless nobody wants to know.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            let said = self.bars.suspend(|| writeln!(std::io::stderr(), "pgkeep: {}", printable(text)));
            // A closed stderr leaves nobody to tell.
            drop(said);
        }
    }

    fn write(&self, text: &str) -> Result<()> {
        self.bars.suspend(|| writeln!(std::io::stdout(), "{text}")).context("cannot write to stdout")
    }
}

/// The text without what a terminal would take for a command: names and messages may come from a server, or from
/// whoever can write to a bucket.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !is_command(c) || matches!(c, '\n' | '\t');
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let escaped =
        text.chars().map(|c| if is_plain(c) { c.to_string() } else { c.escape_default().to_string() });
    Cow::Owned(escaped.collect())
}

/// The same of a JSON document, which stays the same document. `serde_json` escapes what stands below the space;
/// the rest can only stand in its strings.
fn printable_json(text: String) -> String {
    let is_plain = |c: char| !is_command(c) || c == '\n';
    if text.chars().all(is_plain) {
        return text;
    }
    let escaped =
        text.chars().map(|c| if is_plain(c) { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) });
    escaped.collect()
}

/// The last lines of the log.
#[derive(Clone, Default)]
struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Each by itself: what is left out of one ends with it.
        lines.push_back(exit::clip(clean(line)));
        if lines.len() > TAIL_LINES {
            lines.pop_front();
        }
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// Shows what is to be shown, and keeps the last of all.
struct Log {
    shown: env_logger::Logger,
    tail: Tail,
}

impl log::Log for Log {
    fn enabled(&self, about: &log::Metadata<'_>) -> bool {
        // Other crates' words may hold what must not be shown: signed requests, connection strings.
        let is_ours =
            about.target() == OURS || about.target().starts_with(concat!(env!("CARGO_PKG_NAME"), "::"));
        is_ours && (about.level() <= Level::Info || self.shown.enabled(about))
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if record.level() <= Level::Info {
            self.tail.push(&format!("{}{}", kind_of(record.level()), printable(&record.args().to_string())));
        }
        self.shown.log(record);
    }

    fn flush(&self) {
        self.shown.flush();
    }
}

fn kind_of(level: Level) -> &'static str {
    match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info | Level::Debug | Level::Trace => "",
    }
}

/// Log lines go between the bars, not through them.
struct BetweenBars(MultiProgress);

impl Write for BetweenBars {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write(buffer))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

fn start_log(level: LevelFilter, bars: MultiProgress, tail: Tail) {
    let shown = env_logger::Builder::new()
        .filter_module(OURS, level)
        .format(|line, record| {
            writeln!(line, "pgkeep: {}{}", kind_of(record.level()), printable(&record.args().to_string()))
        })
        .target(env_logger::Target::Pipe(Box::new(BetweenBars(bars))))
        .build();
    if log::set_boxed_logger(Box::new(Log { shown, tail })).is_ok() {
        log::set_max_level(level.max(LevelFilter::Info));
    }
    // Only a second call in one process fails, and then the first one's log is there.
}

#[cfg(test)]
mod tests {
    use super::{printable, printable_json};

    #[test]
    fn no_terminal_is_told_what_to_do() {
        assert_eq!(printable("b\u{e4}ckup\n\t`x`"), "b\u{e4}ckup\n\t`x`");
        assert_eq!(printable("a\u{1b}[2Jb\r\u{9b}c"), "a\\u{1b}[2Jb\\r\\u{9b}c");
        assert_eq!(printable("a\u{202e}b\u{2066}\u{a0}"), "a\\u{202e}b\\u{2066}\u{a0}");
        let hostile = serde_json::json!({"error\u{7f}": "a\u{9b}2J\u{1b}\n\u{e4}"});
        let shown = printable_json(serde_json::to_string_pretty(&hostile).unwrap_or_default());
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        assert!(shown.contains('\u{e4}'), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).ok(), Some(hostile));
    }
}
