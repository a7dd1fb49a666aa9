//! A door in front of a TCP server: open, it passes everything; shut, it cuts what is open and lets nothing in;
//! silent, it passes nothing on and tells nobody, as a firewall does that has forgotten a connection.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A running gate on a port of its own.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    behind: u16,
    is_shut: AtomicBool,
    is_silent: AtomicBool,
    /// Connections of an earlier age pass nothing on.
    age: AtomicUsize,
    delay_ms: AtomicU64,
    /// So many pieces of answers pass before silence falls.
    answers_left: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
    times: Mutex<Vec<Instant>>,
}

impl Gate {
    /// An open gate in front of a port of 127.0.0.1.
    pub(crate) fn open_to(behind: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            behind,
            is_shut: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            age: AtomicUsize::new(0),
            delay_ms: AtomicU64::new(0),
            answers_left: AtomicUsize::new(usize::MAX),
            streams: Mutex::default(),
            times: Mutex::default(),
        });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                for_thread.times.lock().unwrap().push(Instant::now());
                for_thread.let_in(&stream).ok();
            }
        });
        Self { port, shared }
    }

    /// Cuts all connections, and each new one.
    pub(crate) fn shut(&self) {
        self.shared.is_shut.store(true, Ordering::SeqCst);
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Lets new connections in again.
    pub(crate) fn reopen(&self) {
        self.shared.is_shut.store(false, Ordering::SeqCst);
        self.shared.is_silent.store(false, Ordering::SeqCst);
    }

    /// Passes nothing on for the connections there are, which stay open; new ones are as before.
    pub(crate) fn silence(&self) {
        self.shared.age.fetch_add(1, Ordering::SeqCst);
    }

    /// The same for new ones too.
    pub(crate) fn silence_all(&self) {
        self.shared.is_silent.store(true, Ordering::SeqCst);
        self.silence();
    }

    /// Keeps silent for good once so many pieces of answers were passed on.
    pub(crate) fn silence_after(&self, answers: usize) {
        self.shared.answers_left.store(answers, Ordering::SeqCst);
    }

    /// Whether it keeps silent for everybody.
    pub(crate) fn is_silent(&self) -> bool {
        self.shared.is_silent.load(Ordering::SeqCst)
    }

    /// Lets whatever comes from behind take so much longer.
    pub(crate) fn slow_down(&self, delay: Duration) {
        self.shared.delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// How many connections were made, also those that were not let in.
    pub(crate) fn count(&self) -> usize {
        self.times().len()
    }

    /// When each of them was made.
    pub(crate) fn times(&self) -> Vec<Instant> {
        self.shared.times.lock().unwrap().clone()
    }
}

impl Shared {
    fn let_in(self: &Arc<Self>, outside: &TcpStream) -> std::io::Result<()> {
        let mut streams = self.streams.lock().unwrap();
        if self.is_shut.load(Ordering::SeqCst) {
            return outside.shutdown(Shutdown::Both);
        }
        let inside = TcpStream::connect(("127.0.0.1", self.behind))?;
        // Small pieces must not wait for one another.
        outside.set_nodelay(true)?;
        inside.set_nodelay(true)?;
        let age = self.age.load(Ordering::SeqCst);
        for (from, to, is_answer) in [(outside, &inside, false), (&inside, outside, true)] {
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.pass_on(from, to, age, is_answer));
        }
        streams.push(outside.try_clone()?);
        streams.push(inside);
        Ok(())
    }

    /// Counts a piece of an answer; whether no more of them may pass.
    fn is_time_for_silence(&self) -> bool {
        let count = |left: usize| Some(if left == usize::MAX { left } else { left.saturating_sub(1) });
        self.answers_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) == Ok(0)
    }

    fn pass_on(&self, mut from: TcpStream, mut to: TcpStream, age: usize, is_answer: bool) {
        let mut block = vec![0; 65536];
        loop {
            let count = from.read(&mut block).unwrap_or_default();
            if is_answer && self.is_time_for_silence() {
                self.is_silent.store(true, Ordering::SeqCst);
            }
            if self.is_silent.load(Ordering::SeqCst) || self.age.load(Ordering::SeqCst) != age {
                // Not even that one end is gone is told to the other.
                if count == 0 {
                    return;
                }
                continue;
            }
            if is_answer {
                std::thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::SeqCst)));
            }
            if count == 0 || to.write_all(&block[..count]).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Both).ok();
    }
}
