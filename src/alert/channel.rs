//! A channel made ready: whatever it is, a message goes in, and comes out delivered or not, in bounded time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::email::Mailer;
use super::message::AlertText;
use super::ping::Switch;
use super::sms::Texter;
use super::undelivered::{Fetch, Undelivered};
use super::webhook::Hook;
use crate::alert_record::{Delivery, Message};
use crate::bounded::{self, GivenUp};
use crate::config;
use crate::config::alert::Way;

/// A channel made ready: its secrets are fetched.
pub struct Channel {
    wire: Arc<Wire>,
    timeout: Duration,
}

enum Wire {
    Email(Box<Mailer>),
    Sms(Box<Texter>),
    Webhook(Box<Hook>),
    Ping(Box<Switch>),
    InApp,
}

impl Channel {
    /// Makes a channel of the configuration ready. `fetch` gives the value of a secret, or says why there is none.
    ///
    /// # Errors
    /// When a secret can't be had, or what the channel is made of is of no use.
    pub fn new(config: &config::alert::Channel, fetch: Fetch<'_>) -> Result<Self> {
        let timeout = config.timeout;
        let wire = match &config.way {
            Way::Email(email) => Wire::Email(Box::new(Mailer::new(email, timeout, fetch)?)),
            Way::Sms(sms) => Wire::Sms(Box::new(Texter::new(sms, timeout, fetch)?)),
            Way::Webhook(webhook) => Wire::Webhook(Box::new(Hook::new(webhook, timeout, fetch)?)),
            Way::Ping { url } => Wire::Ping(Box::new(Switch::new(url, timeout, fetch)?)),
            Way::InApp => Wire::InApp,
        };
        Ok(Self { wire: Arc::new(wire), timeout })
    }

    /// Sends one message within the channel's time limit, or this one where it is shorter. `now` stamps what is signed.
    ///
    /// # Errors
    /// When the receiver did not take it; after a time limit it may have nonetheless.
    pub fn deliver(&self, delivery: &Delivery, now: Timestamp, limit: Duration) -> Result<(), Undelivered> {
        let (wire, delivery, timeout) = (Arc::clone(&self.wire), delivery.clone(), self.timeout.min(limit));
        // Looking a name up may take longer than any limit that is set beneath.
        let carried = bounded::within("message", timeout, move || wire.carry(&delivery, now));
        carried.unwrap_or_else(|error| {
            Err(Undelivered::broken(match error {
                GivenUp::Late => format!("no answer within {timeout:?}"),
                error => error.to_string(),
            }))
        })
    }
}

impl Wire {
    fn carry(&self, delivery: &Delivery, now: Timestamp) -> Result<(), Undelivered> {
        match (self, &delivery.message) {
            (Self::Ping(switch), Message::Ping { signal, rid, body }) => switch.send(*signal, rid, body),
            (Self::Email(mailer), Message::Notice { event, alert }) => {
                mailer.send(delivery, &AlertText::new(*event, alert))
            }
            (Self::Sms(texter), Message::Notice { event, alert }) => {
                texter.send(delivery.recipient.as_deref(), &AlertText::new(*event, alert))
            }
            (Self::Webhook(hook), Message::Notice { event, alert }) => {
                hook.send(&delivery.id, &AlertText::new(*event, alert), now)
            }
            (Self::InApp, Message::Notice { .. }) => {
                Err(Undelivered::broken("the catalog tells those who listen there, not this"))
            }
            _ => Err(Undelivered::broken("a message of this kind is not for this channel")),
        }
    }
}
