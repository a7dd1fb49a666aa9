//! `pgkeep list`: what there is.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::clock::now;
use super::context::Context;
use super::inventory::{self, Orphan};
use super::output::printable;
use super::select;
use super::trust::Trust;
use crate::backup::{Backup, CheckLevel, CopyState, RUN, Status};
use crate::catalog::query::Filter;
use crate::cli;
use crate::exit::{Code, Failure, shown};

pub(super) fn run(context: &Context, flags: &cli::List) -> Result<Code> {
    let wanted = Filter { limit: Some(flags.limit), ..select::filter(&flags.filters, now())? };
    let (backups, code) = match flags.from.as_deref() {
        Some(name) => in_store(context, name, &wanted)?,
        None => (context.catalog()?.list(&wanted)?, Code::Done),
    };
    let backups = by_run(backups);
    context.out.json(&backups)?;
    if backups.is_empty() {
        context.out.line("no backups")?;
    } else {
        context.out.line(&table(&backups))?;
    }
    Ok(code)
}

/// What the manifests in a store tell of.
fn in_store(context: &Context, name: &str, wanted: &Filter) -> Result<(Vec<Backup>, Code)> {
    if wanted.status.is_some_and(|status| !matches!(status, Status::Completed | Status::Degraded)) {
        let what = "a manifest does not know how its backup stands now: `--status` needs the catalog";
        return Err(Failure::usage(what).hint("leave --status or --from out").into());
    }
    let configured_stores = context.configured_stores()?;
    let configured = select::configured(&configured_stores, name)?;
    let is_key_there = context.config.encryption.key_file.try_exists().unwrap_or(true);
    let ring = is_key_there.then(|| context.existing_keys()).transpose()?;
    if ring.is_none() {
        log::warn!("there is no key at hand: the manifests in `{name}` were read, not proven");
    }
    let inventory = inventory::read(configured, ring.as_ref(), wanted, None, &mut Trust::at(now()))?;
    inventory.orphans.warn();
    inventory.notes.iter().for_each(Orphan::warn);
    let is_clean = inventory.orphans.is_empty() && ring.is_some();
    let mut backups = inventory.backups;
    backups.extend(inventory.doubtful);
    backups.sort_by(|one, other| (other.created_at, &other.id).cmp(&(one.created_at, &one.id)));
    backups.truncate(wanted.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
    Ok((backups, if is_clean { Code::Done } else { Code::Degraded }))
}

/// What one call made stands together, the newest call first.
fn by_run(backups: Vec<Backup>) -> Vec<Backup> {
    let mut runs: Vec<Vec<Backup>> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for backup in backups {
        let run = backup.metadata_str(RUN).unwrap_or(backup.id.as_str()).to_owned();
        let at = *known.entry(run).or_insert(runs.len());
        match runs.get_mut(at) {
            Some(run) => run.push(backup),
            None => runs.push(vec![backup]),
        }
    }
    runs.into_iter().flatten().collect()
}

fn table(backups: &[Backup]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let sources: BTreeSet<&str> = backups.iter().map(|backup| backup.source.as_str()).collect();
    let has_pins = backups.iter().any(|backup| backup.pinned_at.is_some());
    table.set_header(
        ["ID", "STATUS", "BEGUN (UTC)", "SIZE", "SAVED", "TOOK", "CHECKED (UTC)", "COPIES"]
            .into_iter()
            .chain(has_pins.then_some("PINNED"))
            .chain((sources.len() > 1).then_some("SOURCE")),
    );
    for backup in backups {
        let begun = backup.created_at.strftime("%Y-%m-%d %H:%M").to_string();
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let source = (sources.len() > 1).then(|| Cell::new(shown(&backup.source)));
        let cells = [
            Cell::new(&backup.id),
            Cell::new(backup.status.as_str()),
            Cell::new(begun),
            right(backup.size_bytes.map_or_else(none, |size| indicatif::HumanBytes(size).to_string())),
            right(backup.compression_ratio.map_or_else(none, |share| format!("{:.0} %", share * 100.0))),
            right(backup.backup_duration_seconds.map_or_else(none, took)),
            Cell::new(checked(backup)),
            Cell::new(printable(&copies(backup))),
        ];
        let pinned = has_pins.then(|| Cell::new(pinned(backup)));
        table.add_row(cells.into_iter().chain(pinned).chain(source));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    // The table pads each cell on both sides; what stands first needs none.
    lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn none() -> String {
    "-".to_owned()
}

fn took(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let minutes = (seconds / 60.0).floor();
    if minutes < 60.0 {
        return format!("{minutes:.0} m {:.0} s", (seconds - minutes * 60.0).floor());
    }
    let hours = (minutes / 60.0).floor();
    format!("{hours:.0} h {:.0} m", minutes - hours * 60.0)
}

/// When the copy whose check is the oldest was checked, and the shallowest level among them.
fn checked(backup: &Backup) -> String {
    let kept = backup.copies.iter().filter(|copy| copy.state.is_published());
    let checks: Option<Vec<(Timestamp, CheckLevel)>> = kept
        .map(|copy| Some((copy.verified_at?, CheckLevel::parse(copy.verified_level.as_deref()?)?)))
        .collect();
    let checks = checks.unwrap_or_default();
    let oldest = checks.iter().map(|(at, _)| at).min();
    let shallowest = checks.iter().map(|(_, level)| level).min();
    match oldest.zip(shallowest) {
        Some((at, level)) => format!("{} {}", at.strftime("%Y-%m-%d %H:%M"), level.as_str()),
        None => none(),
    }
}

/// Until when somebody wants it kept.
fn pinned(backup: &Backup) -> String {
    match (backup.pinned_at, backup.pinned_until) {
        (None, _) => none(),
        (Some(_), None) => "for good".to_owned(),
        (Some(_), Some(until)) => format!("until {}", until.strftime("%Y-%m-%d")),
    }
}

/// Each store's name, with a word where its copy is not verified or its store locks it.
fn copies(backup: &Backup) -> String {
    if backup.copies.is_empty() {
        return none();
    }
    let now = now();
    let words = backup.copies.iter().map(|copy| {
        let state = (copy.state != CopyState::Verified).then(|| copy.state.as_str().to_owned());
        let is_kept = copy.state.is_published();
        let locked = copy.locked_until.filter(|until| is_kept && *until > now);
        let locked = locked.map(|until| format!("locked until {}", until.strftime("%Y-%m-%d")));
        let more: Vec<String> = state.into_iter().chain(locked).collect();
        if more.is_empty() { copy.store.clone() } else { format!("{} ({})", copy.store, more.join(", ")) }
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::took;

    #[test]
    fn durations_read_well() {
        assert_eq!(took(4.26), "4.3 s");
        assert_eq!(took(61.0), "1 m 1 s");
        assert_eq!(took(7260.0), "2 h 1 m");
    }
}
