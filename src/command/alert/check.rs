//! `pgkeep alert check`: looks whether backups are as they should be.

use anyhow::Result;

use crate::cli;
use crate::command::context::Context;
use crate::exit::Code;

pub(super) fn run(_context: &Context, _flags: &cli::AlertCheck) -> Result<Code> {
    Ok(Code::Done)
}
