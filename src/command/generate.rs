//! `pgkeep generate`: man pages and completions, made from the command definitions.

use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Code;

pub(super) fn run(folder: &Path) -> Result<Code> {
    let man = folder.join("man");
    let completions = folder.join("completions");
    for made in [&man, &completions] {
        std::fs::create_dir_all(made)
            .with_context(|| format!("cannot make the folder `{}`", made.display()))?;
    }
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    pages(&command, "pgkeep", &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "pgkeep", &completions)
            .with_context(|| format!("cannot write completions for {shell}"))?;
    }
    Ok(Code::Done)
}

/// A page for a command and each below it that is shown: `pgkeep-backup-full.1`.
fn pages(command: &clap::Command, name: &str, folder: &Path) -> Result<()> {
    let path = folder.join(format!("{name}.1"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name).render(&mut page)?;
    std::fs::write(&path, page).with_context(|| format!("cannot write `{}`", path.display()))?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(())
}
