//! The doors that a backup opens: whoever owns one database must gain nothing from pgkeep.

mod sessions;
mod source;
mod sql;
