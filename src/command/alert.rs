//! `pgkeep alert`: what is wrong, who was told, and whether all is as it should be.

use anyhow::Result;

use super::context::Context;
use crate::cli;
use crate::cli::AlertAction;
use crate::exit::Code;

mod check;
mod list;
mod send;
mod stand;
mod test;

pub(super) fn run(context: &Context, flags: &cli::Alert) -> Result<Code> {
    match &flags.action {
        None => list::run(context, &flags.list),
        Some(AlertAction::List(flags)) => list::run(context, flags),
        Some(AlertAction::Ack(flags)) => stand::acknowledge(context, flags),
        Some(AlertAction::Resolve(flags)) => stand::resolve(context, flags),
        Some(AlertAction::Send) => send::run(context),
        Some(AlertAction::Test(flags)) => test::run(context, flags),
        Some(AlertAction::Check(flags)) => check::run(context, flags),
    }
}
