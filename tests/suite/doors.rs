//! Doors that stay shut to whoever owns one database, or can reach one part of what pgkeep works with.

mod cage;
