//! What differs between two config sets, or between one and a server: settings, roles, rules of `pg_hba.conf`, databases
//! and files. What may be secret is known to have changed, and never shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

mod facts;
mod roles;

pub use facts::{Facts, FileFact};

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// The server's version, and whether its pages have checksums.
    Server,
    /// Settings of the server.
    Settings,
    /// Roles, memberships, what they may do with parameters.
    Roles,
    /// Tablespaces.
    Tablespaces,
    /// The rules of `pg_hba.conf`.
    Hba,
    /// Databases and their extensions.
    Databases,
    /// Files.
    Files,
}

impl Section {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Settings => "settings",
            Self::Roles => "roles",
            Self::Tablespaces => "tablespaces",
            Self::Hba => "hba",
            Self::Databases => "databases",
            Self::Files => "files",
        }
    }
}

/// How something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// It was there before alone.
    Removed,
    /// It is there afterwards alone.
    Added,
    /// It is another one.
    Changed,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is about.
    pub section: Section,
    /// The setting, role, tablespace, database, file or rule.
    pub name: String,
    /// What of it; nothing where it is all of it.
    pub property: Option<String>,
    /// How it differs.
    pub how: How,
    /// What it was, where that may be shown.
    pub before: Option<String>,
    /// What it is, where that may be shown.
    pub after: Option<String>,
    /// Whether what it was and is may not be shown.
    pub is_secret: bool,
}

/// Where a fact stands: its name, and what of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    section: Section,
    name: String,
    /// Nothing for the thing itself.
    property: Option<String>,
}

/// What is known of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fact {
    value: String,
    is_secret: bool,
}

impl Fact {
    fn shown(&self) -> Option<String> {
        (!self.is_secret && !self.value.is_empty()).then(|| self.value.clone())
    }
}

/// Every difference, by what it is about and by name. What only one side knows anything of is no difference.
#[must_use]
pub fn changes(before: &Facts, after: &Facts) -> Vec<Change> {
    let both: BTreeSet<Section> = before.known.intersection(&after.known).copied().collect();
    let places: BTreeSet<&Place> = before.by_place.keys().chain(after.by_place.keys()).collect();
    let mut found: Vec<Change> = Vec::new();
    for place in places.into_iter().filter(|place| both.contains(&place.section)) {
        let whole = Place { property: None, ..place.clone() };
        let (was, is) = (before.by_place.get(place), after.by_place.get(place));
        // What is gone or new as a whole is told once, with all that is known of it.
        let is_part = place.property.is_some();
        let has_whole = |facts: &BTreeMap<Place, Fact>| facts.contains_key(&whole);
        let is_known_whole = has_whole(&before.by_place) || has_whole(&after.by_place);
        if is_part && is_known_whole && has_whole(&before.by_place) != has_whole(&after.by_place) {
            continue;
        }
        let how = match (was, is) {
            (Some(was), Some(is)) if was.value == is.value => continue,
            (None, _) if before.may_hide(place) => continue,
            (_, None) if after.may_hide(place) => continue,
            (Some(_), Some(_)) => How::Changed,
            (Some(_), None) => How::Removed,
            (None, _) => How::Added,
        };
        let summary = |facts: &Facts, fact: Option<&Fact>| {
            let fact = fact?;
            if is_part { fact.shown() } else { fact.shown().or_else(|| facts.summary(place)) }
        };
        let is_secret = was.into_iter().chain(is).any(|fact| fact.is_secret);
        let (shown_before, shown_after) =
            if is_secret { (None, None) } else { (summary(before, was), summary(after, is)) };
        found.push(Change {
            section: place.section,
            name: place.name.clone(),
            property: place.property.clone(),
            how,
            before: shown_before,
            after: shown_after,
            is_secret,
        });
    }
    if both.contains(&Section::Hba) {
        found.extend(of_rules(&before.rules, &after.rules));
    }
    found.sort_by(|one, other| {
        (one.section, &one.name, &one.property).cmp(&(other.section, &other.name, &other.property))
    });
    found
}

/// Rules of `pg_hba.conf`: the first that fits decides, so their order is one of them.
fn of_rules(before: &[facts::Rule], after: &[facts::Rule]) -> Vec<Change> {
    let mut gone: Vec<&facts::Rule> = before.iter().collect();
    let mut new: Vec<&facts::Rule> = Vec::new();
    for rule in after {
        match gone.iter().position(|old| *old == rule) {
            Some(at) => drop(gone.remove(at)),
            None => new.push(rule),
        }
    }
    let change = |name: &str, how: How, is_secret: bool| Change {
        section: Section::Hba,
        name: name.to_owned(),
        property: None,
        how,
        before: None,
        after: None,
        is_secret,
    };
    let mut found = Vec::new();
    if common(before, after) != common(after, before) {
        found.push(change("the order of the rules", How::Changed, false));
    }
    gone.retain(|old| {
        // The same but for what may not be shown.
        let Some(at) = new.iter().position(|rule| rule.shown == old.shown) else { return true };
        found.push(change(&new.remove(at).shown, How::Changed, true));
        false
    });
    found.extend(gone.iter().map(|rule| change(&rule.shown, How::Removed, false)));
    found.extend(new.iter().map(|rule| change(&rule.shown, How::Added, false)));
    found
}

/// The rules that others are among, in their order, each as often as it is there.
fn common<'a>(rules: &'a [facts::Rule], others: &[facts::Rule]) -> Vec<&'a facts::Rule> {
    let mut left: Vec<&facts::Rule> = others.iter().collect();
    let is_there = |rule: &&facts::Rule| {
        let at = left.iter().position(|other| other == rule);
        at.map(|at| left.remove(at)).is_some()
    };
    rules.iter().filter(is_there).collect()
}

/// What could not be compared, since one side does not know it.
#[must_use]
pub fn not_compared(before: &Facts, after: &Facts) -> Vec<String> {
    let one_knows = before.known.symmetric_difference(&after.known);
    let sections = one_knows.map(|section| match section {
        Section::Hba => "rules of pg_hba.conf".to_owned(),
        section => section.as_str().to_owned(),
    });
    let limits: BTreeSet<_> = before.limits().iter().chain(after.limits()).collect();
    sections.chain(limits.into_iter().map(|limit| limit.as_str().to_owned())).collect()
}
