//! pgkeep: PostgreSQL backups that are proven. One binary, called by cron; each call runs one pipeline
//! and ends.
//!
//! ```text
//!             pg_dump -Fc -Z0            (a child process; its stdout is the only copy of the dump)
//!                  |  blocks of 1 MiB
//!               gzip                     (all cores, in order; the size of gzip -9)
//!                  |
//!                seal                    (XChaCha20-Poly1305 secretstream, chunks of 64 KiB)
//!                  |
//!               SHA-256                  (of the sealed bytes: the checksum on record)
//!                  |  parts of one size
//!         +--------+--------+            (bounded queues: a slow store slows, a dead one is dropped)
//!       local      r2       b2           (tempfile, fsync, rename · multipart upload · multipart upload)
//!         +--------+--------+
//!                  |
//!         manifest beside each copy, every copy read back, catalog row, retention, alerts
//! ```
//!
//! The rooms, from the top; arrows point down, and no two of one floor know each other:
//!
//! - [`command`]: one file a subcommand, each the recipe of it; [`cli`] is its flags and help.
//! - [`source`]: where bytes come from: servers, `pg_dump`, `pg_restore`.
//! - [`pipeline`]: compress, seal, hash, cut, fan out, and the way back.
//! - [`store`]: where bytes go: a directory, an S3 bucket.
//! - [`retention`]: which copies may go; a pure function.
//! - [`catalog`]: the tables, their migrations, the run's lock, records that wait.
//! - [`alert`]: what is an alert, what it says, and the channels that carry it.
//! - [`bounded`], [`config`], [`conninfo`], [`connect`], [`key`], [`manifest`], [`fingerprint`], [`backup`], [`name`],
//!   [`alert_record`], [`finding`], [`object_lock`], [`part`], [`schema`], [`files`], [`https`], [`process`], [`interrupt`], [`testpoint`],
//!   [`exit`]: what the floors above share.
//!
//! `fuzzing` stands beside them: what reads bytes from outside, as tests call it.
//!
//! What never happens, and is tested from outside:
//!
//! - No copy has a manifest before `pg_dump` exited 0 and its store made the artifact durable.
//! - Nothing holds a whole backup in memory, and no temporary copy of dump or artifact exists (but the file
//!   without a name that `restore --jobs` asks for).
//! - No secret stands in an argv, a log, an error, a row, a manifest or an alert.
//! - Silence is never success: exit 0 means that every store holds a copy that was read back.

pub mod alert;
pub mod alert_record;
pub mod backup;
pub mod bounded;
pub mod catalog;
pub mod cli;
pub mod command;
pub mod config;
pub mod connect;
pub mod conninfo;
pub mod exit;
pub mod files;
pub mod finding;
pub mod fingerprint;
#[doc(hidden)]
pub mod fuzzing;
pub mod https;
pub mod interrupt;
pub mod key;
pub mod manifest;
pub mod name;
pub mod object_lock;
pub mod part;
pub mod pipeline;
pub mod process;
pub mod retention;
pub mod schema;
pub mod source;
pub mod store;
pub mod testpoint;
