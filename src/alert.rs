//! Alerts: what is one, what it says, and the channels that carry it. It knows no command, no catalog and no store.

pub mod book;
pub mod channel;
pub mod clean;
pub mod id;
pub mod outbox;
pub mod route;
pub mod rules;
pub mod spool;
