//! A webhook: a JSON POST in the format of whoever reads it, signed where a secret is configured.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::http::{Target, basic};
use super::message::AlertText;
use super::undelivered::{Fetch, Undelivered};
use crate::config::alert::{Format, Webhook};

mod format;
mod signature;

use format::Outgoing;
use signature::Signer;

pub(super) struct Hook {
    target: Target,
    format: Format,
    signer: Option<Signer>,
    authorization: Option<Zeroizing<String>>,
    routing_key: Option<Zeroizing<String>>,
}

impl Hook {
    pub(super) fn new(config: &Webhook, timeout: Duration, fetch: Fetch<'_>) -> Result<Self> {
        let url = fetch(&config.url)?;
        let mut secrets = Vec::new();
        let authorization = match (&config.login, &config.token) {
            (Some((username, password)), _) => {
                let (username, password) = (fetch(username)?, fetch(password)?);
                let authorization = basic(&username, &password);
                secrets.extend([password, username, authorization.clone()]);
                Some(authorization)
            }
            (None, Some(token)) => {
                let token = fetch(token)?;
                let authorization = Zeroizing::new(format!("Bearer {}", *token));
                secrets.push(token);
                Some(authorization)
            }
            (None, None) => None,
        };
        let signer = match &config.secret {
            None => None,
            Some(secret) => {
                let secret = fetch(secret)?;
                let signer = Signer::new(&secret).context("`secret`")?;
                secrets.push(secret);
                Some(signer)
            }
        };
        let routing_key = config.routing_key.as_ref().map(fetch).transpose()?;
        secrets.extend(routing_key.clone());
        let needs_cover = authorization.is_some() || routing_key.is_some();
        let target = Target::new(&url, timeout, secrets, needs_cover)?;
        Ok(Self { target, format: config.format, signer, authorization, routing_key })
    }

    pub(super) fn send(&self, id: &str, message: &AlertText, now: Timestamp) -> Result<(), Undelivered> {
        let key = self.routing_key.as_ref().map(|key| key.as_str());
        let Outgoing { mut headers, body } = format::outgoing(self.format, message, key, now);
        let stamp = now.as_second().to_string();
        // The same at each try: a receiver that has seen it takes it for the same.
        headers.push(("webhook-id", id.to_owned()));
        headers.push(("webhook-timestamp", stamp.clone()));
        if let Some(signer) = &self.signer {
            headers.push(("webhook-signature", signer.sign(id, &stamp, body.as_bytes())));
        }
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization.to_string()));
        }
        self.target.post(str::to_owned, &headers, body.as_bytes(), |_| None)
    }
}
