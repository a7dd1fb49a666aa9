//! The file under the state folder that keeps alerts and messages while the catalog is down: what was open when it was
//! last seen, what has come of that since, and what is still to be sent.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::alert_record::{Alert, AlertStatus, Delivery, DeliveryStatus};
use crate::{bounded, files};

/// No file is larger: what is, is something else.
const LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// How long the folder may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpoolFile {
    /// Open alerts, and those that have changed since the catalog was last there.
    pub alerts: Vec<Alert>,
    /// The ids of those that have.
    pub changed: Vec<String>,
    /// Letters that the catalog does not know of.
    pub deliveries: Vec<Delivery>,
}

impl SpoolFile {
    /// Those that are open.
    #[must_use]
    pub fn open(&self, source: &str) -> Vec<Alert> {
        let is_open = |alert: &&Alert| alert.status != AlertStatus::Resolved && alert.source == source;
        self.alerts.iter().filter(is_open).cloned().collect()
    }

    /// Writes an alert over what is known of it.
    pub fn put(&mut self, alert: Alert) {
        if !self.changed.contains(&alert.id) {
            self.changed.push(alert.id.clone());
        }
        self.alerts.retain(|known| known.id != alert.id);
        self.alerts.push(alert);
    }

    /// The alerts that the catalog is to learn of.
    #[must_use]
    pub fn changed(&self) -> Vec<Alert> {
        self.alerts.iter().filter(|alert| self.changed.contains(&alert.id)).cloned().collect()
    }

    /// Whether the catalog of a source is to learn of anything.
    #[must_use]
    pub fn is_behind(&self, source: &str) -> bool {
        let has_changed = self.changed().iter().any(|alert| alert.source == source);
        has_changed || self.deliveries.iter().any(|delivery| delivery.source == source)
    }

    /// The catalog knows of these by now; what is open there takes the place of what is open here.
    pub fn taken(&mut self, taken: &Self, open: Vec<Alert>, source: &str) {
        // What is of another source is for another catalog.
        let is_known = |alert: &Alert| alert.source == source && taken.alerts.contains(alert);
        let left: Vec<Alert> = self.changed().into_iter().filter(|alert| !is_known(alert)).collect();
        self.changed = left.iter().map(|alert| alert.id.clone()).collect();
        let others =
            self.alerts.iter().filter(|alert| alert.source != source && !self.changed.contains(&alert.id));
        let mut alerts: Vec<Alert> = others.cloned().chain(left).collect();
        let has = |alerts: &[Alert], id: &str| alerts.iter().any(|alert| alert.id == id);
        for alert in open {
            if !has(&alerts, &alert.id) {
                alerts.push(alert);
            }
        }
        self.alerts = alerts;
        self.deliveries.retain(|delivery| delivery.source != source || !taken.deliveries.contains(delivery));
    }

    /// Each alert once, as earlier versions did not always keep them.
    fn without_doubles(mut self) -> Self {
        let (mut alerts, mut changed) = (BTreeSet::new(), BTreeSet::new());
        self.alerts.retain(|alert| alerts.insert(alert.id.clone()));
        self.changed.retain(|id| changed.insert(id.clone()));
        self
    }
}

/// The file.
#[derive(Clone, Debug)]
pub struct Spool {
    path: PathBuf,
}

impl Spool {
    /// The file under a state folder.
    #[must_use]
    pub fn under(state_dir: &Path) -> Self {
        Self { path: state_dir.join("alerts.json") }
    }

    /// What it holds; nothing where there is none.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(&self) -> Result<SpoolFile> {
        let path = self.path.clone();
        within(move || {
            if let Some(file) = read_whole(&path)? {
                return Ok(file);
            }
            // Looked at again by whoever alone may change it.
            let lock = lock(&path)?;
            let file = read(&path);
            drop(lock);
            file
        })
    }

    /// Changes what it holds, one caller after the other.
    ///
    /// # Errors
    /// When it can't be read, locked or written.
    pub fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SpoolFile) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let path = self.path.clone();
        within(move || {
            let lock = lock(&path)?;
            let mut file = read(&path)?;
            let before = file.clone();
            let done = work(&mut file)?;
            file.deliveries
                .retain(|delivery| delivery.status == DeliveryStatus::Waiting || delivery.alert().is_some());
            if file != before {
                files::replace_private(&path, &serde_json::to_vec_pretty(&file)?)?;
            }
            drop(lock);
            Ok(done)
        })
    }
}

fn within<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    bounded::within("alerts", PATIENCE, work)
        .map_err(|error| anyhow!("the file of alerts can't be used within {PATIENCE:?}: {error}"))?
}

fn lock(path: &Path) -> Result<File> {
    let folder = path.parent().context("the file of alerts has no folder")?;
    files::create_private_dir(folder)?;
    let lock = path.with_extension("lock");
    let file = files::open_lock(&lock)?;
    file.lock().with_context(|| format!("cannot lock `{}`", lock.display()))?;
    Ok(file)
}

/// What the file holds. One that is damaged is put aside; for whoever has it locked.
fn read(path: &Path) -> Result<SpoolFile> {
    if let Some(file) = read_whole(path)? {
        return Ok(file);
    }
    // It is kept for whoever wants to look, and holds no alert up.
    let aside = path.with_extension("damaged");
    log::warn!("`{}` is damaged, and is put aside as `{}`", path.display(), aside.display());
    std::fs::rename(path, &aside).with_context(|| format!("cannot rename `{}`", path.display()))?;
    Ok(SpoolFile::default())
}

/// What the file holds; `None` where it is damaged.
fn read_whole(path: &Path) -> Result<Option<SpoolFile>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Some(SpoolFile::default()));
        }
        _ => {}
    }
    let bytes = files::read_limited(path, LIMIT_BYTES)?;
    let whole = serde_json::from_slice(&bytes);
    let whole = whole.inspect_err(|error| log::info!("`{}`: {error}", path.display())).ok();
    Ok(whole.map(SpoolFile::without_doubles))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::message::tests::failed;

    fn alert(source: &str) -> Alert {
        Alert { id: source.to_owned(), source: source.to_owned(), ..failed("shop", "no") }
    }

    /// Two configurations of one folder, of which one can't use its catalog.
    #[test]
    fn what_is_of_another_source_is_kept_once() {
        let mut file = SpoolFile::default();
        file.put(alert("other"));
        for _ in 0..20 {
            file.taken(&SpoolFile::default(), vec![alert("this")], "this");
        }
        assert_eq!((file.alerts.len(), file.changed.len()), (2, 1));
        let mut bloated = file.clone();
        bloated.alerts.extend(file.alerts.clone());
        bloated.changed.extend(file.changed.clone());
        assert_eq!(bloated.without_doubles(), file);
    }
}
