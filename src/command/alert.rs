//! `pgkeep alert`: what is wrong, who was told, and whether all is as it should be.

use std::ffi::OsString;
use std::io::Write as _;

use anyhow::Result;

use super::context::Context;
use super::output::printable;
use crate::cli;
use crate::cli::AlertAction;
use crate::exit::{Code, PluginState};

mod acknowledge;
mod check;
mod list;
mod send;
mod test;

pub(super) fn run(context: &Context, flags: &cli::Alert) -> Result<Code> {
    match &flags.action {
        None => list::run(context, &flags.list),
        Some(AlertAction::List(flags)) => list::run(context, flags),
        Some(AlertAction::Ack(flags)) => acknowledge::acknowledge(context, flags),
        Some(AlertAction::Resolve(flags)) => acknowledge::resolve(context, flags),
        Some(AlertAction::Send) => send::run(context),
        Some(AlertAction::Test(flags)) => test::run(context, flags),
        Some(AlertAction::Check(flags)) => check::run(context, flags),
    }
}

/// Whether a command line is that of a monitoring plugin.
pub(super) fn is_plugin(command: &cli::Command) -> bool {
    matches!(command, cli::Command::Alert(cli::Alert { action: Some(cli::AlertAction::Check(_)), .. }))
}

/// The same of one that can't be read.
pub(super) fn means_plugin(arguments: &[OsString]) -> bool {
    let mut words = arguments.iter().skip(1).map(|word| word.to_string_lossy());
    let mut next = || loop {
        let word = words.next()?;
        if word == "--config" {
            words.next()?;
        } else if !word.starts_with('-') {
            return Some(word);
        }
    };
    next().as_deref() == Some("alert") && next().as_deref() == Some("check")
}

/// Says on stdout that a check came to nothing, in the way of plugins; what is to be done stands on stderr.
pub(super) fn unknown(why: &str, is_json: bool) -> Code {
    let line = check::unknown_line(why);
    let text = if is_json {
        let state = PluginState::Unknown.as_str();
        serde_json::json!({ "state": state, "code": 3, "line": line }).to_string()
    } else {
        printable(&line).into_owned()
    };
    // A closed stdout leaves nobody to tell; the exit code still does.
    drop(writeln!(std::io::stdout(), "{text}"));
    Code::Plugin(PluginState::Unknown)
}
