//! The doors that a backup opens: whoever owns one database, may log in, writes to a bucket or shares the host must gain
//! nothing from pgkeep, and stop nothing.

mod cage;
mod catalog;
mod conninfo;
mod counting;
mod crowd;
mod globals;
mod host;
mod keys;
mod listing;
pub(crate) mod locks;
mod pooler;
mod sessions;
mod source;
mod sql;
mod surroundings;
