//! The flags of `pgkeep alert`.
#![allow(clippy::doc_markdown, reason = "the first lines are help texts, shown as they stand")]

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `pgkeep alert`; without a word behind it, `pgkeep alert list`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  pgkeep alert                                  what is wrong now
  pgkeep alert ack 3f9a --note 'new disk ordered'
  pgkeep alert test                             a real message through each channel
  pgkeep alert check --quiet                    from cron, hourly: looks, and raises what it finds"
)]
pub struct Alert {
    /// What is to be done [default: list]
    #[command(subcommand)]
    pub action: Option<AlertAction>,
    /// Which ones are listed.
    #[command(flatten)]
    pub list: AlertList,
}

/// What can be done about alerts.
#[derive(Debug, Subcommand)]
pub enum AlertAction {
    /// Show the open alerts, the newest first
    List(AlertList),
    /// Say that somebody knows: it stays open, and says no more until it is graver or over
    Ack(AlertAck),
    /// Say that it is over; raised again where it is not
    Resolve(AlertResolve),
    /// Send what waits to be sent, now
    #[command(after_help = "Example:\n  pgkeep alert send        a channel works again")]
    Send,
    /// Send a real message through each channel, and say which one works
    Test(AlertTest),
    /// Look whether backups are as they should be, in the catalog and in the stores, and raise what is not
    Check(AlertCheck),
}

/// `pgkeep alert list`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  pgkeep alert list --all --json")]
pub struct AlertList {
    /// Show those that are over, too
    #[arg(long)]
    pub all: bool,
}

/// `pgkeep alert ack`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pgkeep alert ack 3f9a --note 'new disk ordered'")]
pub struct AlertAck {
    /// The id of an alert, or any unique prefix of it
    #[arg(value_name = "ID")]
    pub id: String,
    /// A word for whoever reads it next
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

/// `pgkeep alert resolve`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pgkeep alert resolve 3f9a0c11d2e4")]
pub struct AlertResolve {
    /// The id of an alert, or any unique prefix of it
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `pgkeep alert test`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pgkeep alert test phone")]
pub struct AlertTest {
    /// Only through this channel
    #[arg(value_name = "CHANNEL")]
    pub channel: Option<String>,
}

/// `pgkeep alert check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes, as monitoring plugins have them:
  0  OK    1  WARNING    2  CRITICAL    3  UNKNOWN

Examples:
  pgkeep alert check --max-age 26h
  pgkeep alert check --database shop --prometheus /var/lib/prometheus/node-exporter/pgkeep.prom")]
pub struct AlertCheck {
    /// A database without a good backup that is younger is in trouble [default: `max_age` of the configuration]
    #[arg(long, value_name = "AGE")]
    pub max_age: Option<String>,
    /// Look at this database; may be given several times [default: as configured]
    #[arg(long = "database", value_name = "NAME")]
    pub databases: Vec<String>,
    /// Write metrics into this file, for the textfile collector of Prometheus' node_exporter
    #[arg(long, value_name = "FILE")]
    pub prometheus: Option<PathBuf>,
}
