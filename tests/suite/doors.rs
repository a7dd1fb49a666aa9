//! The backup is not the weakest door: who owns a database, or may log in, gains nothing from pgkeep, and stops nothing.

mod catalog;
pub(crate) mod locks;
