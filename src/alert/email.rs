//! Mail by SMTP (RFC 5321), with STARTTLS (RFC 3207), TLS from the start (RFC 8314), or neither.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message as Mail, SmtpTransport, Transport as _};
use zeroize::Zeroizing;

use super::clean::clean_line;
use super::message::AlertText;
use super::undelivered::{Fetch, Undelivered};
use crate::alert_record::Delivery;
use crate::config::alert::{Email, SmtpTls};
use crate::config::environment;

pub(super) struct Mailer {
    transport: SmtpTransport,
    from: Mailbox,
    /// Host and port, for errors.
    shown: String,
    secrets: Vec<Zeroizing<String>>,
}

impl Mailer {
    pub(super) fn new(config: &Email, timeout: Duration, fetch: Fetch<'_>) -> Result<Self> {
        let tls = || {
            TlsParameters::new_rustls(config.host.clone())
                .with_context(|| format!("TLS with {} can't be set up", config.host))
        };
        let tls = match config.tls {
            SmtpTls::Plain => Tls::None,
            SmtpTls::StartTls => Tls::Required(tls()?),
            SmtpTls::Implicit => Tls::Wrapper(tls()?),
        };
        let mut transport = SmtpTransport::builder_dangerous(config.host.clone())
            .port(config.port)
            .tls(tls)
            .timeout(Some(timeout))
            .hello_name(ClientId::Domain(host_name()));
        let mut secrets = Vec::new();
        if let Some((username, password)) = &config.login {
            let (username, password) = (fetch(username)?, fetch(password)?);
            transport = transport
                .authentication(vec![Mechanism::Plain, Mechanism::Login])
                .credentials(Credentials::new(username.to_string(), password.to_string()));
            // As they go over the wire, too: a server may repeat what it did not like.
            let pair = Zeroizing::new(format!("\0{}\0{}", *username, *password));
            for text in [&pair, &password, &username] {
                let encoded = STANDARD.encode(text.as_bytes());
                let bare = Zeroizing::new(encoded.trim_end_matches('=').to_owned());
                secrets.extend([Zeroizing::new(encoded), bare]);
            }
            secrets.extend([password, username]);
        }
        let from = config.from.parse().with_context(|| format!("`{}` is no mail address", config.from))?;
        let shown = format!("{}:{}", config.host, config.port);
        Ok(Self { transport: transport.build(), from, shown, secrets })
    }

    pub(super) fn send(&self, delivery: &Delivery, message: &AlertText) -> Result<(), Undelivered> {
        let refused = |what: String| Undelivered { message: what, is_refusal: true };
        let to = delivery.recipient.as_deref().unwrap_or_default();
        let mailbox: Mailbox =
            to.parse().map_err(|error| refused(format!("`{to}` is no mail address: {error}")))?;
        let mail = self
            .mail(delivery, message, mailbox)
            .map_err(|error| refused(format!("the mail can't be written: {error:#}")))?;
        self.transport.send(&mail).map(drop).map_err(|error| self.undelivered(&error))
    }

    fn mail(&self, delivery: &Delivery, message: &AlertText, to: Mailbox) -> Result<Mail> {
        let domain = self.from.email.domain();
        // One conversation for each alert, from its beginning to its end.
        let thread = format!("<{}@{domain}>", message.alert.id);
        let header = |name: &'static str, value: &str| -> Result<HeaderValue> {
            let name = HeaderName::new_from_ascii(name.to_owned())?;
            Ok(HeaderValue::new(name, value.to_owned()))
        };
        let mail = Mail::builder()
            .from(self.from.clone())
            .to(to)
            .subject(format!("[pgkeep] {}", message.title()))
            .date(SystemTime::from(delivery.created_at))
            // The same at each try: a receiver that has it keeps one.
            .message_id(Some(format!("<{}@{domain}>", delivery.id)))
            .in_reply_to(thread.clone())
            .references(thread)
            .raw_header(header("Auto-Submitted", "auto-generated")?)
            .raw_header(header("X-Pgkeep-Alert", &message.alert.id)?)
            .multipart(MultiPart::alternative_plain_html(message.text(), message.html()))?;
        Ok(mail)
    }

    fn undelivered(&self, error: &lettre::transport::smtp::Error) -> Undelivered {
        let mut words = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !words.contains(&text) {
                words = format!("{words}: {text}");
            }
            cause = inner.source();
        }
        let words = self.secrets.iter().fold(words, |words, secret| words.replace(secret.as_str(), "***"));
        let hint = if words.contains("STARTTLS") || error.is_tls() {
            " (`smtp://` demands STARTTLS, `smtps://` is TLS from the start)"
        } else {
            ""
        };
        let message = format!("{}: {}{hint}", self.shown, clean_line(&words));
        Undelivered { message, is_refusal: error.is_permanent() }
    }
}

/// This host as servers are greeted: some want a name that looks like one.
fn host_name() -> String {
    let name = environment::host_name();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if !name.is_empty() && name.chars().all(is_plain) { name } else { "localhost".to_owned() }
}
