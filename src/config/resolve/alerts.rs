//! The alerts of the configuration: bounds in percent, and what each kind of channel needs and has no use for.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use anyhow::Result;
use jiff::civil::Time;
use toml::Spanned;

use super::Page;
use crate::config::alert::{
    Alerts, Bounds, Channel, Email, Format, QuietHours, Sms, SmtpTls, Way, Webhook, is_here,
};
use crate::config::raw;
use crate::config::value::Secret;
use crate::finding::Severity;

/// A night's backup may be late by two hours.
const USUAL_MAX_AGE: Duration = Duration::from_hours(26);
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
const USUAL_MIN_FREE_PERCENT: u8 = 5;
const USUAL_SIZE: Bounds = Bounds { drop_percent: Some(30), growth_percent: Some(100) };
const USUAL_DURATION: Bounds = Bounds { drop_percent: Some(80), growth_percent: Some(200) };
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

pub(super) fn alerts(page: &Page<'_>, raw: raw::Alert) -> Result<Alerts> {
    let bound = |text: &Option<Spanned<String>>, most: u32, usual: Option<u32>| match text {
        None => Ok(usual),
        Some(text) => percent(page, text, most),
    };
    let min_free = bound(&raw.min_free, 99, Some(USUAL_MIN_FREE_PERCENT.into()))?;
    let size = Bounds {
        drop_percent: bound(&raw.size_drop, 99, USUAL_SIZE.drop_percent)?,
        growth_percent: bound(&raw.size_growth, 1_000_000, USUAL_SIZE.growth_percent)?,
    };
    let duration = Bounds {
        drop_percent: bound(&raw.duration_drop, 99, USUAL_DURATION.drop_percent)?,
        growth_percent: bound(&raw.duration_growth, 1_000_000, USUAL_DURATION.growth_percent)?,
    };
    let mut names = BTreeSet::new();
    let mut channels = Vec::new();
    for raw in raw.channel {
        let channel = channel(page, raw.into_inner(), &mut names)?;
        channels.push(channel);
    }
    Ok(Alerts {
        max_age: raw.max_age.map_or(USUAL_MAX_AGE, |limit| limit.0),
        min_free_percent: min_free.and_then(|percent| u8::try_from(percent).ok()).unwrap_or_default(),
        size,
        duration,
        channels,
    })
}

/// `"30%"`, or `"off"`.
fn percent(page: &Page<'_>, text: &Spanned<String>, most: u32) -> Result<Option<u32>> {
    if text.get_ref() == "off" {
        return Ok(None);
    }
    let number = text.get_ref().strip_suffix('%').map(str::trim_end).unwrap_or_default();
    let is_plain = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    match number.parse::<u32>() {
        Ok(percent) if is_plain && (1..=most).contains(&percent) => Ok(Some(percent)),
        _ => Err(page.refuse(text.span(), &format!("a share is \"1%\" to \"{most}%\", or \"off\""))),
    }
}

fn channel(page: &Page<'_>, raw: raw::Channel, names: &mut BTreeSet<String>) -> Result<Channel> {
    let span = raw.name.span();
    let name = raw.name.get_ref().clone();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
        let message = "a channel's `name` is 1 to 63 of letters, digits, `_`, `-` and `.`";
        return Err(page.refuse(span, message));
    }
    if !names.insert(name.clone()) {
        return Err(page.refuse(span, &format!("two channels have the name `{name}`")));
    }
    refuse_what_has_no_use(page, &raw)?;
    let quiet = raw.quiet_hours.as_ref().map(|text| quiet_hours(page, text)).transpose()?;
    let rules = match &raw.rules {
        Some(rules) if rules.get_ref().is_empty() => {
            return Err(page.refuse(rules.span(), "`rules` without a rule lets nothing through"));
        }
        rules => rules.as_ref().map(|rules| rules.get_ref().iter().copied().collect()),
    };
    let databases = match &raw.databases {
        Some(names) if names.get_ref().is_empty() || names.get_ref().iter().any(String::is_empty) => {
            return Err(page.refuse(names.span(), "`databases` needs names"));
        }
        names => names.as_ref().map(|names| names.get_ref().iter().cloned().collect()),
    };
    let (min_severity, timeout) = (raw.min_severity.as_ref(), raw.timeout);
    let min_severity = min_severity.map_or(Severity::Info, |severity| *severity.get_ref());
    let timeout = timeout.map_or(USUAL_TIMEOUT, |limit| limit.0);
    let way = way(page, &span, raw)?;
    Ok(Channel { name, way, min_severity, rules, databases, quiet, timeout })
}

