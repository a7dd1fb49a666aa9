//! Reads an object from its start to its end in windows, each one ranged request that can be taken
//! up again where it broke. It must never let a cut pass for the end.
//! Ranges: RFC 9110 section 14.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use s3::command::Command;
use ureq::http::header::{CONTENT_RANGE, IF_MATCH};
use ureq::http::{Response, StatusCode};
use ureq::{Body, BodyReader};

use super::Shared;
use super::answer::{self, etag_of, length_of};
use super::client::Extras;
use super::error::S3Error;
use super::place::Place;
use super::retry::Patience;

/// Bytes asked for at once: small enough for the time limit of one request, large enough that the
/// requests cost nothing.
const WINDOW_BYTES: u64 = 32 * 1024 * 1024;
const OPERATION: &str = "read of object";
/// Bytes that must come within the time of one request, and that renew the patience for breaks: a server that
/// gives a byte now and then must not keep us for ever.
const LEG_BYTES: u64 = 1024 * 1024;

pub(super) struct ObjectReader {
    shared: Arc<Shared>,
    path: String,
    /// The next byte to give.
    offset: u64,
    size_bytes: u64,
    etag: Option<String>,
    window: Option<Window>,
    leg: Leg,
}

/// A stretch of the object, and what it has cost so far.
struct Leg {
    end: u64,
    /// Time spent waiting for the store, not for whoever takes the bytes.
    waited: Duration,
    patience: Patience,
}

/// An answer that is being read.
struct Window {
    body: BodyReader<'static>,
    left_bytes: u64,
}

/// What the head of an answer to a ranged request says.
struct Opened {
    window: Option<Window>,
    size_bytes: u64,
    etag: Option<String>,
}

impl ObjectReader {
    /// Asks for the first window, so that an object that is missing shows here.
    pub(super) fn open(shared: Arc<Shared>, path: &str) -> Result<Self, S3Error> {
        let opened = shared.policy.run(|| fetch(&shared, path, 0, None))?;
        let leg = Leg::from(0, &shared);
        Ok(Self {
            leg,
            shared,
            path: path.to_owned(),
            offset: 0,
            size_bytes: opened.size_bytes,
            etag: opened.etag,
            window: opened.window,
        })
    }

    /// One attempt to get at least one byte.
    fn attempt(&mut self, buffer: &mut [u8]) -> Result<usize, S3Error> {
        let mut window = match self.window.take() {
            Some(window) => window,
            None => self.next_window()?,
        };
        let place = &self.shared.client.place;
        let room = usize::try_from(window.left_bytes).unwrap_or(usize::MAX).min(buffer.len());
        let target = buffer.get_mut(..room).unwrap_or_default();
        let count = window.body.read(target).map_err(|error| S3Error::from_io(OPERATION, &error, place))?;
        if count == 0 {
            return Err(S3Error::passing(
                OPERATION,
                format!("the answer broke off after {} of {} bytes", self.offset, self.size_bytes),
            ));
        }
        window.left_bytes = window.left_bytes.saturating_sub(count as u64);
        self.offset = self.offset.saturating_add(count as u64);
        if window.left_bytes > 0 {
            self.window = Some(window);
        } else {
            // Only a body that was read to its end gives its connection back to the pool.
            let beyond = window.body.read(&mut [0]);
            if matches!(beyond, Ok(count) if count > 0) {
                return Err(S3Error::refused(OPERATION, "more bytes came than were asked for"));
            }
        }
        Ok(count)
    }

    fn next_window(&self) -> Result<Window, S3Error> {
        let known = Known { size_bytes: self.size_bytes, etag: self.etag.as_deref() };
        let opened = fetch(&self.shared, &self.path, self.offset, Some(&known))?;
        opened.window.ok_or_else(|| S3Error::refused(OPERATION, "the object has become empty"))
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.offset >= self.size_bytes {
            return Ok(0);
        }
        loop {
            if self.shared.interrupt.is_raised() {
                return Err(io::Error::other(S3Error::refused(OPERATION, "interrupted")));
            }
            let asked = Instant::now();
            let outcome = self.attempt(buffer);
            let is_worth_it = |reader: &mut Self, error: &S3Error| reader.leg.patience.another(error);
            let error = match outcome {
                Ok(count) if self.is_in_time(asked) => return Ok(count),
                Ok(_) => self.too_slow(),
                Err(error) if self.is_in_time(asked) && is_worth_it(self, &error) => continue,
                Err(error) => error,
            };
            return Err(io::Error::other(error));
        }
    }
}

impl ObjectReader {
    /// Whether the store moves fast enough; counts the time since it was asked.
    fn is_in_time(&mut self, asked: Instant) -> bool {
        if self.offset >= self.leg.end || self.offset >= self.size_bytes {
            self.leg = Leg::from(self.offset, &self.shared);
            return true;
        }
        self.leg.waited = self.leg.waited.saturating_add(asked.elapsed());
        self.leg.waited <= self.shared.client.place.request
    }

