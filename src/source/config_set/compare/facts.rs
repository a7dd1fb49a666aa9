//! What a config set says, fact by fact, so that two can be compared.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use super::roles::{self, PASSWORD};
use super::{Fact, Place, Section};
use crate::source::config_set::contents::{EXTENSIONS_OF, SERVERS_FILES};
use crate::source::config_set::{DATABASES, Document, GLOBALS, HBA, Notes, SERVER_FILES, SETTINGS};
use crate::source::globals::script::is_secret;

/// How an extension of a database begins.
const EXTENSION: &str = "extension ";
/// Options of a rule whose value is a secret.
const SECRET_OPTIONS: [&str; 2] = ["ldapbindpasswd", "radiussecrets"];
/// What a database is, beside its extensions and settings; its size changes by itself.
const OF_DATABASE: [&str; 11] = [
    "is_template",
    "owner",
    "encoding",
    "collate",
    "ctype",
    "provider",
    "locale",
    "tablespace",
    "connection_limit",
    "allows_connections",
    "acl",
];
/// What most databases are.
const USUAL: [(&str, &str); 3] =
    [("is_template", "false"), ("connection_limit", "-1"), ("allows_connections", "true")];

/// A rule of `pg_hba.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// As it may be shown.
    pub(super) shown: String,
    /// All of it.
    raw: String,
}

/// All that is known of one side.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub(super) by_place: BTreeMap<Place, Fact>,
    pub(super) rules: Vec<Rule>,
    /// What it says anything of.
    pub(super) known: BTreeSet<Section>,
    /// What of that it does not know all of.
    limits: Vec<Limit>,
}

/// What whoever made a set was not allowed to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    Settings,
    Passwords,
    ServerFiles,
    Extensions,
}

impl Limit {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings that only some roles may see",
            Self::Passwords => "passwords",
            Self::ServerFiles => "files of the server that could not be read",
            Self::Extensions => "extensions of databases that could not be asked",
        }
    }

    /// Whether that is what it hides.
    fn hides(self, place: &Place) -> bool {
        let property = place.property.as_deref().unwrap_or_default();
        match self {
            Self::Settings => place.section == Section::Settings,
            Self::Passwords => place.section == Section::Roles && property == PASSWORD,
            Self::ServerFiles => is_server_file(place),
            Self::Extensions => place.section == Section::Databases && property.starts_with(EXTENSION),
        }
    }
}

fn is_server_file(place: &Place) -> bool {
    let folder = place.name.strip_prefix(SERVER_FILES);
    place.section == Section::Files && folder.is_some_and(|rest| rest.starts_with('/'))
}

/// A file, a folder or a link, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFact {
    /// Its name in the set.
    pub name: String,
    /// The SHA-256 of a file.
    pub digest: Option<String>,
    /// Where a link leads.
    pub target: Option<String>,
    /// Owner and mode, where they are known.
    pub manner: Option<String>,
}

impl Facts {
    /// What the documents say.
    ///
    /// # Errors
    /// When one that is always there is missing, or is damaged.
    pub fn of(documents: &[Document], notes: &Notes) -> Result<Self> {
        let mut facts = Self { limits: limits(notes), ..Self::default() };
        let bytes = |name: &str| {
            documents.iter().find(|document| document.name == name).map(|document| document.bytes.as_slice())
        };
        let needed = |name: &str| bytes(name).with_context(|| format!("there is no `{name}` in it"));
        let read = |name: &str, bytes: &[u8]| -> Result<Value> {
            serde_json::from_slice(bytes).with_context(|| format!("`{name}` in it is damaged"))
        };
        facts.settings(&read(SETTINGS, needed(SETTINGS)?)?);
        facts.databases(&read(DATABASES, needed(DATABASES)?)?);
        roles::add(&mut facts, &String::from_utf8_lossy(needed(GLOBALS)?))?;
        facts.known.extend([
            Section::Server,
            Section::Settings,
            Section::Databases,
            Section::Roles,
            Section::Tablespaces,
        ]);
        if let Some(rules) = bytes(HBA) {
            facts.rules = read(HBA, rules)?.as_array().into_iter().flatten().map(rule).collect();
            facts.known.insert(Section::Hba);
        }
        Ok(facts)
    }

    /// Adds files, folders and links.
    pub fn add_files(&mut self, files: impl IntoIterator<Item = FileFact>) {
        self.known.insert(Section::Files);
        for file in files {
            let value = file.target.as_ref().map(|target| format!("a link to {target}"));
            let value = value.or_else(|| file.digest.clone()).unwrap_or_else(|| "a folder".to_owned());
            self.add(Section::Files, &file.name, None, &value, file.digest.is_some());
            if let Some(manner) = file.manner {
                self.add(Section::Files, &file.name, Some("owner and mode"), &manner, false);
            }
        }
    }

    /// Leaves out the files of the host, of which the other side knows nothing.
    pub fn keep_server_files(&mut self) {
        let is_kept = |place: &Place| is_server_file(place) && place.property.is_none();
        self.by_place.retain(|place, _| place.section != Section::Files || is_kept(place));
    }

    /// Whether something may be there that it does not know of.
    pub(super) fn may_hide(&self, place: &Place) -> bool {
        self.limits.iter().any(|limit| limit.hides(place))
    }

