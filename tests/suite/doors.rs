//! The doors that a backup may leave open, each of them shut.

mod conninfo;
mod host;
mod pooler;
mod surroundings;
