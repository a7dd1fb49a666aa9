//! The fingerprint of a database: what it held when it was dumped, in figures, to be compared with what a
//! restore brings back. Data and comparison only; it knows no connection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Stands among what was skipped for every table and sequence at once. No table has this name.
pub const EVERYTHING: &str = "*";

/// How rows are hashed, on record beside the hashes: SipHash-2-4 with 128 bits of each row in the text format
/// of COPY, its columns in the order of their names, all of them added up. Hashes of another method, or of
/// the server's own function, which older records have without a name, can't be compared with these.
pub const HASH_METHOD: &str = "siphash128-copy-1";

/// How much is taken of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What it takes to make an equal database, and nothing to compare.
    #[default]
    Off,
    /// The rows of each table are counted.
    Counts,
    /// They are hashed too.
    Content,
}

/// What one table holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFigures {
    /// How many rows.
    pub rows: u64,
    /// A hash of all rows, whatever their order; none at [`Level::Counts`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// What a sequence says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceState {
    /// `last_value`; before version 18 a server tells it only of a sequence that has given it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    /// Whether that value was given out already.
    pub is_called: bool,
}

/// Where a sequence stood. `nextval` knows no transactions: a dump has the value of the moment when it
/// looked, which lies between two others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceFigures {
    /// Before the dump looked.
    pub start: SequenceState,
    /// After the dump looked.
    pub end: SequenceState,
    /// What it grows by.
    pub increment: i64,
    /// Whether it begins again after its last value.
    pub is_cycle: bool,
}

/// What it takes to make a database in which a restore comes out equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFigures {
    /// `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// Who compares: `libc`, `icu` or `builtin`.
    pub provider: String,
    /// The locale of a provider other than libc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Rules added to an ICU locale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
}

/// The figures of a database. Names are `schema.table`, each part quoted where SQL needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fingerprint {
    /// How much was taken.
    pub level: Level,
    /// How rows were hashed, where they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_method: Option<String>,
    /// Ordinary tables, partitions among them.
    pub tables: BTreeMap<String, TableFigures>,
    /// Tables and sequences that could not be looked at, and why.
    pub skipped: BTreeMap<String, String>,
    /// Sequences.
    pub sequences: BTreeMap<String, SequenceFigures>,
    /// How many valid indexes.
    pub indexes: u64,
    /// How many checks, keys, foreign keys and exclusions.
    pub constraints: u64,
    /// How many views, materialized ones among them.
    pub views: u64,
    /// How many functions, procedures and aggregates.
    pub functions: u64,
    /// How many large objects.
    pub large_objects: u64,
    /// Installed extensions and their versions.
    pub extensions: BTreeMap<String, String>,
    /// Every role that a dump of it can name.
    pub roles: Vec<String>,
    /// Those of them that are superusers; `None` where that was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superusers: Option<Vec<String>>,
    /// What it takes to make an equal one.
    pub database: DatabaseFigures,
}

impl Fingerprint {
    /// What differs in a restored database: a sentence for each difference, with what is there and what
    /// should be. What was not taken on either side is not compared.
    #[must_use]
    pub fn differences(&self, restored: &Self) -> Vec<String> {
        if self.level == Level::Off || restored.level == Level::Off {
            return Vec::new();
        }
        let mut found = Vec::new();
        if !self.skips(EVERYTHING) && !restored.skips(EVERYTHING) {
            self.compare_tables(restored, &mut found);
            self.compare_sequences(restored, &mut found);
        }
        for (what, wanted, there) in [
            ("indexes", self.indexes, restored.indexes),
            ("constraints", self.constraints, restored.constraints),
            ("views", self.views, restored.views),
            ("functions", self.functions, restored.functions),
            ("large objects", self.large_objects, restored.large_objects),
        ] {
            if wanted != there {
                found.push(format!("it has {there} {what}, not {wanted}"));
            }
        }
        let missing = self.extensions.iter().filter(|(name, _)| !restored.extensions.contains_key(*name));
        found.extend(missing.map(|(name, version)| format!("extension `{name}` ({version}) is missing")));
        found
    }

    /// Whether a table or sequence was not looked at.
    #[must_use]
    pub fn skips(&self, name: &str) -> bool {
        self.skipped.contains_key(name)
    }

