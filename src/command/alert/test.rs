//! `pgkeep alert test`: a real message through each channel, and whether it works.

use anyhow::Result;
use serde::Serialize;

use crate::alert::channel::Channel as Wire;
use crate::alert::id;
use crate::alert::route::{message_to, recipients};
use crate::alert_record::{Alert, AlertStatus, Event, Message, Signal};
use crate::cli;
use crate::command::clock::now;
use crate::command::context::Context;
use crate::command::copies::side_by_side;
use crate::config::alert::{Channel, Format, Way};
use crate::exit::{Code, Failure, one_line, render, wrap};
use crate::finding::{Rule, Severity};

/// What came of one message, as `--json` shows it.
#[derive(Serialize)]
struct Verdict {
    channel: String,
    kind: &'static str,
    recipient: Option<String>,
    ok: bool,
    error: Option<String>,
}

pub(super) fn run(context: &Context, flags: &cli::AlertTest) -> Result<Code> {
    let channels = chosen(context, flags.channel.as_deref())?;
    let outcomes = side_by_side(channels, |channel| {
        let outcomes = through(context, channel);
        outcomes.into_iter().map(|(recipient, outcome)| (channel, recipient, outcome)).collect::<Vec<_>>()
    })?;
    let mut verdicts = Vec::new();
    for (channel, recipient, outcome) in outcomes.into_iter().flatten() {
        let error = outcome.as_ref().err().map(one_line);
        match outcome {
            Ok(()) => {
                let name = &channel.name;
                let line = match (&channel.way, &recipient) {
                    (Way::InApp, _) => format!("ok    {name}: NOTIFY"),
                    (_, Some(to)) => format!("ok    {name} to {to}"),
                    (_, None) => format!("ok    {name}"),
                };
                context.out.line(&line)?;
            }
            Err(error) => context.out.tell(&render(&told(channel, recipient.as_deref(), error))),
        }
        let (channel, kind) = (channel.name.clone(), channel.way.as_str());
        verdicts.push(Verdict { channel, kind, recipient, ok: error.is_none(), error });
    }
    context.out.json(&verdicts)?;
    Ok(if verdicts.iter().all(|verdict| verdict.ok) { Code::Done } else { Code::Failed })
}

/// The channels to be tried: the one of that name, or all there are.
fn chosen<'a>(context: &'a Context, name: Option<&str>) -> Result<Vec<&'a Channel>> {
    let all = &context.config.alerts.channels;
    let chosen: Vec<&Channel> =
        all.iter().filter(|channel| name.is_none_or(|name| channel.name == name)).collect();
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let Some(name) = name.filter(|_| !all.is_empty()) else {
        return Err(Failure::failed("no alert channel is configured: nobody is told of anything")
            .hint("add an `[[alert.channel]]` with `name` and `kind` to the configuration")
            .into());
    };
    let names: Vec<&str> = all.iter().map(|channel| channel.name.as_str()).collect();
    Err(Failure::usage(format!("there is no alert channel `{name}`"))
        .hint(format!("the configuration has {}", names.join(", ")))
        .into())
}

/// Sends a message to each receiver of a channel, side by side. Its filters and quiet hours do not count.
fn through(context: &Context, channel: &Channel) -> Vec<(Option<String>, Result<()>)> {
    let recipients = recipients(&channel.way);
    if matches!(channel.way, Way::InApp) {
        return vec![(None, notify(context, channel))];
    }
    let wire = match context.channel(channel) {
        Ok(wire) => wire,
        // Its secrets are for all of them.
        Err(error) => return vec![(None, Err(error))],
    };
    let sent = side_by_side(recipients.iter().collect(), |recipient: &Option<String>| {
        send(context, channel, &wire, recipient.as_deref())
    });
    match sent {
        Ok(outcomes) => recipients.into_iter().zip(outcomes).collect(),
        Err(error) => vec![(None, Err(error))],
    }
}

fn send(context: &Context, channel: &Channel, wire: &Wire, recipient: Option<&str>) -> Result<()> {
    let source = &context.config.source.name;
    let deliver = |message: Message| -> Result<()> {
        let at = now();
        let message = message_to(source, (&channel.name, recipient.map(str::to_owned)), message, at, at)?;
        Ok(wire.deliver(&message, at, std::time::Duration::MAX)?)
    };
    if matches!(channel.way, Way::Ping { .. }) {
        let body = format!("`pgkeep alert test` of source {source}: no backup ran\n");
        return deliver(Message::Ping { signal: Signal::Log, rid: id::uuid()?, body });
    }
    let mut alert = Box::new(sample(context, channel)?);
    deliver(Message::Notice { event: Event::Test, alert: alert.clone() })?;
    if matches!(&channel.way, Way::Webhook(webhook) if webhook.format == Format::Pagerduty) {
        // It has opened an incident, which nothing else would ever close.
        (alert.status, alert.resolved_at) = (AlertStatus::Resolved, Some(now()));
        deliver(Message::Notice { event: Event::Resolved, alert })?;
    }
    Ok(())
}

fn notify(context: &Context, channel: &Channel) -> Result<()> {
    context.open_catalog()?.notify(Event::Test, &sample(context, channel)?)
}

/// An alert of nothing.
fn sample(context: &Context, channel: &Channel) -> Result<Alert> {
    let at = now();
    Ok(Alert {
        id: id::alert_id()?,
        rule: Rule::ChannelFailing,
        severity: Severity::Info,
        status: AlertStatus::Open,
        source: context.config.source.name.clone(),
        backup_id: None,
        database: None,
        tenant: None,
        store: None,
        channel: Some(channel.name.clone()),
        message: format!("a test of alert channel `{}`: nothing is wrong", channel.name),
        detail: None,
        first_seen: at,
        last_seen: at,
        count: 1,
        acknowledged_at: None,
        note: None,
        resolved_at: None,
    })
}

/// The error with the channel's name, and where to look unless it says so itself.
fn told(channel: &Channel, recipient: Option<&str>, error: anyhow::Error) -> anyhow::Error {
    let to = recipient.map_or_else(String::new, |to| format!(" to {to}"));
    let what = format!("alert channel `{}`{to} does not work", channel.name);
    let knows = error.downcast_ref::<Failure>().is_some_and(|failure| failure.hint.is_some());
    if knows {
        return wrap(error, what);
    }
    let hint = match &channel.way {
        Way::Email(_) => "see `smtp`, `username`, `password`, `from` and `to`",
        Way::Sms(_) => "see `url`, `username`, `password`, `from` and `to`",
        Way::Webhook(_) => "see `url` and the secrets",
        Way::Ping { .. } => "see `url`",
        Way::InApp => "`pgkeep doctor` looks at the catalog",
    };
    let hint = match &channel.way {
        Way::InApp => hint.to_owned(),
        _ => format!("{hint} of `[[alert.channel]]` `{}` in the configuration", channel.name),
    };
    error.context(Failure::failed(what).hint(hint))
}
