//! Uploads whose start got no answer: the server may hold them under ids that nobody here knows. When no
//! upload to that path is under way any more, whatever is found there of them is aborted. It must not know
//! why an upload was begun anew.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::{Again, S3Error};
use super::{Shared, list};

/// The paths that uploads go to.
#[derive(Default)]
pub(super) struct Starts(Mutex<BTreeMap<String, Start>>);

#[derive(Default)]
struct Start {
    under_way: usize,
    is_answer_lost: bool,
}

impl Starts {
    /// An upload to the path is to be begun.
    pub(super) fn enter(&self, path: &str) {
        let mut starts = self.lock();
        let start = starts.entry(path.to_owned()).or_default();
        start.under_way = start.under_way.saturating_add(1);
    }

    /// A request to begin it failed.
    pub(super) fn fail(&self, path: &str, error: &S3Error) {
        let is_refused = error.status.is_some_and(|status| (400..500).contains(&status) && status != 408);
        let is_unheard = error.again == Again::Connect;
        if !is_refused
            && !is_unheard
            && let Some(start) = self.lock().get_mut(path)
        {
            start.is_answer_lost = true;
        }
    }

    /// An upload to the path has ended; whether the last of them has, and the answer to a start was lost.
    fn leave(&self, path: &str) -> bool {
        let mut starts = self.lock();
        let Some(start) = starts.get_mut(path) else { return false };
        start.under_way = start.under_way.saturating_sub(1);
        let is_last = start.under_way == 0;
        let is_answer_lost = start.is_answer_lost;
        if is_last {
            starts.remove(path);
        }
        is_last && is_answer_lost
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Start>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An upload to the path has ended, well or not: aborts those that were begun without an answer.
pub(super) fn leave(shared: &Shared, path: &str) {
    if !shared.starts.leave(path) {
        return;
    }
    let cleared = list::uploads_at(shared, path)
        .and_then(|found| found.iter().try_for_each(|upload_id| shared.abort(path, upload_id)));
    if let Err(error) = cleared {
        log::info!("an upload of `{path}` whose start got no answer may be left behind: {error}");
    }
}
