//! The backup as a door: what whoever owns one database, or made an archive, can't do by it.

mod globals;
