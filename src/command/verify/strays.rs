//! placeholder
use super::Session;
use crate::catalog::Catalog;
use anyhow::Result;
#[derive(serde::Serialize)]
pub(super) struct Stray {
    pub(super) store: String,
    pub(super) path: String,
    pub(super) what: String,
}
pub(super) fn find(_s: &Session<'_>, _c: &mut Catalog) -> Result<Vec<Stray>> {
    Ok(Vec::new())
}
