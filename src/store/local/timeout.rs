//! A directory store that may stop answering (a network file system whose server is gone, a disk that hangs): it
//! is waited for no longer than the limits say. Lists alone are not bounded: they may be long, and whoever asks
//! for one can end it.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::LocalStore;
use crate::bounded::{self, GivenUp};
use crate::store::{Kind, Listed, Part, Removal, Room, Stale, Stat, Store, Stored, Traffic, Upload};

/// Bytes read at a time.
const BLOCK_LEN: usize = 1024 * 1024;
/// A disk that is slower than this does not make files durable in time.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 * 1024 * 1024;
/// How long the end of an upload that nobody wants any more may hold its owner up.
const GOODBYE: Duration = Duration::from_secs(1);

/// A [`LocalStore`] with limits.
pub struct TimeoutStore {
    store: LocalStore,
    stall: Duration,
    request: Duration,
}

impl TimeoutStore {
    /// Each call may take `stall`, but for what makes a file durable: that may take `request`, and more for a
    /// large one.
    #[must_use]
    pub fn new(store: LocalStore, stall: Duration, request: Duration) -> Self {
        Self { store, stall, request }
    }

    fn within<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(&LocalStore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        of(bounded::within("disk", limit, move || work(&store)), limit)?
    }

    fn with_timeout(&self, upload: Box<dyn Upload>) -> Box<dyn Upload> {
        let traffic = upload.traffic();
        Box::new(TimeoutUpload { upload: Some(upload), traffic, stall: self.stall, request: self.request })
    }
}

fn of<T>(outcome: Result<T, GivenUp>, limit: Duration) -> Result<T> {
    outcome.map_err(|error| match error {
        GivenUp::Late => anyhow!("the disk gave no answer within {limit:?}"),
        error => error.into(),
    })
}

impl Store for TimeoutStore {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn kind(&self) -> Kind {
        self.store.kind()
    }

    fn path_of(&self, key: &str) -> String {
        self.store.path_of(key)
    }

    fn begin(&self, path: &str, part_size_bytes: u64) -> Result<Box<dyn Upload>> {
        let path = path.to_owned();
        Ok(self.with_timeout(self.within(self.stall, move |store| store.begin(&path, part_size_bytes))?))
    }

    fn replace(&self, path: &str, part_size_bytes: u64) -> Result<Box<dyn Upload>> {
        let path = path.to_owned();
        Ok(self.with_timeout(self.within(self.stall, move |store| store.replace(&path, part_size_bytes))?))
    }

    fn open(&self, path: &str) -> Result<Box<dyn Read + Send>> {
        let path = path.to_owned();
        let file = self.within(self.stall, move |store| store.open(&path))?;
        let reader = TimeoutReader { file: Some(file), block: Vec::new(), at: 0, limit: self.stall };
        Ok(Box::new(reader))
    }

    fn stat(&self, path: &str) -> Result<Option<Stat>> {
        let path = path.to_owned();
        self.within(self.stall, move |store| store.stat(&path))
    }

    fn put_small(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let (path, bytes) = (path.to_owned(), bytes.to_owned());
        self.within(self.request, move |store| store.put_small(&path, &bytes))
    }

    fn replace_small(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let (path, bytes) = (path.to_owned(), bytes.to_owned());
        self.within(self.request, move |store| store.replace_small(&path, &bytes))
    }

    fn get_small(&self, path: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        let path = path.to_owned();
        self.within(self.stall, move |store| store.get_small(&path, limit_bytes))
    }

    fn hide(&self, path: &str) -> Result<()> {
        let path = path.to_owned();
        self.within(self.stall, move |store| store.hide(&path))
    }

    fn delete_versions(&self, paths: &[&str]) -> Result<Removal> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        self.within(self.stall, move |store| {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            store.delete_versions(&paths)
        })
    }

    fn rollback(&self, paths: &[&str]) -> Result<Removal> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        self.within(self.stall, move |store| {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            store.rollback(&paths)
        })
    }

    fn each(
        &self,
        path_prefix: &str,
        is_wanted: &dyn Fn(&str) -> bool,
        found: &mut dyn FnMut(Listed),
    ) -> Result<()> {
        self.store.each(path_prefix, is_wanted, found)
    }

    fn room(&self) -> Result<Option<Room>> {
        self.within(self.stall, LocalStore::room)
    }

    fn each_stale(
        &self,
        path_prefix: &str,
        is_wanted: &dyn Fn(&str) -> bool,
        found: &mut dyn FnMut(Stale),
    ) -> Result<()> {
        self.store.each_stale(path_prefix, is_wanted, found)
    }

    fn delete_stale_upload(&self, stale: &Stale) -> Result<()> {
        let stale = stale.clone();
        self.within(self.stall, move |store| store.delete_stale_upload(&stale))
    }
}

