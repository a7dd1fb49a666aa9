//! Alerts: what is one, what it says, and the channels that carry it. It knows no command, no catalog and no store.

pub mod channel;
pub mod clean;
mod email;
mod http;
pub mod id;
mod message;
pub mod outbox;
mod ping;
pub mod route;
pub mod rules;
mod sms;
pub mod spool;
pub mod transitions;
pub mod undelivered;
mod webhook;
