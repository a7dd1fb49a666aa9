//! stub
use crate::config;
use crate::config::value::Secret;
use crate::notice::Delivery;
use anyhow::Result;
use zeroize::Zeroizing;
/// stub
pub struct Channel;
/// stub
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Undelivered {
    /// stub
    pub message: String,
    /// stub
    pub is_refusal: bool,
}
impl Channel {
    /// stub
    pub fn new(_: &config::alert::Channel, _: &dyn Fn(&Secret) -> Result<Zeroizing<String>>) -> Result<Self> {
        Ok(Self)
    }
    /// stub
    pub fn deliver(&self, _: &Delivery, _: jiff::Timestamp) -> Result<(), Undelivered> {
        Ok(())
    }
}
