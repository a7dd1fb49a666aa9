//! Which news goes where: what a channel wants to hear, who listens there, and when it must not be disturbed. Pure.

use anyhow::Result;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::id;
use crate::alert_record::{Alert, Delivery, DeliveryStatus, Event, Message};
use crate::config::alert::{Channel, QuietHours, Way};
use crate::finding::Severity;

/// Where news goes, and by what rules.
#[derive(Clone, Debug)]
pub struct Routes {
    channels: Vec<Route>,
    time_zone: TimeZone,
}

#[derive(Clone, Debug)]
struct Route {
    channel: String,
    is_in_app: bool,
    recipients: Vec<Option<String>>,
    min_severity: Severity,
    rules: Option<std::collections::BTreeSet<crate::finding::Rule>>,
    databases: Option<std::collections::BTreeSet<String>>,
    quiet: Option<QuietHours>,
}

impl Routes {
    /// By the channels of the configuration; quiet hours are of that time zone.
    #[must_use]
    pub fn new(channels: &[Channel], time_zone: &TimeZone) -> Self {
        let of_alerts = channels.iter().filter(|channel| !matches!(channel.way, Way::Ping { .. }));
        let route = |channel: &Channel| Route {
            channel: channel.name.clone(),
            is_in_app: matches!(channel.way, Way::InApp),
            recipients: recipients(&channel.way),
            min_severity: channel.min_severity,
            rules: channel.rules.clone(),
            databases: channel.databases.clone(),
            quiet: channel.quiet,
        };
        Self { channels: of_alerts.map(route).collect(), time_zone: time_zone.clone() }
    }

    /// The messages about one piece of news.
    ///
    /// # Errors
    /// When the system gives no random bytes for their ids.
    pub fn deliveries(&self, event: Event, alert: &Alert, now: Timestamp) -> Result<Vec<Delivery>> {
        let mut deliveries = Vec::new();
        for route in self.channels.iter().filter(|route| route.wants(alert)) {
            for recipient in &route.recipients {
                let message = Message::Notice { event, alert: Box::new(alert.clone()) };
                let due_at = self.due_at(route, alert, now);
                let to = (route.channel.as_str(), recipient.clone());
                deliveries.push(message_to(&alert.source, to, message, now, due_at)?);
            }
        }
        Ok(deliveries)
    }

    /// Whether a channel of this name tells those who listen in the catalog's database.
    #[must_use]
    pub fn is_in_app(&self, channel: &str) -> bool {
        self.channels.iter().any(|route| route.is_in_app && route.channel == channel)
    }

    /// Whether any does: else they hear of everything.
    #[must_use]
    pub fn has_in_app(&self) -> bool {
        self.channels.iter().any(|route| route.is_in_app)
    }

    /// At once, or when the quiet hours are over.
    fn due_at(&self, route: &Route, alert: &Alert, now: Timestamp) -> Timestamp {
        let quiet = route.quiet.filter(|_| alert.severity < Severity::Critical);
        quiet.and_then(|quiet| end_of_quiet(quiet, now, &self.time_zone)).unwrap_or(now)
    }
}

/// A message that waits.
///
/// # Errors
/// When the system gives no random bytes for its id.
pub fn message_to(
    source: &str,
    (channel, recipient): (&str, Option<String>),
    message: Message,
    now: Timestamp,
    due_at: Timestamp,
) -> Result<Delivery> {
    Ok(Delivery {
        id: id::uuid()?,
        source: source.to_owned(),
        channel: channel.to_owned(),
        recipient,
        message,
        status: DeliveryStatus::Waiting,
        created_at: now,
        due_at,
        attempts: 0,
        tried_at: None,
        sent_at: None,
        error: None,
    })
}

/// Who is to get a message through a channel: one for each mailbox or number, `None` where a channel has one receiver.
#[must_use]
pub fn recipients(way: &Way) -> Vec<Option<String>> {
    match way {
        Way::Email(email) => email.to.iter().cloned().map(Some).collect(),
        Way::Sms(sms) => sms.to.iter().cloned().map(Some).collect(),
        Way::Webhook(_) | Way::Ping { .. } | Way::InApp => vec![None],
    }
}

