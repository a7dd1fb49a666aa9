//! One test for each bug that was found, with its story.

pub(crate) mod catalog_trouble;
mod copies;
mod keys;
mod output;
mod refusals;
mod repairs;
mod sources;
mod targets;
