//! The doors that whoever owns one database could come through: each is tried, and found shut.

mod counting;
