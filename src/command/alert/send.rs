//! `pgkeep alert send`: what waits to be sent is sent now.

use anyhow::Result;
use serde_json::json;

use crate::command::context::Context;
use crate::command::notify::{self, send::Tally};
use crate::exit::Code;

pub(super) fn run(context: &Context) -> Result<Code> {
    let Tally { sent, left, given_up } = notify::send_all(context);
    context.out.json(&json!({ "sent": sent, "waiting": left, "given_up": given_up }))?;
    let end = if given_up == 0 { String::new() } else { format!(", {given_up} given up") };
    context.out.line(&format!("{sent} sent, {left} waiting{end}"))?;
    Ok(if left + given_up == 0 { Code::Done } else { Code::Failed })
}
