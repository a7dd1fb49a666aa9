//! What went wrong with an S3 request, in the server's own words and with what to do about it. It
//! must not hold a secret, nor an address with a signature in it.

use std::fmt;
use std::io;
use std::time::Duration;

use ureq::Timeout;

use super::place::{Place, Said};
use super::words;

/// Longest message of a server that is passed on.
const MESSAGE_LIMIT_CHARACTERS: usize = 300;

/// Whether another attempt of the same request can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The server has said what it had to say.
    Never,
    /// The connection could not be made: worth a few seconds, no more.
    Connect,
    /// The problem may pass.
    Soon,
    /// The problem may pass, and the server asked for this much time.
    After(Duration),
}

/// An S3 request that failed.
#[derive(Clone, Debug)]
pub struct S3Error {
    /// What was attempted, e.g. `upload of part 3`.
    pub operation: String,
    /// The HTTP status, where the server answered.
    pub status: Option<u16>,
    /// The S3 error code, where the server gave one.
    pub code: Option<String>,
    /// The server's message, or that of the connection.
    pub message: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
    pub(super) again: Again,
}

impl fmt::Display for S3Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.operation)?;
        match (&self.code, self.status) {
            (Some(code), Some(status)) => write!(formatter, "{code} ({status}): ")?,
            (Some(code), None) => write!(formatter, "{code}: ")?,
            (None, Some(status)) => write!(formatter, "HTTP status {status}: ")?,
            (None, None) => {}
        }
        formatter.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(formatter, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for S3Error {}

impl S3Error {
    /// An error of our own finding, which no other attempt mends.
    pub(super) fn refused(operation: &str, message: impl Into<String>) -> Self {
        Self {
            operation: operation.to_owned(),
            status: None,
            code: None,
            message: message.into(),
            hint: None,
            again: Again::Never,
        }
    }

    /// An error of our own finding that another attempt may mend.
    pub(super) fn passing(operation: &str, message: impl Into<String>) -> Self {
        Self { again: Again::Soon, ..Self::refused(operation, message) }
    }

    /// What an answer other than a success says.
    pub(super) fn from_answer(operation: &str, status: u16, said: &Said, place: &Place) -> Self {
        let code = Some(clean(&said.document.code)).filter(|code| !code.is_empty());
        let mut message = clean(&said.document.message);
        if message.is_empty() {
            message = match &code {
                Some(_) => "the server gave no message".to_owned(),
                None => format!("{} without an explanation", phrase(status)),
            };
        }
        let again = match (is_passing(status, code.as_deref()), said.retry_after) {
            (false, _) => Again::Never,
            (true, Some(time)) => Again::After(time),
            (true, None) => Again::Soon,
        };
        let hint = words::hint(code.as_deref(), status, &message, said, place);
        Self { operation: operation.to_owned(), status: Some(status), code, message, hint, again }
    }

    /// What a failure below HTTP says.
    pub(super) fn from_transport(operation: &str, error: ureq::Error, place: &Place) -> Self {
        let host = &place.host;
        let (message, again) = match error {
            ureq::Error::HostNotFound => {
                return Self::unreachable(
                    operation,
                    format!("the host `{host}` has no address"),
                    words::NO_NAME,
                );
            }
            ureq::Error::Timeout(Timeout::Resolve) => {
                let message = format!("the address of `{host}` was not found in time (timeouts.connect)");
                return Self::unreachable(operation, message, words::NO_NAME);
            }
            ureq::Error::Timeout(Timeout::Connect) | ureq::Error::ConnectionFailed => {
                let message = format!("can't connect to `{host}`: timed out (timeouts.connect)");
                return Self::unreachable(operation, message, words::NO_WAY);
            }
            ureq::Error::Timeout(which) => (words::timed_out(which, place), Again::Soon),
            ureq::Error::Io(error) => return Self::from_io(operation, &error, place),
            ureq::Error::Rustls(error) => return Self::from_tls(operation, &error, place),
            ureq::Error::Tls(text) => (format!("TLS with `{host}`: {text}"), Again::Soon),
            ureq::Error::Protocol(error) => {
                (format!("`{host}` does not speak HTTP properly: {error}"), Again::Soon)
            }
            ureq::Error::LargeResponseHeader(..) => {
                (format!("`{host}` sent a header beyond all measure"), Again::Never)
            }
            ureq::Error::ConnectProxyFailed(text) => {
                (format!("the proxy did not connect to `{host}`: {}", clean(&text)), Again::Connect)
            }
            // The text of these may quote the address, signature and all.
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                (format!("the endpoint `{host}` makes no valid address"), Again::Never)
            }
            other => (format!("`{host}`: {}", clean(&other.to_string())), Again::Never),
        };
        Self { again, ..Self::refused(operation, message) }
    }

    /// What a failure of the connection says, while sending or while reading the answer's body.
    pub(super) fn from_io(operation: &str, error: &io::Error, place: &Place) -> Self {
        let host = &place.host;
        let inner = error.get_ref();
        if let Some(ureq::Error::Timeout(which)) = inner.and_then(|inner| inner.downcast_ref()) {
            return Self::passing(operation, words::timed_out(*which, place));
        }
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::from_tls(operation, error, place);
        }
        // The standard library has no kind for a name that the resolver does not know.
        if error.to_string().contains("lookup address") {
            let message = format!("can't find the address of `{host}`: {error}");
            return Self::unreachable(operation, message, words::NO_NAME);
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                let message = format!("can't connect to `{host}`: {error}");
                Self::unreachable(operation, message, words::NOBODY_LISTENS)
            }
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable => {
                let message = format!("can't connect to `{host}`: {error}");
                Self::unreachable(operation, message, words::NO_WAY)
            }
            _ => {
                let message = format!("the connection to `{host}` broke: {}", clean(&error.to_string()));
                Self::passing(operation, message)
            }
        }
    }

    fn unreachable(operation: &str, message: String, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), again: Again::Connect, ..Self::refused(operation, message) }
    }

    fn from_tls(operation: &str, error: &rustls::Error, place: &Place) -> Self {
        // A certificate that is not trusted now is not trusted a second later.
        let again = match error {
            rustls::Error::InvalidCertificate(_) => Again::Never,
            _ => Again::Soon,
        };
        let message = format!("TLS with `{}`: {error}", place.host);
        let hint = words::tls_hint(error).map(str::to_owned);
        Self { hint, again, ..Self::refused(operation, message) }
    }

    /// Whether the request may have been carried out, or may be on another attempt.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.again != Again::Never
    }

    /// Whether the server does not know what it was asked for, or a header of it.
    pub(super) fn is_not_implemented(&self) -> bool {
        self.status == Some(501) || self.is_code("NotImplemented")
    }

    pub(super) fn is_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

fn is_passing(status: u16, code: Option<&str>) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
        || matches!(
            code,
            Some(
                "SlowDown"
                    | "InternalError"
                    | "RequestTimeout"
                    | "ServiceUnavailable"
                    | "TooManyRequests"
                    | "BadDigest"
            )
        )
}

fn phrase(status: u16) -> &'static str {
    match status {
        301 | 302 | 307 | 308 => "the server points to another endpoint",
        401 | 403 => "access denied",
        404 => "not found",
        412 => "precondition failed",
        429 => "too many requests",
        500..=599 => "the server is in trouble",
        _ => "refused",
    }
}

/// A server's text, fit for one line of a log: bounded, without control characters, and without what
/// follows where it quotes a signature back.
fn clean(text: &str) -> String {
    let end =
        ["X-Amz-Signature", "X-Amz-Credential", "Signature="].iter().filter_map(|word| text.find(word)).min();
    let text = end.and_then(|end| text.get(..end)).unwrap_or(text);
    let mut cleaned: String = text
        .split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if let Some((end, _)) = cleaned.char_indices().nth(MESSAGE_LIMIT_CHARACTERS) {
        cleaned.truncate(end);
        cleaned.push_str(" ...");
    }
    cleaned
}
