//! The doors that a backup opens: whoever owns one database, writes to a bucket or shares the host must gain nothing
//! from pgkeep.

mod conninfo;
mod host;
mod pooler;
mod sessions;
mod source;
mod sql;
mod surroundings;
