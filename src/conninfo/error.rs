//! What can be wrong with a connection string and the files it leads to. No variant may carry a value that
//! could be, or be part of, a password: keywords, file names and positions only.

use std::path::PathBuf;

/// Why connection parameters could not be read or resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnInfoError {
    /// A keyword that libpq does not have.
    #[error("unknown connection parameter `{0}`")]
    UnknownKeyword(String),
    /// The same where the word may be a piece of a password that was not quoted.
    #[error(
        "unknown connection parameter at character {0} of the connection string (a value with spaces, quotes or `&` must be quoted or percent-encoded)"
    )]
    UnknownAt(usize),
    /// A word of a key=value string that no `=` follows.
    #[error(
        "missing `=` after the word at character {0} of the connection string (a value with spaces needs single quotes)"
    )]
    MissingEquals(usize),
    /// A value that starts with a quote and has no other.
    #[error("unterminated quote in the value of connection parameter `{0}`")]
    UnterminatedQuote(&'static str),
    /// `%` without two hexadecimal digits behind it.
    #[error("invalid percent-encoding in the {0} of the connection URI")]
    PercentEncoding(&'static str),
    /// `%00`, or a zero byte.
    #[error("a zero byte in the {0} of the connection string")]
    ZeroByte(&'static str),
    /// Percent-encoded bytes that are not UTF-8.
    #[error("the {0} of the connection URI is not UTF-8")]
    NotUtf8(&'static str),
    /// An IPv6 address in a URI that is empty, not closed, or followed by something odd.
    #[error("malformed IPv6 host in the connection URI (expected `[address]` or `[address]:port`)")]
    Ipv6Host,
    /// A query parameter of a URI without `=`, or with two.
    #[error("query parameter {0} of the connection URI is not of the form `name=value`")]
    QueryParameter(usize),
    /// A text with `://` that is neither `postgresql://` nor `postgres://`.
    #[error("unknown scheme in the connection URI (expected `postgresql://` or `postgres://`)")]
    UnknownScheme,
    /// A port that is no number from 1 to 65535. The text is not shown: in a URI whose password has an
    /// unescaped `/` it is a piece of that password.
    #[error(
        "invalid port in the connection parameters (expected a number from 1 to 65535; a `/` in a URI's password must be written `%2F`)"
    )]
    InvalidPort,
    /// An `@` in what would be a host, or behind a password that may go on there. The text is not shown: it is most
    /// likely a piece of that password.
    #[error(
        "an `@` in a place that has none, in the host or the name of the database (in the password of a connection URI it must be written `%40`, and `%40` in a URI's database name too)"
    )]
    StrayAt,
    /// A URI where a name of a database is asked for: it may hold a password, and is not shown.
    #[error("the name of the database is a connection URI; give that as the whole connection string")]
    UriAsDatabase,
    /// Lists of hosts, addresses and ports that do not go together.
    #[error("connection parameters name {hosts} hosts but {others} {what}")]
    UnequalLists {
        /// The number of hosts.
        hosts: usize,
        /// The number of the other things.
        others: usize,
        /// What the other things are.
        what: &'static str,
    },
    /// Neither the parameters nor the operating system give a user name.
    #[error(
        "no user name in the connection parameters, and the operating system names none; set `user` or PGUSER"
    )]
    NoUser,
    /// The service that was asked for stands in no service file.
    #[error("definition of connection service `{0}` not found")]
    ServiceNotFound(String),
    /// A service file that does not exist although it was named, or cannot be read.
    #[error("cannot read service file `{path}`: {cause}")]
    ServiceFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A line of a service file that is no parameter.
    #[error("service file `{path}`, line {line}: {what}")]
    ServiceSyntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// The error for a word that is no keyword. A word right after a secret, or one that does not look like a
/// keyword, may be a piece of that secret, and is shown by its position only.
pub(super) fn unknown(word: &str, after_secret: bool, position: usize) -> ConnInfoError {
    let looks_like_keyword = (1..=40).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if looks_like_keyword && !after_secret {
        ConnInfoError::UnknownKeyword(word.to_owned())
    } else {
        ConnInfoError::UnknownAt(position)
    }
}
