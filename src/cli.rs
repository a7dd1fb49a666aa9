//! The command line: flags, and the words of `--help`. It runs nothing and resolves nothing.
#![allow(clippy::doc_markdown, reason = "the first lines are help texts, shown as they stand")]

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

mod alert;
mod restore;

pub use alert::{Alert, AlertAck, AlertAction, AlertCheck, AlertList, AlertResolve, AlertTest};
pub use restore::{Diff, Restore};

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and every promise kept     4  a copy is corrupt or missing
  1  failed: nothing usable was made  5  no such backup
  2  usage or configuration error     6  another run holds the lock
  3  degraded: usable, but a store, the catalog or a check fell short
  130, 143  interrupted by SIGINT, SIGTERM (129: SIGHUP): cleaned up first

Examples:
  pgkeep backup full        back up the database of the configuration
  pgkeep list               show what there is
  pgkeep verify latest      read every copy of the newest backup back
  pgkeep restore latest --into postgresql:///shop_again";

/// PostgreSQL backups that are proven: dumped, compressed, sealed and hashed in one pass to every
/// store at once, read back, and on record.
#[derive(Debug, Parser)]
#[command(name = "pgkeep", version, after_help = EXIT_CODES, subcommand_required = true)]
#[command(disable_help_subcommand = true, propagate_version = false)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Read this configuration file [default: $PGKEEP_CONFIG, ~/.config/pgkeep/config.toml,
    /// /etc/pgkeep/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing on success
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say on stderr what is being done; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a backup, send it to every store, and read every copy back
    #[command(subcommand)]
    Backup(Backup),
    /// Show the backups on record, the newest first
    List(List),
    /// Prove the copies of a backup, as deep as asked, and repair them from one another
    Verify(Verify),
    /// Bring a backup back: into a database, as a plain pg_dump archive, or what a config backup holds
    Restore(Restore),
    /// Show what changed in settings, roles, rules of pg_hba.conf, databases and files between two config backups
    Diff(Diff),
    /// Remove the copies that no rule of retention keeps, and what dead runs left
    Prune(Prune),
    /// Keep a backup, whatever the rules of retention say
    Pin(Pin),
    /// Leave a backup to the rules of retention again
    Unpin(Unpin),
    /// What is wrong: open alerts, and what has been heard of them
    Alert(Alert),
    /// Keep the catalog
    #[command(subcommand)]
    Catalog(Catalog),
    /// Make and show keys
    #[command(subcommand)]
    Key(Key),
    /// Check tools, keys, permissions, the catalog, and write, read and delete a probe in each store
    #[command(after_help = "Example:\n  pgkeep doctor        after a change of the configuration")]
    Doctor,
}

/// What can be backed up.
#[derive(Debug, Subcommand)]
pub enum Backup {
    /// Back up whole databases with pg_dump; prints the id of each backup
    #[command(after_help = "\
Examples:
  pgkeep backup full                                 as configured
  pgkeep backup full --database shop --database crm  these databases
  pgkeep backup full --quiet                         from cron: silent on success")]
    Full {
        /// Back up this database; may be given several times [default: as configured]
        #[arg(long = "database", value_name = "NAME")]
        databases: Vec<String>,
    },
    /// Back up what is in no database's dump: roles, settings, the files that the server and its host are configured by;
    /// prints its id
    #[command(after_help = "\
Examples:
  pgkeep backup config                                        as configured: [config] files names files of this host
  pgkeep restore latest --type config --output - | tar tv     what is in the newest")]
    Config,
}

/// Which backups are meant.
#[derive(Clone, Debug, Default, Args)]
pub struct Filters {
    /// Only backups of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = ["full", "config"])]
    pub backup_type: Option<String>,
    /// Only backups of this database
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Only backups of this status
    #[arg(long, value_name = "STATUS", value_parser =
        ["in_progress", "completed", "verified", "degraded", "failed", "expired"])]
    pub status: Option<String>,
    /// Only backups begun since then: an age (`7d`), a date (`2026-11-01`) or a time (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
}

/// `pgkeep list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pgkeep list --database shop --since 7d
  pgkeep list --status failed --json
  pgkeep list --from r2")]
