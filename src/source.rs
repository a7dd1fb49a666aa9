//! Where bytes come from and where they are brought back to: PostgreSQL, by its own client programs, and the files that
//! a service is configured by. It knows servers, dumps and files; not what becomes of the bytes.

pub mod advisory;
pub mod clients;
mod cluster;
pub mod config_set;
pub mod dump;
pub mod fingerprint;
pub mod globals;
pub mod restore;
pub mod scratch;
pub mod server;
pub mod target;
mod watch;
