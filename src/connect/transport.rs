//! The way to a server over TCP: in the clear, by TLS, or by TLS where the server has it. On the way it reads which
//! number the server says the session's process has. It knows nothing of what else is said.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};

use postgres::Socket;
use postgres::config::{SslMode, SslNegotiation};
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::Asking;

/// What asks a server for TLS: a length of 8, and the code of `SSLRequest` (1234, 5679), as the manual's "Message
/// Formats" has it.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// No number of a process.
const UNTOLD: i64 = i64::MAX;

type Tls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type TlsOf = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
type Boxed = Box<dyn Error + Sync + Send>;

/// How much an attempt cares about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Without.
    Off,
    /// With, if the server has it.
    Offered,
    /// With, or not at all.
    Required,
}

/// How connections to one address are made.
#[derive(Clone)]
pub(super) struct Transport {
    connector: Option<MakeRustlsConnect>,
    encryption: Encryption,
    is_direct: bool,
    process: Arc<AtomicI64>,
}

impl Transport {
    /// Takes the choice of TLS over from the client library, which hides the number of a session.
    pub(super) fn over(
        config: &mut postgres::Config,
        connector: Option<MakeRustlsConnect>,
        encryption: Encryption,
    ) -> Self {
        let is_direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        // For the library all is TLS that begins at once; what really goes on is decided here.
        config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        Self { connector, encryption, is_direct, process: Arc::new(AtomicI64::new(UNTOLD)) }
    }

    /// The same for another session, of which nothing is known yet.
    pub(super) fn anew(&self) -> Self {
        Self { process: Arc::new(AtomicI64::new(UNTOLD)), ..self.clone() }
    }

    /// The number of the session's process as the server told it, unasked, when the session began (`BackendKeyData`).
    pub(super) fn process(&self) -> Option<i32> {
        i32::try_from(self.process.load(Ordering::SeqCst)).ok()
    }
}

impl MakeTlsConnect<Socket> for Transport {
    type Stream = Stream;
    type TlsConnect = Connect;
    type Error = Boxed;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Connect, Boxed> {
        let of_domain = |connector: &mut MakeRustlsConnect| {
            <MakeRustlsConnect as MakeTlsConnect<Socket>>::make_tls_connect(connector, domain)
        };
        let tls = self.connector.as_mut().map(of_domain).transpose()?;
        Ok(Connect {
            tls,
            encryption: self.encryption,
            is_direct: self.is_direct,
            process: Arc::clone(&self.process),
        })
    }
}

/// One connection that is being made.
pub(super) struct Connect {
    tls: Option<Tls>,
    encryption: Encryption,
    is_direct: bool,
    process: Arc<AtomicI64>,
}

impl TlsConnect<Socket> for Connect {
    type Stream = Stream;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Boxed>> + Send>>;

    fn connect(self, mut socket: Socket) -> Self::Future {
        Box::pin(async move {
            let ear = Ear::new(self.process);
            let Some(tls) = self.tls.filter(|_| self.encryption != Encryption::Off) else {
                return Ok(Stream { way: Way::Clear(socket), ear });
            };
            if !self.is_direct {
                socket.write_all(&SSL_REQUEST).await.map_err(Asking)?;
                let mut answer = [0u8; 1];
                socket.read_exact(&mut answer).await.map_err(Asking)?;
                if answer != *b"S" {
                    if self.encryption == Encryption::Required {
                        return Err("server does not support TLS".into());
                    }
                    return Ok(Stream { way: Way::Clear(socket), ear });
                }
            }
            let way = Way::Tls(Box::new(tls.connect(socket).await?));
            Ok(Stream { way, ear })
        })
    }
}

/// A connection, and what listens to its beginning.
pub(super) struct Stream {
    way: Way,
    ear: Ear,
}

enum Way {
    Clear(Socket),
    Tls(Box<TlsOf>),
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.way {
            Way::Clear(_) => ChannelBinding::none(),
            Way::Tls(tls) => tls.channel_binding(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = match &mut self.way {
            Way::Clear(socket) => Pin::new(socket).poll_read(context, buffer),
            Way::Tls(tls) => Pin::new(tls.as_mut()).poll_read(context, buffer),
        };
        if outcome.is_ready() {
            self.ear.hear(buffer.filled().get(before..).unwrap_or_default());
        }
        outcome
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.way {
            Way::Clear(socket) => Pin::new(socket).poll_write(context, bytes),
            Way::Tls(tls) => Pin::new(tls.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.way {
            Way::Clear(socket) => Pin::new(socket).poll_flush(context),
            Way::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.way {
            Way::Clear(socket) => Pin::new(socket).poll_shutdown(context),
            Way::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(context),
        }
    }
}

/// Follows a server's messages up to the one that tells the process. Each begins with a letter and its length.
struct Ear {
    process: Arc<AtomicI64>,
    /// The head of a message and, of the one that is looked for, the number behind it.
    head: Vec<u8>,
    /// What is still to come of a message that is none of interest.
    skip: usize,
    is_done: bool,
}

impl Ear {
    const HEAD: usize = 5;
    const NUMBER: usize = 4;

    fn new(process: Arc<AtomicI64>) -> Self {
        Self { process, head: Vec::new(), skip: 0, is_done: false }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while !self.is_done && !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((next, rest)) = bytes.split_first() else { return };
            self.head.push(*next);
            bytes = rest;
            self.take_head();
        }
    }

    fn take_head(&mut self) {
        match *self.head.as_slice() {
            // BackendKeyData: the number of the process, then the key.
            [b'K', _, _, _, _, a, b, c, d] => {
                self.process.store(i64::from(i32::from_be_bytes([a, b, c, d])), Ordering::SeqCst);
                self.is_done = true;
            }
            [b'K', ..] if self.head.len() < Self::HEAD + Self::NUMBER => {}
            // ReadyForQuery: it has not come.
            [b'Z', ..] => self.is_done = true,
            [_, a, b, c, d] => {
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or_default();
                self.skip = length.saturating_sub(Self::HEAD - 1);
                self.head.clear();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&[u8]]) -> i64 {
        let process = Arc::new(AtomicI64::new(UNTOLD));
        let mut ear = Ear::new(Arc::clone(&process));
        for piece in pieces {
            ear.hear(piece);
        }
        process.load(Ordering::SeqCst)
    }

    #[test]
    fn the_number_is_heard_however_it_is_cut() {
        let mut said = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x0cK\0\0\0\x0cx\0\0".to_vec();
        said.extend_from_slice(b"K\0\0\0\x0c\0\0\x30\x39\x01\x02\x03\x04Z\0\0\0\x05I");
        assert_eq!(heard(&[&said]), 12345);
        let single: Vec<&[u8]> = said.chunks(1).collect();
        assert_eq!(heard(&single), 12345);
        let threes: Vec<&[u8]> = said.chunks(3).collect();
        assert_eq!(heard(&threes), 12345);
    }

    #[test]
    fn without_one_nothing_is_known() {
        for said in [&b"Z\0\0\0\x05IK\0\0\0\x0c\0\0\0\x09\0\0\0\0"[..], b"", b"E\xff\xff\xff\xff", b"K\0\0"] {
            assert_eq!(heard(&[said]), UNTOLD);
        }
    }
}