pub struct List {
    /// Which backups.
    #[command(flatten)]
    pub filters: Filters,
    /// List by the manifests in this store; no catalog is asked
    #[arg(long, value_name = "STORE")]
    pub from: Option<String>,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// `pgkeep verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Levels, each with all that the ones before it prove:
  stat      artifact and manifest are there, with size and ETag; no download
  checksum  every byte was read, and the SHA-256 is right; needs no key
  content   the artifact opens, and pg_restore reads the dump to its end
  restore   it restores, and the scratch database is what the source was

Examples:
  pgkeep verify latest
  pgkeep verify latest --database shop --level restore
  pgkeep verify full-shop-20261122T020000Z-3f9a --repair || echo 'a copy is not what it was'
  pgkeep verify --all --max-bytes 200G --max-time 3h --quiet")]
#[command(group = clap::ArgGroup::new("which").required(true).args(["id", "all"]))]
pub struct Verify {
    /// The id of a backup, any unique prefix of it, or `latest`
    #[arg(value_name = "ID|latest")]
    pub id: Option<String>,
    /// Verify every backup of the source, the one first whose check is the oldest, and look for what the
    /// catalog does not know
    #[arg(long)]
    pub all: bool,
    /// How deep to look [default: checksum]
    #[arg(long, value_name = "LEVEL", value_parser = ["stat", "checksum", "content", "restore"])]
    pub level: Option<String>,
    /// Look at the copy in this store only; may be given several times
    #[arg(long = "store", value_name = "NAME")]
    pub stores: Vec<String>,
    /// Make each copy that is damaged or missing again from one that passes
    #[arg(long)]
    pub repair: bool,
    /// Restore into a scratch database on this server: code that stands in the dump runs there with that role's
    /// rights [default: a server of its own, started for it and confined]
    #[arg(long, value_name = "URL")]
    pub scratch: Option<String>,
    /// With --all: begin no backup that would read more than so many bytes (`500M`, `2T`) in all
    #[arg(long, value_name = "SIZE", conflicts_with = "id")]
    pub max_bytes: Option<String>,
    /// With --all: begin no backup after so long (`90m`, `3h`)
    #[arg(long, value_name = "TIME", conflicts_with = "id")]
    pub max_time: Option<String>,
    /// What `latest` and --all choose from.
    #[command(flatten)]
    pub filters: Filters,
}

/// `pgkeep prune`.
#[derive(Debug, Args)]
#[command(after_help = "\
What never goes: the newest verified backup of a database, the newest `min_keep`
verified copies in a store, what is pinned or locked, and anything at all of a
database whose newest run failed or has not ended.

Examples:
  pgkeep prune --dry-run              what would go, and why each of the others stays
  pgkeep prune --quiet                from cron: silent on success
  pgkeep prune --database shop --store local")]
pub struct Prune {
    /// Show the plan with its reasons, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Carry out a plan that removes more than half of a store's copies
    #[arg(long, conflicts_with = "dry_run")]
    pub force: bool,
    /// Remove copies of a database though its newest run failed
    #[arg(long)]
    pub even_if_failing: bool,
    /// Only copies of this database; may be given several times
    #[arg(long = "database", value_name = "NAME")]
    pub databases: Vec<String>,
    /// Only copies in this store; may be given several times
    #[arg(long = "store", value_name = "NAME")]
    pub stores: Vec<String>,
}

/// `pgkeep pin`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pgkeep pin latest --database shop --until 90d
  pgkeep pin full-shop-20261122T020000Z-3f9a")]
pub struct Pin {
    /// The id of a backup, any unique prefix of it, or `latest`
    #[arg(value_name = "ID|latest")]
    pub id: String,
    /// Until then: an age from now on (`90d`), a date (`2027-01-01`) or a time (RFC 3339) [default: for good]
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// What `latest` is chosen from.
    #[command(flatten)]
    pub filters: Filters,
}

/// `pgkeep unpin`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pgkeep unpin full-shop-20261122T020000Z-3f9a")]
pub struct Unpin {
    /// The id of a backup, any unique prefix of it, or `latest`
    #[arg(value_name = "ID|latest")]
    pub id: String,
    /// What `latest` is chosen from.
    #[command(flatten)]
    pub filters: Filters,
}

/// `pgkeep catalog`.
#[derive(Debug, Subcommand)]
pub enum Catalog {
    /// Write the rows again that the manifests in stores tell of; takes nothing away
    #[command(after_help = "\
Examples:
  pgkeep catalog rebuild --from r2
  pgkeep catalog rebuild --from local --from r2 --from b2")]
    Rebuild {
        /// Read the manifests in this store; may be given several times
        #[arg(long, value_name = "STORE", required = true)]
        from: Vec<String>,
        /// Put this backup on record as well, although a key proves it that was rotated out before it began, or its
        /// time stamp is ahead of the clock; may be given several times
        #[arg(long, value_name = "ID")]
        accept: Vec<String>,
    },
}

/// `pgkeep key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key in a new file of mode 0600; prints its id
    #[command(after_help = "Example:\n  pgkeep key new --output /etc/pgkeep/pgkeep.key")]
    New {
        /// The file to make; an existing one is never overwritten
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Print the id of the key in a file
    #[command(after_help = "Example:\n  pgkeep key show /etc/pgkeep/pgkeep.key")]
    Show {
        /// A key file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}