impl Route {
    fn wants(&self, alert: &Alert) -> bool {
        let is_of_these =
            |database: &String| self.databases.as_ref().is_none_or(|these| these.contains(database));
        alert.severity >= self.min_severity
            && self.rules.as_ref().is_none_or(|rules| rules.contains(&alert.rule))
            && alert.database.as_ref().is_none_or(is_of_these)
            // What does not work is not told through itself.
            && alert.channel.as_ref() != Some(&self.channel)
    }
}

/// When the quiet hours are over, if it is quiet now.
fn end_of_quiet(quiet: QuietHours, now: Timestamp, time_zone: &TimeZone) -> Option<Timestamp> {
    let here = now.to_zoned(time_zone.clone()).datetime();
    let (time, today) = (here.time(), here.date());
    let is_over_today = if quiet.from < quiet.until {
        (quiet.from..quiet.until).contains(&time).then_some(true)
    } else if time >= quiet.from {
        Some(false)
    } else {
        (time < quiet.until).then_some(true)
    }?;
    let date = if is_over_today { today } else { today.checked_add(1.day()).ok()? };
    let end = time_zone.to_zoned(DateTime::from_parts(date, quiet.until)).ok()?;
    Some(end.timestamp())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::time::Duration;

    use jiff::civil::Time;
    use proptest::prelude::*;

    use super::*;
    use crate::alert::transitions::apply;
    use crate::finding::{AlertKey, Rule};

    fn channel(name: &str, way: Way) -> Channel {
        Channel {
            name: name.to_owned(),
            way,
            min_severity: Severity::Info,
            rules: None,
            databases: None,
            quiet: None,
            timeout: Duration::from_secs(1),
        }
    }

    fn alert(seen: crate::finding::Finding) -> Alert {
        apply(&[], "db1", &[seen], &["0123456789ab".to_owned()], Timestamp::UNIX_EPOCH).remove(0).alert
    }

    fn told(channel: Channel, alert: &Alert) -> usize {
        let routes = Routes::new(&[channel], &TimeZone::UTC);
        routes.deliveries(Event::Raised, alert, Timestamp::UNIX_EPOCH).unwrap().len()
    }

    #[test]
    fn a_channel_hears_what_it_wants() {
        let failed = alert(AlertKey::of_database(Rule::BackupFailed, "shop").has_problem("no"));
        let full = alert(AlertKey::of_store(Rule::StoreNearlyFull, "r2").has_problem("full"));
        let app = || channel("app", Way::InApp);
        assert_eq!((told(app(), &failed), told(app(), &full)), (1, 1));
        let grave = || Channel { min_severity: Severity::Critical, ..app() };
        assert_eq!((told(grave(), &failed), told(grave(), &full)), (1, 0));
        let rules = || Channel { rules: Some([Rule::StoreNearlyFull].into()), ..app() };
        assert_eq!((told(rules(), &failed), told(rules(), &full)), (0, 1));
        // What is of no database concerns whoever has one.
        let crm = || Channel { databases: Some(["crm".to_owned()].into()), ..app() };
        assert_eq!((told(crm(), &failed), told(crm(), &full)), (0, 1));
        let mut about = AlertKey::new(Rule::ChannelFailing);
        about.channel = Some("app".to_owned());
        assert_eq!(told(app(), &alert(about.has_problem("no"))), 0);
    }

    proptest! {
        /// Quiet hours end at their hour, within a day; outside them nothing waits.
        #[test]
        fn quiet_hours_end(from in 0i8..24, until in 0i8..24, second in 0i64..4_000_000_000, zone in 0usize..3) {
            prop_assume!(from != until);
            let zone = TimeZone::get(["UTC", "Europe/Berlin", "Australia/Lord_Howe"][zone]).unwrap();
            let hours = QuietHours {
                from: Time::new(from, 0, 0, 0).unwrap(), until: Time::new(until, 0, 0, 0).unwrap(),
            };
            let now = Timestamp::from_second(second).unwrap();
            let hour = now.to_zoned(zone.clone()).hour();
            let is_quiet = (hour + 24 - from) % 24 < (until + 24 - from) % 24;
            let end = end_of_quiet(hours, now, &zone);
            prop_assert_eq!(end.is_some(), is_quiet);
            if let Some(end) = end {
                prop_assert!(end > now.checked_sub(jiff::SignedDuration::from_hours(2)).unwrap());
                prop_assert!(end.duration_since(now) <= jiff::SignedDuration::from_hours(26));
            }
        }
    }
}
