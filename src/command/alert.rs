//! `pgkeep alert`: what is wrong, who was told, and whether all is as it should be.

use anyhow::Result;

use super::context::Context;
use crate::cli;
use crate::exit::Code;

mod check;
mod test;

pub(super) fn run(context: &Context, flags: &cli::Alert) -> Result<Code> {
    match &flags.action {
        Some(cli::AlertAction::Test(flags)) => test::run(context, flags),
        Some(cli::AlertAction::Check(flags)) => check::run(context, flags),
        _ => Ok(Code::Done),
    }
}
