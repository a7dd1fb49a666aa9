//! Connection URIs, by the grammar of libpq's "Connection URIs" (several hosts, empty parts and all). It
//! knows no defaults and reads no files.

use super::error::{ConnInfoError, unknown};
use super::{ConnInfo, keyword};

/// What follows the scheme of a connection URI; none when the text is no such URI.
pub(super) fn strip_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

/// Reads what follows the scheme.
pub(super) fn parse(rest: &str) -> Result<ConnInfo, ConnInfoError> {
    let mut info = ConnInfo::default();
    refuse_unescaped_at(rest)?;
    // As in libpq, the credentials end at the first `@` that stands before any `/`.
    let authority_end = rest.find(['@', '/']);
    let rest = match authority_end.map(|end| rest.split_at(end)) {
        Some((credentials, tail)) if tail.starts_with('@') => {
            set_credentials(&mut info, credentials)?;
            tail.strip_prefix('@').unwrap_or(tail)
        }
        _ => rest,
    };
    let rest = set_hosts(&mut info, rest)?;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, query),
        None => (rest, ""),
    };
    if let Some(name) = path.strip_prefix('/').filter(|name| !name.is_empty()) {
        info.set("dbname", decode(name, "dbname")?);
    }
    set_query(&mut info, query)?;
    Ok(info)
}

/// Refuses an `@` that may stand in a password: what follows it would be taken for a host or a database, and be shown.
fn refuse_unescaped_at(text: &str) -> Result<(), ConnInfoError> {
    let end = text.find(['@', '/']).unwrap_or(text.len());
    let (credentials, tail) = text.split_at(end);
    let (credentials, rest) = match tail.strip_prefix('@') {
        Some(rest) => (credentials, rest),
        None => ("", text),
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').map_or((place, None), |(host, path)| (host, Some(path)));
    // Without an end of them `user:password` reads as `host:port`.
    let may_be_password =
        credentials.contains(':') || (authority.contains(':') && !authority.starts_with('['));
    // Behind credentials a host and a number are just that.
    let is_place = tail.starts_with('@') && authority.split(',').all(has_plain_port);
    let in_query = path.is_none() && query.contains('@') && (credentials.contains(':') || !is_place);
    let in_path = path.is_some_and(|path| path.contains('@'));
    if authority.contains('@') || (may_be_password && (in_path || in_query)) {
        return Err(ConnInfoError::StrayAt);
    }
    Ok(())
}

fn has_plain_port(host: &str) -> bool {
    host.split_once(':').is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn set_credentials(info: &mut ConnInfo, text: &str) -> Result<(), ConnInfoError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    if !user.is_empty() {
        info.set("user", decode(user, "user")?);
    }
    if !password.is_empty() {
        info.set("password", decode(password, "password")?);
    }
    Ok(())
}

/// Takes `host:port,host:port` and gives back the rest, which is empty or starts with `/` or `?`.
fn set_hosts<'a>(info: &mut ConnInfo, text: &'a str) -> Result<&'a str, ConnInfoError> {
    let mut hosts = String::new();
    let mut ports = String::new();
    let mut rest = text;
    loop {
        let (host, tail) = take_host(rest)?;
        hosts.push_str(host);
        rest = tail;
        if let Some(tail) = rest.strip_prefix(':') {
            let (port, tail) = split_before(tail, &['/', '?', ',']);
            ports.push_str(port);
            rest = tail;
        }
        match rest.strip_prefix(',') {
            Some(tail) => rest = tail,
            None => break,
        }
        hosts.push(',');
        ports.push(',');
    }
    if !hosts.is_empty() {
        info.set("host", decode(&hosts, "host")?);
    }
    if !ports.is_empty() {
        info.set("port", decode(&ports, "port")?);
    }
    Ok(rest)
}

fn take_host(text: &str) -> Result<(&str, &str), ConnInfoError> {
    let Some(bracketed) = text.strip_prefix('[') else {
        return Ok(split_before(text, &[':', '/', '?', ',']));
    };
    let (address, tail) = bracketed.split_once(']').ok_or(ConnInfoError::Ipv6Host)?;
    let is_odd = tail.chars().next().is_some_and(|next| !matches!(next, ':' | '/' | '?' | ','));
    if address.is_empty() || is_odd {
        return Err(ConnInfoError::Ipv6Host);
    }
    Ok((address, tail))
}

fn split_before<'a>(text: &'a str, stops: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(stops).unwrap_or(text.len()))
}

fn set_query(info: &mut ConnInfo, query: &str) -> Result<(), ConnInfoError> {
    // libpq takes one `&` at the end for nothing, and no other empty parameter.
    let query = query.strip_suffix('&').unwrap_or(query);
    if query.is_empty() {
        return Ok(());
    }
    // A `?` in a password that has an `@` too: what follows is none of the query.
    let may_be_secret = query.contains('@');
    let mut after_secret = may_be_secret;
    for (index, pair) in query.split('&').enumerate() {
        let number = index + 1;
        let (name, value) = pair
            .split_once('=')
            .filter(|(_, value)| !value.contains('='))
            .ok_or(ConnInfoError::QueryParameter(number))?;
        let name = decode(name, "query")?;
        // As libpq does for the sake of JDBC's URIs.
        if name == "ssl" && value == "true" {
            info.set("sslmode", "require".to_owned());
            after_secret = may_be_secret;
            continue;
        }
        let known = keyword::find(&name).ok_or_else(|| unknown(&name, after_secret, number))?;
        info.set(known.name, decode(value, known.name)?);
        after_secret = may_be_secret || keyword::is_secret(known.name);
    }
    Ok(())
}

/// Undoes percent-encoding; `part` names the part of the URI for an error.
fn decode(text: &str, part: &'static str) -> Result<String, ConnInfoError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = bytes.next().and_then(hexadecimal);
        let low = bytes.next().and_then(hexadecimal);
        match (high, low) {
            (Some(0), Some(0)) => return Err(ConnInfoError::ZeroByte(part)),
            (Some(high), Some(low)) => decoded.push(high << 4 | low),
            _ => return Err(ConnInfoError::PercentEncoding(part)),
        }
    }
    // The bytes of a bad password must not travel in the error, so its cause is dropped.
    String::from_utf8(decoded).map_err(|_| ConnInfoError::NotUtf8(part))
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
