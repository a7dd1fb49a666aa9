//! Records that wait in files while the catalog is down. It knows a folder, and the catalog that takes
//! them later.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::Catalog;
use crate::backup::{Backup, Status};
use crate::bounded;
use crate::exit::clip;
use crate::files;

/// No record is larger: it holds what a manifest holds, and more white space.
const RECORD_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// How long the folder may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// The folder of records that wait.
#[derive(Clone, Debug)]
pub struct Pending {
    folder: PathBuf,
    /// Whether it once did not answer: it is not waited for as long again.
    hangs: Arc<AtomicBool>,
    /// Whoever writes has it: what is given up must not be written over what came later.
    turn: Arc<Mutex<()>>,
}

impl Pending {
    /// The folder under a state folder.
    #[must_use]
    pub fn under(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("pending"), hangs: Arc::default(), turn: Arc::default() }
    }

    /// Keeps a record until the catalog is back, over an older one of the same backup.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep(&self, backup: &Backup) -> Result<PathBuf> {
        let (folder, path) = (self.folder.clone(), self.path_of(backup));
        let record = serde_json::to_vec_pretty(backup)?;
        // The last word on a backup is worth another wait.
        let is_last = backup.status != Status::InProgress;
        let patience = if is_last { PATIENCE } else { self.patience() };
        self.in_turn(patience, move || {
            files::create_private_dir(&folder)?;
            files::replace_private(&path, &record)?;
            Ok(path)
        })
    }

    /// Forgets a record: the catalog has it, or a newer one.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn forget(&self, backup: &Backup) -> Result<()> {
        let path = self.path_of(backup);
        self.in_turn(self.patience(), move || match std::fs::remove_file(&path) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
            }
            _ => Ok(()),
        })
    }

    /// Writes every record that waits into the catalog; gives back how many. One that can't be read is
    /// left where it is, with a warning.
    ///
    /// # Errors
    /// When the catalog does not take one.
    pub fn flush(&self, catalog: &mut Catalog) -> Result<usize> {
        let folder = self.folder.clone();
        let mut written = 0;
        for path in self.in_time(move || Ok(records_in(&folder)))? {
            let record = path.clone();
            let backup = match self.in_time(move || read(&record)) {
                Ok(backup) => backup,
                Err(error) => {
                    log::warn!("a record that waits is left where it is: {error:#}");
                    continue;
                }
            };
            match catalog.save_late(&backup) {
                Ok(()) => self.forget(&backup)?,
                // The server has judged this one record; the others, and whoever waits, go on.
                Err(error) if is_refused(&error) => {
                    log::warn!("`{}` waits on: the catalog refuses it: {error:#}", path.display());
                    continue;
                }
                Err(error) => return Err(error),
            }
            written += 1;
        }
        Ok(written)
    }

    /// Does what a disk that hangs would hold up for ever.
    fn in_time<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        self.wait_for(self.patience(), work)
    }

    /// The same with what writes, one after the other.
    fn in_turn<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = Arc::clone(&self.turn);
        self.wait_for(limit, move || {
            let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let done = work();
            drop(turn);
            done
        })
    }

    fn patience(&self) -> Duration {
        if self.hangs.load(Ordering::SeqCst) { SHORT_PATIENCE } else { PATIENCE }
    }

    fn wait_for<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        bounded::within("record", limit, work).map_err(|error| {
            self.hangs.store(true, Ordering::SeqCst);
            anyhow!("`{}` can't be used within {limit:?}: {error}", self.folder.display())
        })?
    }

    fn path_of(&self, backup: &Backup) -> PathBuf {
        self.folder.join(format!("{}.json", backup.id))
    }
}

/// The files of records, in the order of their names.
fn records_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths
}

/// Whether the server took a record apart and said no, rather than being out of reach.
fn is_refused(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let state = cause.downcast_ref::<postgres::Error>().and_then(postgres::Error::code);
        state.is_some_and(|state| state.code().starts_with("22") || state.code().starts_with("23"))
    })
}

fn read(path: &Path) -> Result<Backup> {
    let bytes = files::read_limited(path, RECORD_LIMIT_BYTES)?;
    let shown = path.display();
    let backup: Backup = serde_json::from_slice(&bytes)
        .map_err(|error| anyhow!(clip(error.to_string())).context(format!("`{shown}` is no record")))?;
    // Under another name it would be written again and again, and never be forgotten.
    let is_its_own = path.file_stem() == Some(OsStr::new(backup.id.as_str()));
    ensure!(is_its_own, "`{shown}` is the record of `{}`, which has another name", backup.id);
    Ok(backup)
}