    /// Leaves out tables and sequences where the record of them takes more than `limit_bytes`; says whether
    /// it did.
    pub fn fit_into(&mut self, limit_bytes: usize) -> bool {
        // As it stands in a manifest: indented.
        let wrapped = BTreeMap::from([("fingerprint", &*self)]);
        let length = serde_json::to_vec_pretty(&wrapped).map_or(usize::MAX, |bytes| bytes.len());
        if length <= limit_bytes {
            return false;
        }
        let why = format!("{} tables and {} sequences", self.tables.len(), self.sequences.len());
        self.tables.clear();
        self.sequences.clear();
        self.skipped = BTreeMap::from([(EVERYTHING.to_owned(), format!("{why} are too many to record"))]);
        true
    }

    fn compare_tables(&self, restored: &Self, found: &mut Vec<String>) {
        // Other bytes for the same letters, or another method: their hashes say nothing.
        let is_alike =
            self.database.encoding == restored.database.encoding && self.hash_method == restored.hash_method;
        for (name, wanted) in self.tables.iter().filter(|(name, _)| !restored.skips(name)) {
            let Some(there) = restored.tables.get(name) else {
                found.push(format!("table `{name}` is missing: it has {} rows", wanted.rows));
                continue;
            };
            if there.rows != wanted.rows {
                found.push(format!("table `{name}` has {} rows, not {}", there.rows, wanted.rows));
                continue;
            }
            if let (Some(hash), Some(wanted)) = (&there.hash, &wanted.hash)
                && hash != wanted
                && is_alike
            {
                found.push(format!("table `{name}`: its rows differ (hash {hash}, not {wanted})"));
            }
        }
        let more = restored.tables.iter().filter(|(name, _)| !self.tables.contains_key(*name));
        for (name, there) in more.filter(|(name, _)| !self.skips(name)) {
            found.push(format!("table `{name}` is too much: it has {} rows", there.rows));
        }
    }

    fn compare_sequences(&self, restored: &Self, found: &mut Vec<String>) {
        for (name, wanted) in self.sequences.iter().filter(|(name, _)| !restored.skips(name)) {
            match restored.sequences.get(name) {
                None => found.push(format!("sequence `{name}` is missing: it stood {}", wanted.end.words())),
                Some(there) => found.extend(wanted.difference(name, there.end)),
            }
        }
        let more = restored.sequences.keys().filter(|name| !self.sequences.contains_key(*name));
        found.extend(
            more.filter(|name| !self.skips(name)).map(|name| format!("sequence `{name}` is too much")),
        );
    }
}

impl SequenceFigures {
    /// What is wrong with where a restored sequence stands.
    fn difference(&self, name: &str, there: SequenceState) -> Option<String> {
        let (start, end) = (self.start, self.end);
        if start == end {
            let moved = matches!((start.value, there.value), (Some(one), Some(other)) if one != other);
            let wrong = moved || there.is_called != start.is_called;
            return wrong
                .then(|| format!("sequence `{name}` stands {}, not {}", there.words(), start.words()));
        }
        if self.is_cycle {
            return None;
        }
        // What comes next is the one thing that orders `5, given out` and `6, not yet`.
        let next = |state: SequenceState| {
            let step = if state.is_called { i128::from(self.increment) } else { 0 };
            state.value.map(|value| i128::from(value) + step)
        };
        let wrong = match (next(start), next(end), next(there)) {
            (Some(one), Some(other), Some(there)) => !(one.min(other)..=one.max(other)).contains(&there),
            // What has given out nothing stands before all that it gives out.
            (None, Some(end), Some(there)) if self.increment < 0 => there < end,
            (None, Some(end), Some(there)) => there > end,
            (_, None, Some(_)) => false,
            (_, _, None) => start.is_called && end.is_called,
        };
        wrong.then(|| {
            let (there, start, end) = (there.words(), start.words(), end.words());
            format!("sequence `{name}` stands {there}, not between {start} and {end}")
        })
    }
}

impl SequenceState {
    fn words(self) -> String {
        match self.value {
            Some(value) if self.is_called => format!("at {value}"),
            Some(value) => format!("before {value}"),
            None => "at its start".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