/// Keys that a channel of that kind would not heed.
fn refuse_what_has_no_use(page: &Page<'_>, raw: &raw::Channel) -> Result<()> {
    let given: [(&str, Option<Range<usize>>); 13] = [
        ("min_severity", raw.min_severity.as_ref().map(Spanned::span)),
        ("rules", raw.rules.as_ref().map(Spanned::span)),
        ("quiet_hours", raw.quiet_hours.as_ref().map(Spanned::span)),
        ("smtp", raw.smtp.as_ref().map(Spanned::span)),
        ("url", raw.url.as_ref().map(Spanned::span)),
        ("format", raw.format.as_ref().map(Spanned::span)),
        ("username", raw.username.as_ref().map(Spanned::span)),
        ("password", raw.password.as_ref().map(Spanned::span)),
        ("token", raw.token.as_ref().map(Spanned::span)),
        ("secret", raw.secret.as_ref().map(Spanned::span)),
        ("routing_key", raw.routing_key.as_ref().map(Spanned::span)),
        ("from", raw.from.as_ref().map(Spanned::span)),
        ("to", raw.to.as_ref().map(Spanned::span)),
    ];
    let filters = ["min_severity", "rules", "quiet_hours"];
    let (kind, own): (&str, &[&str]) = match raw.kind {
        raw::ChannelKind::Email => ("email", &["smtp", "username", "password", "from", "to"]),
        raw::ChannelKind::Sms => ("sms", &["url", "username", "password", "from", "to"]),
        raw::ChannelKind::Webhook => {
            ("webhook", &["url", "format", "username", "password", "token", "secret", "routing_key"])
        }
        raw::ChannelKind::Ping => ("ping", &["url"]),
        raw::ChannelKind::InApp => ("in_app", &[]),
    };
    // A dead man's switch learns of runs, not of alerts.
    let is_filtered = raw.kind != raw::ChannelKind::Ping;
    for (key, span) in given {
        // Those who listen in the database are told with the record.
        let is_late = key == "quiet_hours" && raw.kind == raw::ChannelKind::InApp;
        let is_heeded = own.contains(&key) || (is_filtered && filters.contains(&key) && !is_late);
        if let Some(span) = span.filter(|_| !is_heeded) {
            return Err(page.refuse(span, &format!("a channel of kind \"{kind}\" has no `{key}`")));
        }
    }
    Ok(())
}

/// `"22:00-07:00"`.
fn quiet_hours(page: &Page<'_>, text: &Spanned<String>) -> Result<QuietHours> {
    let read = |text: &str| -> Option<Time> {
        let (hour, minute) = text.trim().split_once(':')?;
        let is_plain = |part: &str| part.len() == 2 && part.chars().all(|c| c.is_ascii_digit());
        if !is_plain(hour) || !is_plain(minute) {
            return None;
        }
        Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
    };
    let hours = text.get_ref().split_once('-').and_then(|(from, until)| Some((read(from)?, read(until)?)));
    match hours {
        Some((from, until)) if from != until => Ok(QuietHours { from, until }),
        _ => Err(page.refuse(text.span(), "`quiet_hours` is \"HH:MM-HH:MM\", as in \"22:00-07:00\"")),
    }
}

fn way(page: &Page<'_>, span: &Range<usize>, raw: raw::Channel) -> Result<Way> {
    let needs = |kind: &str, key: &str| {
        page.refuse(span.clone(), &format!("a channel of kind \"{kind}\" needs `{key}`"))
    };
    Ok(match raw.kind {
        raw::ChannelKind::Email => Way::Email(email(page, span, raw)?),
        raw::ChannelKind::Sms => {
            refuse_in_the_clear(page, raw.url.as_ref(), true)?;
            let url = address(page, raw.url)?.ok_or_else(|| needs("sms", "url"))?;
            let login = login(page, raw.username, raw.password)?;
            let (username, password) = login.ok_or_else(|| needs("sms", "username` and `password"))?;
            let from = raw.from.ok_or_else(|| needs("sms", "from"))?;
            let to = recipients(page, raw.to)?.ok_or_else(|| needs("sms", "to"))?;
            Way::Sms(Sms { url, username, password, from: from.into_inner(), to })
        }
        raw::ChannelKind::Webhook => Way::Webhook(webhook(page, span, raw)?),
        raw::ChannelKind::Ping => {
            Way::Ping { url: address(page, raw.url)?.ok_or_else(|| needs("ping", "url"))? }
        }
        raw::ChannelKind::InApp => Way::InApp,
    })
}

