//! One POST over HTTP, and what its answer means. It knows no kind of channel.

use std::io::Read;
use std::time::Duration;

use anyhow::{Result, bail};
use ureq::Agent;
use ureq::http::{Request, StatusCode};
use zeroize::Zeroizing;

use super::undelivered::Undelivered;
use crate::config::alert::is_here;
use crate::exit::clip;
use crate::https;

/// No more of an answer is read.
const ANSWER_LIMIT_BYTES: u64 = 64 * 1024;
/// Anything shorter would make nonsense of an error in which it is hidden.
const LEAST_HIDDEN: usize = 4;

/// The answer to a POST.
pub(super) type Answer = ureq::http::Response<ureq::Body>;

/// An address that is posted to, and what must never be shown.
pub(super) struct Target {
    agent: Agent,
    url: Zeroizing<String>,
    /// Scheme and host: what may be shown of it.
    shown: String,
    secrets: Vec<Zeroizing<String>>,
}

impl Target {
    /// An address, with all that goes along and is a secret. `needs_cover` says that one of these goes as it is.
    pub(super) fn new(
        url: &str,
        timeout: Duration,
        secrets: Vec<Zeroizing<String>>,
        needs_cover: bool,
    ) -> Result<Self> {
        let Some((scheme, rest)) =
            url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
        else {
            bail!("its address is neither `https://...` nor `http://...`");
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        // A fragment never leaves: what would be put behind it were lost.
        if host.is_empty()
            || host.contains('@')
            || url.contains('#')
            || !url.chars().all(|c| c.is_ascii_graphic())
        {
            bail!("its address is not of the form `https://HOST/...`, without a user or `#` in it");
        }
        let shown = format!("{scheme}://{host}");
        if scheme == "http" && needs_cover && !is_here(host) {
            bail!("a secret would go to {shown} in the clear: its address must be `https://...`");
        }
        let mut config = Agent::config_builder()
            .proxy(https::proxy_to(host, scheme == "https")?)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("pgkeep/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_global(Some(timeout));
        if scheme == "https" {
            config = config.tls_config(https::tls_config()?);
        }
        let mut hidden = secrets;
        hidden.push(Zeroizing::new(path.to_owned()));
        hidden.extend(path.split(['/', '?', '&', '=']).map(|piece| Zeroizing::new(piece.to_owned())));
        let hidden = ways_to_write(&hidden);
        let url = Zeroizing::new(url.to_owned());
        Ok(Self { agent: config.build().new_agent(), url, shown, secrets: hidden })
    }

    /// Posts a body; the error says why that came to nothing. `say` reads words for people out of an answer.
    pub(super) fn post(
        &self,
        url_of: impl Fn(&str) -> String,
        headers: &[(&str, String)],
        body: &[u8],
        say: impl Fn(&str) -> Option<String>,
    ) -> Result<(), Undelivered> {
        self.ask(url_of, headers, body, say).map(drop)
    }

    /// The same, and gives the answer of a receiver that took it.
    pub(super) fn ask(
        &self,
        url_of: impl Fn(&str) -> String,
        headers: &[(&str, String)],
        body: &[u8],
        say: impl Fn(&str) -> Option<String>,
    ) -> Result<Answer, Undelivered> {
        let mut request = Request::post(url_of(&self.url));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let broken = |what: String| Undelivered { message: self.told(&what), is_refusal: false };
        let request =
            request.body(body).map_err(|error| broken(format!(": the request can't be made: {error}")))?;
        let mut answer =
            self.agent.run(request).map_err(|error| broken(format!(": {}", in_words(&error))))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = self.text(&mut answer);
        let said = text.and_then(|text| say(&text).or_else(|| short(&text)));
        let said = said.map_or_else(String::new, |said| format!(": {said}"));
        let why = if status.is_redirection() { " (a redirect is not followed)" } else { "" };
        let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
        Err(Undelivered {
            message: self.told(&format!(" answered {status}{why}{said}")),
            is_refusal: status.is_client_error() && !passing.contains(&status),
        })
    }

    /// What an answer says, as far as it came and is not too long, without what must not be shown: hidden before it is
    /// cut, since a piece of a secret is not found any more.
    pub(super) fn text(&self, answer: &mut Answer) -> Option<String> {
        let mut text = Vec::new();
        answer.body_mut().as_reader().take(ANSWER_LIMIT_BYTES).read_to_end(&mut text).ok()?;
        Some(self.hide(&String::from_utf8_lossy(&text)))
    }

    /// An answer that is none: what is told of it.
    pub(super) fn refused(&self, why: &str, is_refusal: bool) -> Undelivered {
        Undelivered { message: self.told(&format!(" answered: {why}")), is_refusal }
    }

    /// What is told of this address: scheme, host, and what is said of them.
    fn told(&self, what: &str) -> String {
        super::clean::clean_line(&format!("{}{}", self.shown, self.hide(what)))
    }

    /// The text without what must not be shown.
    fn hide(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// Secrets as they are, and as JSON and addresses write them; the longest first: a piece of one must not keep the rest
/// from being found.
fn ways_to_write(secrets: &[Zeroizing<String>]) -> Vec<Zeroizing<String>> {
    let ways = |secret: &Zeroizing<String>| {
        let encoded =
            percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
        [secret.clone(), Zeroizing::new(secret.replace('/', "\\/")), Zeroizing::new(encoded)]
    };
    let mut all: Vec<Zeroizing<String>> = secrets.iter().flat_map(ways).collect();
    all.retain(|secret| secret.len() >= LEAST_HIDDEN);
    all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    all
}

fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "there is no such host".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// What an answer says, unless it is a page for a browser.
fn short(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && !text.starts_with('<')).then(|| clip(text.to_owned()))
}

/// The value of an `Authorization` header: HTTP's basic authentication (RFC 7617).
pub(super) fn basic(username: &str, password: &str) -> Zeroizing<String> {
    use base64::Engine as _;
    let pair = Zeroizing::new(format!("{username}:{password}"));
    Zeroizing::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.as_bytes())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn target(url: &str, needs_cover: bool) -> Result<Target> {
        Target::new(url, Duration::from_secs(1), vec![Zeroizing::new("hunter22".to_owned())], needs_cover)
    }

    #[test]
    fn secrets_go_under_cover_or_to_this_host() {
        for url in
            ["http://localhost:8000/x", "http://127.0.0.1/x", "http://[::1]:80/x", "http://127.9.9.9:1"]
        {
            assert!(target(url, true).is_ok(), "{url}");
        }
        for url in ["http://example.org/x", "http://127.0.0.1.example.org/", "http://localhost.example.org"] {
            assert!(target(url, true).is_err(), "{url}");
            assert!(target(url, false).is_ok(), "{url}");
        }
        for url in ["ftp://x/y", "https://", "https://a:b@host/", "https://host/x#y", "https://ho st/", "x"] {
            assert!(target(url, false).is_err(), "{url}");
        }
    }

    #[test]
    fn nothing_that_is_a_secret_is_shown() {
        let target = target("http://localhost/services/T000/B111?key=abcdef", true).unwrap();
        let shown = target.told(": hunter22 at /services/T000/B111?key=abcdef, B111 and abcdef");
        assert_eq!(shown, "http://localhost: *** at ***, *** and ***");
        assert_eq!(target.hide(r"\/services\/T000\/B111?key=abcdef"), "***");
        assert!(!target.hide("%2Fservices%2FT000%2FB111").contains("T000"));
        let target = self::target("https://ping.example.org/ping/5f0c", false).unwrap();
        assert_eq!(target.told(" answered 500"), "https://ping.example.org answered 500");
    }
}
