//! Where bytes come from and where they are brought back to: PostgreSQL, by its own client programs.
//! It knows servers and dumps; not what becomes of the bytes.

pub mod clients;
pub mod dump;
pub mod fingerprint;
pub mod restore;
pub mod scratch;
pub mod server;
pub mod target;
mod watch;
