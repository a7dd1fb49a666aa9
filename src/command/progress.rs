//! The bars of a backup: bytes dumped against the database's size, rate, share saved, and each store's
//! bytes. Nothing where stderr is no terminal.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use crate::pipeline::fanout::{BytesSent, bytes_sent};
use crate::pipeline::flow::Meter;

const REFRESH: Duration = Duration::from_millis(100);

/// Bars that follow a run until they are dropped.
pub(super) struct Progress {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts the bars for a database of `size_bytes`; `stores` are their names and bytes taken.
    pub(super) fn start(
        bars: &MultiProgress,
        database: &str,
        size_bytes: u64,
        meter: &Arc<Meter>,
        stores: Vec<(String, BytesSent)>,
    ) -> Result<Self> {
        if bars.is_hidden() {
            return Ok(Self { stop: None, thread: None });
        }
        let style = "{prefix:>16} {wide_bar} {bytes:>11} of ~{total_bytes} {binary_bytes_per_sec:>12} {msg}";
        let dump = bars.add(ProgressBar::new(size_bytes).with_prefix(database.to_owned()));
        dump.set_style(ProgressStyle::with_template(style)?);
        let lines = stores.into_iter().map(|(name, taken)| {
            let line = bars.add(ProgressBar::new_spinner().with_prefix(name));
            line.set_style(ProgressStyle::with_template("{prefix:>16} {spinner} {msg}")?);
            Ok((line, taken))
        });
        let lines = lines.collect::<Result<Vec<_>>>()?;
        let (stop, stopped) = channel::<()>();
        let meter = Arc::clone(meter);
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(REFRESH) {
                draw(&dump, &meter, &lines);
            }
            dump.finish_and_clear();
            for (line, _) in &lines {
                line.finish_and_clear();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::debug!("the progress bars ended early");
        }
    }
}

/// A bar of how much of a dump was read, until it is dropped.
pub(super) struct ReadBar(ProgressBar);

impl ReadBar {
    pub(super) fn start(bars: &MultiProgress, what: &str, size_bytes: u64) -> Result<Self> {
        let style = "{prefix:>16} {wide_bar} {bytes:>11} of {total_bytes} {binary_bytes_per_sec:>12}";
        let bar = bars.add(ProgressBar::new(size_bytes).with_prefix(what.to_owned()));
        bar.set_style(ProgressStyle::with_template(style)?);
        Ok(Self(bar))
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }
}

impl Drop for ReadBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A line that says what goes on, until it is dropped.
pub(super) struct Phase(ProgressBar);

impl Phase {
    pub(super) fn start(bars: &MultiProgress, what: impl Into<Cow<'static, str>>) -> Self {
        let line = bars.add(ProgressBar::new_spinner().with_message(what));
        line.enable_steady_tick(REFRESH);
        Self(line)
    }

    /// Says something else from now on.
    pub(super) fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.0.set_message(what);
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn draw(dump: &ProgressBar, meter: &Meter, lines: &[(ProgressBar, BytesSent)]) {
    let done = meter.dump_bytes.load(Ordering::Relaxed);
    let sealed = meter.sealed_bytes.load(Ordering::Relaxed);
    // A dump may be larger than the database; the bar then grows with it.
    if done > dump.length().unwrap_or_default() {
        dump.set_length(done);
    }
    dump.set_position(done);
    if done > 0 {
        #[allow(clippy::cast_precision_loss, reason = "a share shown to a person")]
        let saved = 100.0 * (1.0 - sealed as f64 / done as f64);
        dump.set_message(format!("{:.0} % saved", saved.max(0.0)));
    }
    for (line, taken) in lines {
        let taken = bytes_sent(taken).min(sealed);
        line.set_message(format!("{} of {}", HumanBytes(taken), HumanBytes(sealed)));
        line.tick();
    }
}
