//! The integration tests: the built binary against a real `PostgreSQL` cluster and real S3 servers.
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::return_self_not_must_use,
    clippy::unwrap_used,
    reason = "a test that is surprised fails, and that is its purpose"
)]

mod alert_channels;
mod alert_check;
mod alerts;
mod backup;
mod bad_days;
mod catalog;
mod clock;
mod compression;
mod config_set;
mod configuration;
mod connect;
mod crontab;
mod disk;
mod docs;
mod doors;
mod dump_faults;
mod faults;
mod fingerprint;
mod format;
mod fuzz;
mod generated;
mod https;
mod inventory;
mod keys;
mod kills;
mod leftovers;
mod levels;
mod list;
mod locks;
mod memory;
mod progress;
mod promises;
mod proof;
mod prune;
mod regression;
mod repair;
mod restore;
mod roundtrip;
mod runbook;
mod selftest;
mod signals;
mod source_faults;
mod state_dir;
mod store;
mod stores;
mod support;
mod sweep;
mod tidy;
mod verify;
mod zero_config;
