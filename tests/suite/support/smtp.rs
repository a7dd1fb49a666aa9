//! A real mail server (aiosmtpd), with or without TLS, with or without a login, that refuses what a test says.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::s3server::make_certificate;
use super::tools::{project, python, wait_until};
use super::watchdog::Watched;

/// How a mail server is spoken to.
#[allow(clippy::enum_variant_names, reason = "STARTTLS is the name of the thing")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tls {
    /// In the clear; it offers no STARTTLS.
    None,
    /// In the clear until STARTTLS, which it demands.
    #[default]
    StartTls,
    /// TLS from the start.
    Implicit,
}

/// What a mail server is like.
#[derive(Clone, Debug, Default)]
pub(crate) struct SmtpPlan {
    pub(crate) tls: Tls,
    /// Name and password, where it demands them.
    pub(crate) login: Option<(String, String)>,
}

/// A running mail server; its certificate is for `localhost`.
#[derive(Debug)]
pub(crate) struct Smtp {
    pub(crate) port: u16,
    /// The certificate of the authority that signed the server's.
    pub(crate) authority: PathBuf,
    plan: SmtpPlan,
    folder: PathBuf,
    generation: std::cell::Cell<u32>,
    _watched: Watched,
}

/// A mail that the server took.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// Of the envelope.
    pub(crate) sender: String,
    /// Of the envelope.
    pub(crate) recipients: Vec<String>,
    /// Who had logged in.
    pub(crate) user: Option<String>,
    /// Whether it came over TLS.
    pub(crate) is_tls: bool,
    /// As it came.
    pub(crate) raw: String,
    /// In order, decoded.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content_type: String,
    pub(crate) text: String,
    pub(crate) html: String,
    /// What a strict reader found wrong with it.
    pub(crate) defects: Vec<String>,
}

impl Smtp {
    /// Starts one.
    pub(crate) fn start(plan: SmtpPlan) -> Self {
        let folder = tempfile::Builder::new().prefix("pgkeep-smtp").tempdir().unwrap().keep();
        if plan.tls != Tls::None {
            make_certificate(&folder);
        }
        let tls = match plan.tls {
            Tls::None => "none",
            Tls::StartTls => "starttls",
            Tls::Implicit => "implicit",
        };
        let written = json!({ "tls": tls, "login": plan.login }).to_string();
        std::fs::write(folder.join("plan.json"), written).unwrap();
        let mut command = Command::new(python());
        command.arg(project().join("tests/smtp_server.py")).arg(&folder);
        let watched = Watched::start(&command, "KILL", &folder);
        let authority = folder.join("authority.crt");
        let mut server = Self { port: 0, authority, plan, folder, generation: 0.into(), _watched: watched };
        wait_until("the mail server listens", || {
            let port = server.events("ready").first().and_then(|event| event["port"].as_u64());
            server.port = port.map_or(0, |port| u16::try_from(port).unwrap());
            server.port != 0
        });
        server
    }

    /// What a channel's `smtp` is to be.
    pub(crate) fn url(&self) -> String {
        let scheme = match self.plan.tls {
            Tls::None => "smtp+plain",
            Tls::StartTls => "smtp",
            Tls::Implicit => "smtps",
        };
        format!("{scheme}://localhost:{}", self.port)
    }

    /// From now on that many commands of a stage (`mail`, `rcpt`, `data`, or `taken`: the mail is taken, and refused
    /// all the same) get an answer with that code and text; code 0 gets none. It is instead of what was said before.
    pub(crate) fn refuse(&self, stage: &str, code: u16, text: &str, times: usize) {
        self.generation.set(self.generation.get() + 1);
        let rule = json!({ "stage": stage, "code": code, "text": text, "times": times });
        let rules = json!({ "generation": self.generation.get(), "rules": [rule] });
        let (fresh, path) = (self.folder.join("rules.new"), self.folder.join("rules.json"));
        std::fs::write(&fresh, rules.to_string()).unwrap();
        std::fs::rename(&fresh, path).unwrap();
    }

    /// Takes all mails from now on.
    pub(crate) fn heal(&self) {
        self.refuse("none", 0, "", 0);
    }

    /// Whoever is not let in is told what they said, as they said it and as it went over the wire.
    pub(crate) fn repeat_logins(&self) {
        std::fs::write(self.folder.join("repeats"), "").unwrap();
    }

    /// The mails it took, in order.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.events("mail").iter().map(Mail::of).collect()
    }

    /// The one mail it took.
    pub(crate) fn mail(&self) -> Mail {
        let mut mails = self.mails();
        assert_eq!(mails.len(), 1, "{}", self.log());
        mails.remove(0)
    }

    /// What happened, of one kind: `connection`, `login`, `refused`, `mail`.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        let log = self.log();
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let events = whole.lines().filter(|line| line.starts_with("{\"event\""));
        let events = events.map(|line| serde_json::from_str(line).unwrap());
        events.filter(|event: &Value| event["event"] == kind).collect()
    }

    /// All it printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Mail {
    fn of(event: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let texts = |value: &Value| value.as_array().unwrap().iter().map(text).collect();
        let pair = |pair: &Value| (text(&pair[0]), text(&pair[1]));
        Self {
            sender: text(&event["sender"]),
            recipients: texts(&event["recipients"]),
            user: event["user"].as_str().map(str::to_owned),
            is_tls: event["tls"] == true,
            raw: text(&event["raw"]),
            headers: event["headers"].as_array().unwrap().iter().map(pair).collect(),
            content_type: text(&event["content_type"]),
            text: text(&event["text"]),
            html: text(&event["html"]),
            defects: texts(&event["defects"]),
        }
    }

    /// The value of a header, which must stand there once.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let (Some((_, value)), None) = (found.next(), found.next()) else {
            panic!("`{name}` is not there once: {:?}", self.headers);
        };
        value
    }
}
