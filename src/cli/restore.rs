//! The flags of what brings backups back, and of what compares them.

use std::path::PathBuf;

use clap::Args;

use super::Filters;

/// `pgkeep restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  createdb shop_again && pgkeep restore latest --database shop --into postgresql:///shop_again
  pgkeep restore latest --into postgresql://db2/postgres --create --jobs 4
  pgkeep restore latest --into postgresql:///shop --clean --schema sales --table orders
  pgkeep restore full-shop-2026 --output shop.dump && pg_restore --list shop.dump
  pgkeep restore latest --from b2 --into 'host=db2 dbname=shop' --clean
  pgkeep restore latest --type config --list
  pgkeep restore latest --type config --output /root/lost-host
  pgkeep restore latest --globals --into postgresql:///postgres --dry-run")]
#[command(group = clap::ArgGroup::new("target").required(true).args(["into", "output", "list"]))]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Restore {
    /// The id of a backup, any unique prefix of it, or `latest`
    #[arg(value_name = "ID|latest")]
    pub id: String,
    /// Restore into this database through pg_restore; it must exist, and be empty unless --clean is given. Code that
    /// stands in the dump runs there with that role's rights
    #[arg(long, value_name = "URL")]
    pub into: Option<String>,
    /// Write the plain pg_dump archive into this new file; of a config backup all that is in it into this new or empty
    /// folder, and nothing anywhere else (`-` for stdout: of a config backup a tar archive)
    #[arg(long, value_name = "FILE|DIR")]
    pub output: Option<PathBuf>,
    /// Show what is in a config backup: each file with its owner, mode, size and time
    #[arg(long, conflicts_with_all = ["into", "output"])]
    pub list: bool,
    /// Make the roles, memberships and tablespaces of a config backup in the cluster that --into names a database of;
    /// those that are there are left as they are, and named
    #[arg(long, requires = "into")]
    #[arg(conflicts_with_all =
        ["create", "clean", "jobs", "tables", "schemas", "schema_only", "data_only", "no_owner", "role"])]
    pub globals: bool,
    /// With --globals: show the SQL, passwords left out, and run none of it
    #[arg(long, requires = "globals")]
    pub dry_run: bool,
    /// Make the database of the dump's own name, by way of the one that --into names; with --clean one of that
    /// name is dropped first
    #[arg(long, requires = "into", conflicts_with = "output")]
    pub create: bool,
    /// Drop what the dump has before it is made anew, all in one transaction (with --jobs: up to the first
    /// error)
    #[arg(long, requires = "into", conflicts_with = "output")]
    pub clean: bool,
    /// Restore on so many sessions at once; the dump is put into a temporary file first ($TMPDIR, or /var/tmp)
    #[arg(long, value_name = "N", requires = "into", conflicts_with = "output")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub jobs: Option<u16>,
    /// Only this table, view or sequence, named as it is, without quotes and schema; like pg_restore, without
    /// its indexes and constraints; may be given several times
    #[arg(long = "table", value_name = "NAME", requires = "into", conflicts_with = "output")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub tables: Vec<String>,
    /// Only what is in this schema, which must exist; may be given several times
    #[arg(long = "schema", value_name = "NAME", requires = "into", conflicts_with = "output")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub schemas: Vec<String>,
    /// Only definitions, no rows
    #[arg(long, requires = "into", conflicts_with = "output")]
    pub schema_only: bool,
    /// Only rows, into tables that are there, in one transaction; not with --jobs, which would load rows before
    /// those that they refer to
    #[arg(long, requires = "into", conflicts_with_all = ["output", "schema_only", "clean", "create", "jobs"])]
    pub data_only: bool,
    /// Leave ownership and grants out: all belongs to the role that connects
    #[arg(long, requires = "into", conflicts_with = "output")]
    pub no_owner: bool,
    /// Do it as this role, which the one that connects must be a member of
    #[arg(long, value_name = "NAME", requires = "into", conflicts_with = "output")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub role: Option<String>,
    /// Read the copy in this store alone, which is found by the manifests there; no catalog is asked
    /// [default: the first whole copy on record, and the next where that breaks]
    #[arg(long, value_name = "STORE")]
    pub from: Option<String>,
    /// What `latest` is chosen from.
    #[command(flatten)]
    pub filters: Filters,
}

/// `pgkeep diff`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exits with 0 whether anything changed or not. What may be secret is shown as changed, and no more.

Examples:
  pgkeep diff latest                       the newest config backup, and the server as it is now
  pgkeep diff config-cluster-20261121 config-cluster-20261122
  pgkeep diff config-cluster-20261121 latest --json")]
pub struct Diff {
    /// The id of a config backup, any unique prefix of it, or `latest`
    #[arg(value_name = "ID|latest")]
    pub before: String,
    /// The one to compare it with [default: the server as it is now]
    #[arg(value_name = "ID|latest")]
    pub after: Option<String>,
    /// Read the copies in this store alone, which are found by the manifests there; no catalog is asked
    #[arg(long, value_name = "STORE")]
    pub from: Option<String>,
}
