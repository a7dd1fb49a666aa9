//! Man pages and completions, made from the command definitions.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use pgkeep::cli::Cli;

/// The day of the pages: that of the last change of what commands take and give.
const DATE: &str = "2026-12-01";

/// Writes `man` and `completions` under a folder.
pub(super) fn write(folder: &Path) -> Result<()> {
    let man = folder.join("man");
    let completions = folder.join("completions");
    for made in [&man, &completions] {
        std::fs::create_dir_all(made)
            .with_context(|| format!("cannot make the folder `{}`", made.display()))?;
    }
    let mut command = Cli::command();
    command.build();
    pages(&command, "pgkeep", &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "pgkeep", &completions)
            .with_context(|| format!("cannot write completions for {shell}"))?;
    }
    Ok(())
}

/// A page for a command and each below it that is shown: `pgkeep-backup-full.1`.
fn pages(command: &clap::Command, name: &str, folder: &Path) -> Result<()> {
    let path = folder.join(format!("{name}.1"));
    let page = page(command, name)?;
    std::fs::write(&path, page).with_context(|| format!("cannot write `{}`", path.display()))?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str) -> Result<Vec<u8>> {
    let source = format!("pgkeep {}", env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(command.clone()).title(name).date(DATE).source(source);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(more) = command.get_after_help() {
        as_it_stands(&more.to_string(), &mut page)?;
    }
    let has_its_own = command.get_after_help().is_some_and(|more| more.to_string().contains("Exit codes"));
    if command.get_subcommands().next().is_none() && !has_its_own {
        exit_status(&mut page)?;
    }
    writeln!(page, ".SH \"SEE ALSO\"\n\\fBpgkeep\\fR(1), \\fBpgkeep\\-recovery\\fR(7)")?;
    Ok(page)
}

/// What the command's exit status says.
fn exit_status(page: &mut Vec<u8>) -> Result<()> {
    let usual: &[(&str, &str)] = &[
        ("0", "done, and every promise kept"),
        ("1", "failed: nothing usable was made, or the command could not be carried out"),
        ("2", "usage or configuration error; nothing was touched"),
        ("3", "degraded: a usable copy exists, but a store, the catalog or a check fell short"),
        ("4", "a copy is corrupt or missing"),
        ("5", "no such backup"),
        ("6", "another run holds the lock"),
    ];
    writeln!(page, ".SH \"EXIT STATUS\"")?;
    for (code, meaning) in usual {
        writeln!(page, ".TP\n\\fB{code}\\fR\n{}", meaning.replace('\'', "\\(aq"))?;
    }
    writeln!(page, ".TP\n\\fB129\\fR, \\fB130\\fR, \\fB143\\fR\ninterrupted by SIGHUP, SIGINT, SIGTERM")?;
    Ok(())
}

/// The text behind the options: a line that ends with a colon heads a section, the others are shown as
/// they stand.
fn as_it_stands(text: &str, page: &mut Vec<u8>) -> Result<()> {
    let mut open = false;
    for line in text.lines() {
        let heading = line.strip_suffix(':').filter(|_| !line.starts_with(' '));
        if let Some(heading) = heading {
            if open {
                writeln!(page, ".fi")?;
            }
            writeln!(page, ".SH \"{}\"\n.nf", heading.to_uppercase())?;
            open = true;
        } else {
            let safe = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
            writeln!(page, "\\&{safe}")?;
        }
    }
    if open {
        writeln!(page, ".fi")?;
    }
    Ok(())
}
