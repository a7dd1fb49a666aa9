//! x
pub mod backup;
pub mod catalog;
pub mod config;
pub mod connect;
pub mod conninfo;
pub mod exit;
pub mod files;
pub mod interrupt;
pub mod key;
pub mod manifest;
pub mod name;
pub mod part;
pub mod pipeline;
pub mod process;
pub mod source;
