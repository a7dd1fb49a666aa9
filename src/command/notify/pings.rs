//! A dead man's switch is told that a run has begun, and how it ended: silence is what it listens for.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::outbox::Outbox;
use super::send;
use crate::alert;
use crate::alert::outbox::Urgency;
use crate::alert::route::message_to;
use crate::alert_record::{Delivery, Message, Signal};
use crate::command::clock::now;
use crate::command::context::Context;
use crate::config::alert::{Channel, Way};
use crate::exit::one_line;

/// How a backup of a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) enum Fate {
    /// It is all that was promised.
    Well,
    /// It is not.
    Failed,
    /// Another run is at it, and speaks for itself.
    Elsewhere,
}

/// A run of backups, as dead men's switches see it.
pub(in crate::command) struct Run {
    rid: String,
    /// What it is to back up; nothing where that never came to be known.
    databases: Vec<String>,
    /// Whether that is all that the configuration says.
    is_whole: bool,
    /// Each says when its switch knows that the run has begun, or does not listen.
    begun: OnceCell<Vec<(String, Duration, Receiver<()>)>>,
}

impl Run {
    /// A run of these databases, or of what is not known; `is_whole` says that they are all that the configuration names.
    /// `None` where no switch is told of it.
    pub(in crate::command) fn of(
        context: &Context,
        rid: &str,
        databases: &[String],
        is_whole: bool,
    ) -> Option<Self> {
        let (rid, databases) = (rid.to_owned(), databases.to_vec());
        let run = Self { rid, databases, is_whole, begun: OnceCell::new() };
        let is_any = run.switches(context).next().is_some();
        is_any.then_some(run)
    }

    /// Tells every switch that may hear of a success that the run has begun, once, without waiting for them. What earlier
    /// runs still have to say of theirs is taken back: late, it would be taken for news of this one.
    pub(in crate::command) fn begin(&self, context: &Context) {
        self.begun.get_or_init(|| {
            let told: Vec<&Channel> = self.switches(context).filter(|it| self.covers(it)).collect();
            let begun = told.iter().filter_map(|switch| start(context, switch, &self.rid)).collect();
            let names: Vec<String> = told.iter().map(|switch| switch.name.clone()).collect();
            let withdrawn = super::outbox(context).withdraw(&context.config.source.name, &names);
            if let Err(error) = withdrawn {
                log::info!("what an earlier run has to say may come late: {}", one_line(&error));
            }
            begun
        });
    }

    /// Tells how it ended. A switch that is of some databases listens to those alone; one of which there is no word did
    /// not come to it. A run that did only a part of what the switch is for says so, which changes nothing: the silence of
    /// the rest is heard. A command that was refused leaves the catalog alone.
    pub(in crate::command) fn end(
        &self,
        context: &Context,
        fates: &BTreeMap<String, Fate>,
        is_well: bool,
        is_refused: bool,
    ) {
        for (name, limit, begun) in self.begun.get().into_iter().flatten() {
            // What follows must not overtake it.
            if begun.recv_timeout(*limit).is_err() {
                // It has had its time: how the run ended is kept for a later call.
                context.notifier.exhaust(name);
            }
        }
        let body = context.out.tail();
        let message = |switch: &Channel| {
            let its = self.databases.iter().filter(|name| is_of(switch, name));
            let its = its.map(|name| fates.get(name).copied().unwrap_or(Fate::Failed));
            let is_well = is_well && !self.databases.is_empty();
            let signal = signal(is_well, self.covers(switch), its);
            let ping = Message::Ping { signal, rid: self.rid.clone(), body: body.clone() };
            message_of(context, switch, ping)
        };
        let messages: Vec<Delivery> = self.switches(context).filter_map(message).collect();
        let mut outbox = if is_refused { Outbox::of_file(context) } else { super::outbox(context) };
        if let Err(error) = outbox.add(messages.clone()) {
            log::warn!("how the run ended is told once, and kept nowhere: {}", one_line(&error));
            outbox = Outbox::Nowhere(messages);
        }
        send::send(context, &mut outbox, &context.config.source.name, Urgency::Due);
    }

    /// The switches of any of its databases, or all where these are not known.
    fn switches<'a>(&'a self, context: &'a Context) -> impl Iterator<Item = &'a Channel> {
        let all = context.config.alerts.channels.iter();
        all.filter(|channel| matches!(channel.way, Way::Ping { .. })).filter(|switch| {
            self.databases.is_empty() || self.databases.iter().any(|name| is_of(switch, name))
        })
    }

    /// Whether it does all that a switch is for.
    fn covers(&self, switch: &Channel) -> bool {
        match &switch.databases {
            Some(names) => names.iter().all(|name| self.databases.contains(name)),
            None => self.is_whole,
        }
    }
}

/// What a switch is told of a run and of the databases that are its own.
fn signal(is_well: bool, is_all: bool, its: impl Iterator<Item = Fate>) -> Signal {
    let its: Vec<Fate> = its.collect();
    if !is_well || its.contains(&Fate::Failed) {
        Signal::Fail
    } else if !is_all || its.contains(&Fate::Elsewhere) {
        Signal::Log
    } else {
        Signal::Success
    }
}

fn is_of(switch: &Channel, database: &String) -> bool {
    switch.databases.as_ref().is_none_or(|these| these.contains(database))
}

fn message_of(context: &Context, switch: &Channel, ping: Message) -> Option<Delivery> {
    let at = now();
    match message_to(&context.config.source.name, (&switch.name, None), ping, at, at) {
        Ok(message) => Some(message),
        Err(error) => {
            log::warn!("alert channel `{}`: {}", switch.name, one_line(&error));
            None
        }
    }
}

/// Tells one switch on a thread of its own. What is lost of it is not made up for: the end of the run says more.
fn start(context: &Context, switch: &Channel, rid: &str) -> Option<(String, Duration, Receiver<()>)> {
    let ping = Message::Ping { signal: Signal::Start, rid: rid.to_owned(), body: String::new() };
    let message = message_of(context, switch, ping)?;
    let (done, begun) = channel();
    let (config, fetch) = (switch.clone(), context.fetcher());
    let name = switch.name.clone();
    let tell = move || {
        let told = alert::channel::Channel::new(&config, &*fetch)
            .and_then(|channel| Ok(channel.deliver(&message, now(), Duration::MAX)?));
        match told {
            Ok(()) => log::info!("alert channel `{name}`: start told"),
            Err(error) => log::info!("alert channel `{name}`: start is not told: {}", one_line(&error)),
        }
        if done.send(()).is_err() {
            log::debug!("nobody waits any more");
        }
    };
    match std::thread::Builder::new().name("ping".to_owned()).spawn(tell) {
        Ok(_) => Some((switch.name.clone(), switch.timeout, begun)),
        Err(error) => {
            log::info!("alert channel `{}`: no thread: {error}", switch.name);
            None
        }
    }
}
