//! The commands: each file reads as the recipe of one, in the words of the design. This one reads the
//! command line, sets up what all of them need, and turns what comes back into an exit code.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches};

use crate::cli::{self, Cli};
use crate::config::environment;
use crate::exit::{self, Code};
use crate::interrupt::Interrupt;
use crate::process;
use crate::testpoint;

mod agree;
mod alert;
mod backup;
mod clock;
mod configured_store;
mod context;
mod copies;
mod copy_check;
mod diff;
mod doctor;
mod gather;
mod health;
pub(crate) mod inventory;
mod key;
mod limits;
mod list;
mod liveness;
mod locks;
mod notify;
mod output;
mod ownership;
mod pin;
mod progress;
mod prune;
mod rebuild;
mod restore;
pub(crate) mod select;
mod signals;
mod status;
mod test_restore;
mod trust;
mod verify;

use context::Context;

/// Runs one command line and says what the process is to exit with. All output is done by then.
pub fn main(arguments: impl Iterator<Item = OsString>) -> Code {
    let arguments: Vec<OsString> = arguments.collect();
    if let [_, guard, tie, program, rest @ ..] = arguments.as_slice()
        && guard == process::GUARD
    {
        return report(&process::run_guarded(&tie.to_string_lossy(), Path::new(program), rest));
    }
    if let [_, guard, tie, cage, program, rest @ ..] = arguments.as_slice()
        && (guard == process::CAGE || guard == process::INSIDE)
    {
        let (tie, cage) = (tie.to_string_lossy(), cage.to_string_lossy());
        let run = if guard == process::CAGE { process::run_caged } else { process::run_inside };
        let done = run(&tie, &cage, Path::new(program), rest);
        return done.map_or_else(|error| report(&error), |()| Code::Done);
    }
    // Not before: whoever is not dumpable can't map the users of a name space of its own.
    process::leave_no_core();
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Code::Usage } else { Code::Done };
            // A closed stdout or stderr leaves nobody to tell.
            let code = if error.print().is_ok() { code } else { Code::Failed };
            if code == Code::Done || !alert::means_plugin(&arguments) {
                return code;
            }
            let is_json = arguments.iter().any(|word| word == "--json");
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            return alert::unknown(first.trim_start_matches("error: "), is_json);
        }
    };
    let (is_plugin, is_json) = (alert::is_plugin(&cli.command), cli.global.json);
    match run(cli) {
        Ok(code) => code,
        Err(error) if is_plugin => {
            report(&error);
            alert::unknown(&exit::one_line(&error), is_json)
        }
        Err(error) => report(&error),
    }
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

fn run(cli: Cli) -> Result<Code> {
    let out = output::Output::new(&cli.global);
    if let cli::Command::Key(which) = &cli.command {
        return key::run(which, &out);
    }
    limits::ensure()?;
    let interrupt = Interrupt::new();
    let interrupt_record = signals::InterruptRecord::default();
    signals::watch(&interrupt, &interrupt_record)?;
    testpoint::heed(&interrupt);
    let environment = environment::of_process();
    let config = crate::config::load(cli.global.config.as_deref(), &environment)?;
    process::withhold(&config.secret_variables, environment.variables.keys());
    ownership::ensure(&config)?;
    let context = Context::new(config, environment, interrupt, interrupt_record, out);
    let done = match cli.command {
        cli::Command::Backup(cli::Backup::Full { databases }) => backup::run(&context, &databases),
        cli::Command::Backup(cli::Backup::Config) => backup::run_config(&context),
        cli::Command::List(list) => list::run(&context, &list),
        cli::Command::Verify(verify) => verify::run(&context, &verify),
        cli::Command::Restore(restore) => restore::run(&context, &restore),
        cli::Command::Diff(diff) => diff::run(&context, &diff),
        cli::Command::Catalog(cli::Catalog::Rebuild { from, accept }) => {
            rebuild::run(&context, &from, &accept)
        }
        cli::Command::Prune(prune) => prune::run(&context, &prune),
        cli::Command::Pin(flags) => pin::pin(&context, &flags),
        cli::Command::Unpin(flags) => pin::unpin(&context, &flags),
        cli::Command::Alert(flags) => alert::run(&context, &flags),
        cli::Command::Doctor => doctor::run(&context),
        cli::Command::Key(_) => Ok(Code::Done),
    };
    // What is refused touches nothing.
    let is_refused = done.as_ref().is_err_and(|error| exit::code_of(error) == Code::Usage);
    if !is_refused && !context.interrupt.is_raised() {
        notify::flush(&context);
    }
    match (done, context.interrupt.signal()) {
        // What an interrupted command ran into is not what ended it.
        (Err(error), Some(signal)) => {
            log::info!("{error:#}");
            log::error!("{}", signals::in_words(signal));
            Ok(Code::Interrupted(signal))
        }
        (Ok(_), Some(signal)) => Ok(Code::Interrupted(signal)),
        (done, None) => done,
    }
}

/// Says on stderr what went wrong, and gives the exit code for it.
fn report(error: &anyhow::Error) -> Code {
    let text = exit::render(error);
    // A closed stderr leaves nobody to tell; the exit code still does.
    drop(writeln!(std::io::stderr(), "{}", output::printable(&text)));
    exit::code_of(error)
}