    fn too_slow(&self) -> S3Error {
        let Place { host, request, .. } = &self.shared.client.place;
        let came = LEG_BYTES.saturating_sub(self.leg.end.saturating_sub(self.offset));
        let message = format!("`{host}` is too slow: {came} bytes in {request:?} (timeouts.request)");
        S3Error::refused(OPERATION, message)
    }
}

impl Leg {
    fn from(offset: u64, shared: &Shared) -> Self {
        let patience = shared.policy.patience();
        Self { end: offset.saturating_add(LEG_BYTES), waited: Duration::ZERO, patience }
    }
}

/// What the first answer said of the object; every later one must say the same.
struct Known<'a> {
    size_bytes: u64,
    etag: Option<&'a str>,
}

fn fetch(shared: &Shared, path: &str, offset: u64, known: Option<&Known<'_>>) -> Result<Opened, S3Error> {
    let last = offset.saturating_add(WINDOW_BYTES - 1);
    let last = known.map_or(last, |known| last.min(known.size_bytes.saturating_sub(1)));
    let mut extras = Extras::default();
    if let Some(etag) = known.and_then(|known| known.etag) {
        extras.headers.push((IF_MATCH, format!("\"{etag}\"")));
    }
    let command = Command::GetObjectRange { start: offset, end: Some(last) };
    let answer = match shared.client.send(OPERATION, path, command, extras) {
        Ok(answer) => answer,
        Err(error) if error.status == Some(416) && offset == 0 => {
            return empty(shared, path, error);
        }
        Err(error) if error.status == Some(412) => return Err(replaced()),
        Err(error) => return Err(error),
    };
    let opened = opened(shared, path, answer, offset, last)?;
    if let Some(known) = known {
        let same_etag = known.etag.is_none() || known.etag == opened.etag.as_deref();
        if !same_etag || known.size_bytes != opened.size_bytes {
            return Err(replaced());
        }
    }
    Ok(opened)
}

fn replaced() -> S3Error {
    S3Error::refused(OPERATION, "the object was replaced while it was read")
}

/// No range fits an object without bytes; a HEAD says whether it is one.
fn empty(shared: &Shared, path: &str, error: S3Error) -> Result<Opened, S3Error> {
    match shared.stat(OPERATION, path)? {
        Some(stat) if stat.size_bytes == 0 => Ok(Opened { window: None, size_bytes: 0, etag: stat.etag }),
        _ => Err(error),
    }
}

fn opened(
    shared: &Shared,
    path: &str,
    answer: Response<Body>,
    offset: u64,
    last: u64,
) -> Result<Opened, S3Error> {
    let answer = answer::of_object(OPERATION, answer, &shared.client.place)?;
    // A weak tag does not promise equal bytes, and If-Match never matches one.
    let etag = etag_of(&answer).filter(|etag| !etag.starts_with("W/"));
    let (size_bytes, left_bytes) = if answer.status() == StatusCode::PARTIAL_CONTENT {
        let range = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let range = range
            .and_then(content_range)
            .ok_or_else(|| S3Error::refused(OPERATION, "the answer does not say which bytes it has"))?;
        let size_bytes = match range.size_bytes {
            Some(size_bytes) => size_bytes,
            None => size_by_head(shared, path)?,
        };
        if range.first != offset || range.last > last || range.last >= size_bytes {
            return Err(S3Error::refused(OPERATION, "the answer has other bytes than asked for"));
        }
        (size_bytes, range.last.saturating_sub(range.first).saturating_add(1))
    } else if offset == 0 {
        // A server without ranges gives all of it, which will do as long as nothing breaks.
        let size_bytes = match length_of(&answer) {
            Some(size_bytes) => size_bytes,
            None => size_by_head(shared, path)?,
        };
        (size_bytes, size_bytes)
    } else {
        let message =
            format!("the server ignores ranges, so a read that broke after {offset} bytes can't go on");
        return Err(S3Error::refused(OPERATION, message));
    };
    let body = answer.into_body().into_with_config().limit(u64::MAX).reader();
    let window = (left_bytes > 0).then_some(Window { body, left_bytes });
    Ok(Opened { window, size_bytes, etag })
}

fn size_by_head(shared: &Shared, path: &str) -> Result<u64, S3Error> {
    match shared.stat(OPERATION, path)? {
        Some(stat) => Ok(stat.size_bytes),
        None => Err(S3Error::refused(OPERATION, "the object is gone")),
    }
}

struct ContentRange {
    first: u64,
    last: u64,
    size_bytes: Option<u64>,
}

fn content_range(value: &str) -> Option<ContentRange> {
    let (range, size) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let range = ContentRange {
        first: first.trim().parse().ok()?,
        last: last.trim().parse().ok()?,
        size_bytes: match size.trim() {
            "*" => None,
            size => Some(size.parse().ok()?),
        },
    };
    (range.first <= range.last).then_some(range)
}
