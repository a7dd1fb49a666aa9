//! The doors that a backup opens: whoever owns one database, may log in, writes to a bucket or shares the host must gain
//! nothing from pgkeep, and stop nothing.

mod cage;
mod catalog;
mod conninfo;
mod counting;
mod globals;
mod host;
mod keys;
pub(crate) mod locks;
mod pooler;
mod sessions;
mod source;
mod sql;
mod surroundings;