    /// What it does not know all of.
    pub(super) fn limits(&self) -> &[Limit] {
        &self.limits
    }

    pub(super) fn add(
        &mut self,
        section: Section,
        name: &str,
        property: Option<&str>,
        value: &str,
        is_secret: bool,
    ) {
        let place = Place { section, name: name.to_owned(), property: property.map(str::to_owned) };
        // Two of a kind, such as a membership that two others granted.
        let fact = self.by_place.entry(place).or_insert(Fact { value: String::new(), is_secret });
        if !fact.value.is_empty() {
            fact.value.push_str("; ");
        }
        fact.value.push_str(value);
        fact.is_secret |= is_secret;
    }

    /// All that is known of a thing, in one line.
    pub(super) fn summary(&self, place: &Place) -> Option<String> {
        let parts = self.by_place.iter().filter(|(part, _)| {
            part.section == place.section && part.name == place.name && part.property.is_some()
        });
        let parts: Vec<String> = parts
            .map(|(part, fact)| {
                let property = part.property.as_deref().unwrap_or_default();
                fact.shown().map_or_else(|| property.to_owned(), |value| format!("{property} {value}"))
            })
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn settings(&mut self, settings: &Value) {
        for setting in settings.as_array().into_iter().flatten() {
            let Some(name) = setting.get("name").and_then(Value::as_str) else { continue };
            let value = text(setting.get("setting"));
            let unit = text(setting.get("unit"));
            let hidden = is_secret(name, &value);
            // "8kB" is a unit as well.
            let value = if unit.starts_with(|c: char| c.is_ascii_digit()) {
                format!("{value} x {unit}")
            } else {
                format!("{value}{unit}")
            };
            self.add(Section::Settings, name, None, &value, hidden);
        }
    }

    fn databases(&mut self, document: &Value) {
        for property in ["server_version", "data_checksums"] {
            self.add(Section::Server, property, None, &text(document.get(property)), false);
        }
        // What `pg_dumpall` leaves out.
        for setting in document.get("settings_of_all_roles").and_then(Value::as_array).into_iter().flatten() {
            let setting = text(Some(setting));
            let (key, value) = setting.split_once('=').unwrap_or((&setting, ""));
            self.add(Section::Roles, "ALL", Some(&format!("setting {key}")), value, is_secret(key, value));
        }
        let databases = document.get("databases").and_then(Value::as_array);
        for database in databases.into_iter().flatten() {
            let Some(name) = database.get("name").and_then(Value::as_str) else { continue };
            self.add(Section::Databases, name, None, "", false);
            for property in OF_DATABASE {
                let value = text(database.get(property));
                if !value.is_empty() && !USUAL.contains(&(property, value.as_str())) {
                    self.add(Section::Databases, name, Some(property), &value, false);
                }
            }
            for extension in database.get("extensions").and_then(Value::as_array).into_iter().flatten() {
                let property = format!("{EXTENSION}{}", text(extension.get("name")));
                self.add(Section::Databases, name, Some(&property), &text(extension.get("version")), false);
            }
            for of_role in database.get("settings").and_then(Value::as_array).into_iter().flatten() {
                let role = of_role.get("role").and_then(Value::as_str);
                let of = role.map_or_else(String::new, |role| format!(" for {role}"));
                for setting in of_role.get("settings").and_then(Value::as_array).into_iter().flatten() {
                    let setting = text(Some(setting));
                    let (key, value) = setting.split_once('=').unwrap_or((&setting, ""));
                    let property = format!("setting {key}{of}");
                    let hidden = is_secret(key, value);
                    self.add(Section::Databases, name, Some(&property), value, hidden);
                }
            }
        }
    }
}

fn limits(notes: &Notes) -> Vec<Limit> {
    let has_unread = |start: &str| notes.unread.iter().any(|what| what.starts_with(start));
    let all = [
        (Limit::Settings, notes.hides_settings),
        (Limit::Passwords, !notes.has_passwords),
        (Limit::ServerFiles, has_unread("/") || has_unread(SERVERS_FILES)),
        (Limit::Extensions, has_unread(EXTENSIONS_OF)),
    ];
    all.into_iter().filter(|(_, is_so)| *is_so).map(|(limit, _)| limit).collect()
}

/// A rule as it would be written, by the columns of `pg_hba_file_rules`.
fn rule(row: &Value) -> Rule {
    let list = |name: &str| {
        let list = row.get(name).and_then(Value::as_array).into_iter().flatten();
        list.map(|item| text(Some(item))).collect::<Vec<_>>()
    };
    let mut parts = vec![
        text(row.get("type")),
        list("database").join(","),
        list("user_name").join(","),
        text(row.get("address")),
        text(row.get("netmask")),
        text(row.get("auth_method")),
    ];
    let mut raw = parts.clone();
    for option in list("options") {
        let (key, _) = option.split_once('=').unwrap_or((&option, ""));
        let is_hidden = SECRET_OPTIONS.contains(&key) || is_secret(key, "");
        parts.push(if is_hidden { format!("{key}=(hidden)") } else { option.clone() });
        raw.push(option);
    }
    let error = text(row.get("error"));
    if !error.is_empty() {
        parts.push(format!("(error: {error})"));
        raw.push(error);
    }
    let join =
        |parts: Vec<String>| parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    Rule { shown: join(parts), raw: join(raw) }
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
