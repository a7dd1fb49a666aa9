//! Doors that somebody who owns less than the backups may try.

mod keys;
