//! `pgkeep diff`: what changed between two config backups, or between one and the server as it is now.

use std::fs::File;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::context::Context;
use super::gather::gather;
use super::restore;
use crate::backup::Backup;
use crate::cli;
use crate::exit::{Code, Failure};
use crate::key::hex;
use crate::source::config_set::compare::{Change, Facts, FileFact, How, Section, changes, not_compared};
use crate::source::config_set::entries::{self, Entry};
use crate::source::config_set::{DATABASES, Document, FILES, GLOBALS, HBA, NOTES, SERVER_FILES, SETTINGS};

/// How the server is called in `--json`.
const SERVER: &str = "server";

pub(super) fn run(context: &Context, flags: &cli::Diff) -> Result<Code> {
    let from = flags.from.as_deref();
    let (before, mut was) = of_backup(context, &flags.before, from)?;
    let (after, is) = if let Some(id) = &flags.after {
        let (backup, facts) = of_backup(context, id, from)?;
        (Some(backup), facts)
    } else {
        was.keep_server_files();
        (None, of_server(context)?)
    };
    let (found, not_compared) = (changes(&was, &is), not_compared(&was, &is));
    let after_id = after.as_ref().map_or(SERVER, |backup| backup.id.as_str());
    context.out.json(&json!({
        "before": before.id, "after": after_id, "changes": found, "not_compared": not_compared
    }))?;
    context.out.line(&text(&before, after.as_ref(), &found))?;
    not_compared.iter().try_for_each(|what| context.out.line(&format!("not compared: {what}")))?;
    Ok(Code::Done)
}

fn of_backup(context: &Context, id: &str, from: Option<&str>) -> Result<(Backup, Facts)> {
    let (backup, mut archive) = restore::config_set(context, id, from)?;
    let facts = facts(&mut archive).map_err(|error| restore::unsound(error, &backup))?;
    Ok((backup, facts))
}

fn facts(archive: &mut File) -> Result<Facts> {
    // Nothing is taken from an archive that holds what pgkeep does not put in.
    let names = entries::list(archive)?;
    entries::ensure_complete(&names)?;
    let is_there = |name: &str| names.iter().any(|entry| entry.path.as_os_str() == name);
    let mut documents = Vec::new();
    for name in [GLOBALS, SETTINGS, DATABASES, HBA] {
        if is_there(name) {
            let bytes = entries::document(archive, name)?;
            documents.push(Document { name: name.to_owned(), bytes });
        }
    }
    let notes = serde_json::from_slice(&entries::document(archive, NOTES)?)?;
    let mut facts = Facts::of(&documents, &notes)?;
    facts
        .add_files(entries::digests(archive)?.into_iter().filter_map(|(entry, digest)| file(&entry, digest)));
    Ok(facts)
}

/// What is compared of a file of the server or the host.
fn file(entry: &Entry, digest: Option<String>) -> Option<FileFact> {
    let name = entry.path.to_string_lossy().into_owned();
    let is_in = |folder: &str| entry.path.starts_with(folder);
    let owner = |name: &Option<String>, number: u32| name.clone().unwrap_or_else(|| number.to_string());
    let (user, group) = (owner(&entry.user, entry.uid), owner(&entry.group, entry.gid));
    // What the server read has neither.
    let manner = is_in(FILES).then(|| format!("{user}:{group} {:04o}", entry.mode));
    let target = entry.target.as_ref().map(|target| target.to_string_lossy().into_owned());
    (is_in(FILES) || is_in(SERVER_FILES)).then_some(FileFact { name, digest, target, manner })
}

fn of_server(context: &Context) -> Result<Facts> {
    let (documents, notes) = gather(context).context(Failure::failed("the server can't be compared with"))?;
    let mut facts = Facts::of(&documents, &notes)?;
    let files = documents.iter().filter(|it| it.name.starts_with(&format!("{SERVER_FILES}/")));
    facts.add_files(files.map(|file| FileFact {
        name: file.name.clone(),
        digest: Some(digest(&file.bytes)),
        target: None,
        manner: None,
    }));
    Ok(facts)
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex(sha2::Sha256::digest(bytes).as_slice())
}

fn text(before: &Backup, after: Option<&Backup>, found: &[Change]) -> String {
    let time = |backup: &Backup| backup.created_at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let after = after.map_or_else(
        || "the server as it is now".to_owned(),
        |after| format!("{} ({})", after.id, time(after)),
    );
    let between = format!("{} ({}) and {after}", before.id, time(before));
    if found.is_empty() {
        return format!("nothing differs between {between}");
    }
    let mut lines = vec![format!("between {between}")];
    let mut section: Option<Section> = None;
    for change in found {
        if section.replace(change.section) != Some(change.section) {
            lines.push(format!("{}:", change.section.as_str()));
        }
        lines.push(line(change));
    }
    lines.join("\n")
}

/// One difference: `+ name`, `- name`, `~ name: was -> is`.
fn line(change: &Change) -> String {
    let sign = match change.how {
        How::Added => '+',
        How::Removed => '-',
        How::Changed => '~',
    };
    let of = change.property.as_ref().map_or_else(String::new, |property| format!(", {property}"));
    let what = format!("  {sign} {}{of}", change.name).replace('\n', "\\n");
    let values = match (change.how, &change.before, &change.after) {
        (How::Changed, Some(before), Some(after)) => format!(": {before} -> {after}"),
        (How::Changed, None, Some(after)) => format!(": {after}"),
        (How::Changed, Some(before), None) if !change.is_secret => format!(": no more {before}"),
        (How::Changed, ..) => " changed".to_owned(),
        (_, Some(value), _) | (_, _, Some(value)) => format!(": {value}"),
        _ => String::new(),
    };
    format!("{what}{}", values.replace('\n', "\\n"))
}
