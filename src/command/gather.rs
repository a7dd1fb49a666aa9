//! What a config backup holds of a cluster, asked from its server.

use anyhow::Result;

use super::context::Context;
use crate::source::config_set::contents::{Asked, of_server};
use crate::source::config_set::{Document, Notes};

/// What the source says of its cluster now.
pub(super) fn gather(context: &Context) -> Result<(Vec<Document>, Notes)> {
    of_server(&Asked {
        connection: &context.config.source.connection,
        options: &context.connect_options(),
        find_client: &|major| context.client("pg_dumpall", major),
        stall: context.config.timeouts.stall,
        interrupt: &context.interrupt,
    })
}
