//! A door in front of a TCP server: open, it passes everything; shut, it cuts what is open and lets nothing in.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

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
    streams: Mutex<Vec<TcpStream>>,
}

impl Gate {
    /// An open gate in front of a port of 127.0.0.1.
    pub(crate) fn open_to(behind: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { behind, is_shut: AtomicBool::new(false), streams: Mutex::default() });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
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
    }
}

impl Shared {
    fn let_in(&self, outside: &TcpStream) -> std::io::Result<()> {
        let mut streams = self.streams.lock().unwrap();
        if self.is_shut.load(Ordering::SeqCst) {
            return outside.shutdown(Shutdown::Both);
        }
        let inside = TcpStream::connect(("127.0.0.1", self.behind))?;
        for (from, to) in [(outside, &inside), (&inside, outside)] {
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            std::thread::spawn(move || {
                std::io::copy(&mut from, &mut to).ok();
                to.shutdown(Shutdown::Both).ok();
            });
        }
        streams.push(outside.try_clone()?);
        streams.push(inside);
        Ok(())
    }
}