/// Once a call has not come back, the upload is lost: it is removed when it does, or by the next run.
struct TimeoutUpload {
    upload: Option<Box<dyn Upload>>,
    traffic: Arc<Traffic>,
    stall: Duration,
    request: Duration,
}

impl Upload for TimeoutUpload {
    fn write(&mut self, part: Arc<Part>) -> Result<()> {
        let mut upload = self.upload.take().context("an earlier part was lost")?;
        let (traffic, stall) = (&self.traffic, self.stall);
        let mut seen = (traffic.moved_bytes(), Instant::now());
        let is_over = |_| {
            let moved = traffic.moved_bytes();
            if moved != seen.0 {
                seen = (moved, Instant::now());
            }
            seen.1.elapsed() >= stall
        };
        let written = bounded::until("disk", is_over, move || {
            let written = upload.write(part);
            (upload, written)
        });
        let (upload, written) = of(written, stall)?;
        self.upload = Some(upload);
        written
    }

    fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    fn publish(mut self: Box<Self>) -> Result<Stored> {
        let upload = self.upload.take().context("a part was lost")?;
        let by_size = Duration::from_secs(self.traffic.moved_bytes() / SLOWEST_BYTES_PER_SECOND);
        let limit = self.request.saturating_add(by_size);
        of(bounded::within("disk", limit, move || upload.publish()), limit)?
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        let Some(upload) = self.upload.take() else { return Ok(()) };
        of(bounded::within("disk", self.stall, move || upload.abort()), self.stall)?
    }
}

impl Drop for TimeoutUpload {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        if let Err(error) = bounded::within("disk", GOODBYE, move || drop(upload)) {
            log::debug!("an upload is left to itself: {error}");
        }
    }
}

struct TimeoutReader {
    file: Option<Box<dyn Read + Send>>,
    block: Vec<u8>,
    at: usize,
    limit: Duration,
}

impl TimeoutReader {
    /// Reads the next block; an empty one is the end.
    fn refill(&mut self) -> io::Result<()> {
        let mut file = self.file.take().ok_or_else(|| io::Error::other("an earlier read was lost"))?;
        let mut block = std::mem::take(&mut self.block);
        self.at = 0;
        let read = bounded::within("disk", self.limit, move || {
            block.resize(BLOCK_LEN, 0);
            let read = file.read(&mut block);
            (file, block, read)
        });
        let (file, block, read) =
            of(read, self.limit).map_err(|error| io::Error::other(error.to_string()))?;
        (self.file, self.block) = (Some(file), block);
        let count = read.inspect_err(|_| self.block.clear())?;
        self.block.truncate(count);
        Ok(())
    }
}

impl Read for TimeoutReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() && !buffer.is_empty() {
            self.refill()?;
        }
        let left = self.block.get(self.at..).unwrap_or_default();
        let count = left.len().min(buffer.len());
        if let (Some(target), Some(bytes)) = (buffer.get_mut(..count), left.get(..count)) {
            target.copy_from_slice(bytes);
        }
        self.at = self.at.saturating_add(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    /// Gives some bytes, then hangs until it is let go.
    struct Hangs(bool, Receiver<()>);

    impl Read for Hangs {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return self.1.recv().map(|()| 0).map_err(io::Error::other);
            }
            buffer.fill(7);
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_read_that_was_lost_is_never_an_end_of_file() {
        let (release, held) = channel();
        let limit = Duration::from_secs(2);
        let file: Option<Box<dyn Read + Send>> = Some(Box::new(Hangs(false, held)));
        let mut reader = TimeoutReader { file, block: Vec::new(), at: 0, limit };
        let mut block = vec![0; BLOCK_LEN];
        reader.read_exact(&mut block).unwrap();
        assert_eq!(block, vec![7; BLOCK_LEN]);
        let late = reader.read(&mut block).unwrap_err().to_string();
        assert!(late.contains("no answer"), "{late}");
        for _ in 0..2 {
            assert!(reader.read(&mut block).unwrap_err().to_string().contains("was lost"));
        }
        drop(release);
    }
}