fn email(page: &Page<'_>, span: &Range<usize>, raw: raw::Channel) -> Result<Email> {
    let needs = |key: &str| page.refuse(span.clone(), &format!("a channel of kind \"email\" needs `{key}`"));
    let smtp = raw.smtp.ok_or_else(|| needs("smtp"))?;
    let bad = || {
        let forms = "`smtp` is `smtp://HOST[:PORT]` (STARTTLS), `smtps://HOST[:PORT]` (TLS from the start) or \
                     `smtp+plain://HOST[:PORT]` (neither: a relay on this host)";
        page.refuse(smtp.span(), forms)
    };
    let (scheme, rest) = smtp.get_ref().split_once("://").ok_or_else(bad)?;
    let (tls, usual_port) = match scheme {
        "smtp" => (SmtpTls::StartTls, 587),
        "smtps" => (SmtpTls::Implicit, 465),
        "smtp+plain" => (SmtpTls::Plain, 25),
        _ => return Err(bad()),
    };
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        // A bare IPv6 address stands in brackets.
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| bad())?),
        _ => (rest, usual_port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || port == 0 || !host.chars().all(is_host) {
        return Err(bad());
    }
    let login = login(page, raw.username, raw.password)?;
    if tls == SmtpTls::Plain && login.is_some() && host != "::1" && !is_here(host) {
        let message = "a password would go over the network in the clear: `smtp://` or `smtps://` keep it";
        return Err(page.refuse(smtp.span(), message));
    }
    let from = raw.from.ok_or_else(|| needs("from"))?;
    let to = raw.to.as_ref().map_or(span.clone(), Spanned::span);
    let recipients = recipients(page, raw.to)?.ok_or_else(|| needs("to"))?;
    let is_address =
        |text: &str| text.parse::<lettre::Address>().is_ok() && text.chars().all(|c| c.is_ascii_graphic());
    if !is_address(from.get_ref()) {
        return Err(page.refuse(from.span(), "`from` is no mail address, as in `pgkeep@example.org`"));
    }
    if let Some(bad) = recipients.iter().find(|text| !is_address(text)) {
        return Err(page.refuse(to, &format!("`to`: `{bad}` is no mail address, as in `dba@example.org`")));
    }
    let (host, from) = (host.to_owned(), from.into_inner());
    Ok(Email { host, port, tls, login, from, to: recipients })
}

fn webhook(page: &Page<'_>, span: &Range<usize>, raw: raw::Channel) -> Result<Webhook> {
    let format = raw.format.as_ref().map_or(Format::Json, |format| *format.get_ref());
    let needs = |key: &str| page.refuse(span.clone(), &format!("this webhook needs `{key}`"));
    let is_pager = format == Format::Pagerduty;
    let goes_along = raw.username.is_some() || raw.token.is_some() || raw.routing_key.is_some();
    refuse_in_the_clear(page, raw.url.as_ref(), goes_along)?;
    let url = match address(page, raw.url)? {
        Some(url) => url,
        None if is_pager => Secret::Plain(PAGERDUTY.to_owned().into()),
        None => return Err(needs("url")),
    };
    if is_pager && raw.routing_key.is_none() {
        return Err(needs("routing_key"));
    }
    if let Some(key) = raw.routing_key.as_ref().filter(|_| !is_pager) {
        return Err(page.refuse(key.span(), "`routing_key` is for `format = \"pagerduty\"`"));
    }
    let login = login(page, raw.username, raw.password)?;
    if let Some(token) = raw.token.as_ref().filter(|_| login.is_some()) {
        return Err(page.refuse(token.span(), "`token` and `username` are two ways to do one thing"));
    }
    let bare = |secret: Option<Spanned<Secret>>| secret.map(Spanned::into_inner);
    let (secret, token, routing_key) = (bare(raw.secret), bare(raw.token), bare(raw.routing_key));
    Ok(Webhook { url, format, secret, login, token, routing_key })
}

/// An address; one that stands in the file is looked at here.
fn address(page: &Page<'_>, url: Option<Spanned<Secret>>) -> Result<Option<Secret>> {
    let Some(url) = url else { return Ok(None) };
    if let Secret::Plain(text) = url.get_ref() {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_graphic();
        if host.is_empty() || host.contains('@') || text.contains('#') || !text.chars().all(is_plain) {
            let message = "`url` is `https://HOST/...` or `http://HOST/...`, without a user or `#` in it";
            return Err(page.refuse(url.span(), message));
        }
    }
    Ok(Some(url.into_inner()))
}

/// A secret that goes along with what is posted must not be read on its way.
fn refuse_in_the_clear(page: &Page<'_>, url: Option<&Spanned<Secret>>, goes_along: bool) -> Result<()> {
    let Some(url) = url.filter(|_| goes_along) else { return Ok(()) };
    let Secret::Plain(text) = url.get_ref() else { return Ok(()) };
    let host = text.strip_prefix("http://").and_then(|rest| rest.split(['/', '?', '#']).next());
    match host {
        Some(host) if !is_here(host) => {
            let message = "a secret would go over the network in the clear: `https://` keeps it";
            Err(page.refuse(url.span(), message))
        }
        _ => Ok(()),
    }
}

fn login(
    page: &Page<'_>,
    username: Option<Spanned<Secret>>,
    password: Option<Spanned<Secret>>,
) -> Result<Option<(Secret, Secret)>> {
    match (username, password) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => Ok(Some((username.into_inner(), password.into_inner()))),
        (Some(one), None) => Err(page.refuse(one.span(), "`username` needs a `password` beside it")),
        (None, Some(one)) => Err(page.refuse(one.span(), "`password` needs a `username` beside it")),
    }
}

/// Who gets it, each once.
fn recipients(page: &Page<'_>, to: Option<Spanned<Vec<String>>>) -> Result<Option<Vec<String>>> {
    let Some(to) = to else { return Ok(None) };
    if to.get_ref().is_empty() || to.get_ref().iter().any(|name| name.trim().is_empty()) {
        return Err(page.refuse(to.span(), "`to` needs receivers"));
    }
    let mut once: Vec<String> = Vec::new();
    for name in to.into_inner() {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    Ok(Some(once))
}
