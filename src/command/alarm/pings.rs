//! A dead man's switch is told that a run has begun, and how it ended: silence is what it listens for.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::outbox::Outbox;
use super::send;
use crate::alert::outbox::Urgency;
use crate::alert::route::letter_to;
use crate::alert::{self, id};
use crate::command::context::{Context, now};
use crate::config::alert::{Channel, Way};
use crate::exit::one_line;
use crate::notice::{Delivery, Letter, Signal};

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
    /// Each says when its switch knows that the run has begun, or does not listen.
    begun: Vec<(String, Duration, Receiver<()>)>,
}

impl Run {
    /// Tells every switch of these databases, or of any where they are not known, that a run has begun, without waiting
    /// for them; `None` where there is no such switch.
    pub(in crate::command) fn begin(context: &Context, databases: &[String]) -> Option<Self> {
        let mut switches = switches(context, databases).peekable();
        switches.peek()?;
        let rid = match id::uuid() {
            Ok(rid) => rid,
            Err(error) => {
                log::warn!("no switch is told of this run: {}", one_line(&error));
                return None;
            }
        };
        let begun = switches.filter_map(|switch| start(context, switch, &rid)).collect();
        Some(Self { rid, databases: databases.to_vec(), begun })
    }

    /// Takes back what earlier runs still have to say: late, it would be taken for news of this one.
    pub(in crate::command) fn takes_over(&self, context: &Context) {
        let names: Vec<String> =
            switches(context, &self.databases).map(|switch| switch.name.clone()).collect();
        let withdrawn = super::outbox(context).withdraw(&context.config.source.name, &names);
        if let Err(error) = withdrawn {
            log::info!("what an earlier run has to say may come late: {}", one_line(&error));
        }
    }

    /// Tells how it ended. A switch that is of some databases listens to those alone; one of which there is no word did
    /// not come to it. A run of which others are at work at a part says so, which changes nothing: the silence of those
    /// is heard. A command that was refused leaves the catalog alone.
    pub(in crate::command) fn end(
        self,
        context: &Context,
        fates: &BTreeMap<String, Fate>,
        is_well: bool,
        is_refused: bool,
    ) {
        for (name, limit, begun) in &self.begun {
            // What follows must not overtake it.
            if begun.recv_timeout(*limit).is_err() {
                // It has had its time: how the run ended is kept for a later call.
                context.alarm.exhaust(name);
            }
        }
        let body = context.out.tail();
        let letter = |switch: &Channel| {
            let its = self.databases.iter().filter(|name| is_of(switch, name));
            let its = its.map(|name| fates.get(name).copied().unwrap_or(Fate::Failed));
            let signal = signal(is_well && !self.databases.is_empty(), its);
            let ping = Letter::Ping { signal, rid: self.rid.clone(), body: body.clone() };
            letter_of(context, switch, ping)
        };
        let letters: Vec<Delivery> = switches(context, &self.databases).filter_map(letter).collect();
        let mut outbox = if is_refused { Outbox::of_file(context) } else { super::outbox(context) };
        if let Err(error) = outbox.add(letters.clone()) {
            log::warn!("how the run ended is told once, and kept nowhere: {}", one_line(&error));
            outbox = Outbox::Nowhere(letters);
        }
        send::send(context, &mut outbox, &context.config.source.name, Urgency::Due);
    }
}

/// What a switch is told of a run and of the databases that are its own.
fn signal(is_well: bool, its: impl Iterator<Item = Fate>) -> Signal {
    let its: Vec<Fate> = its.collect();
    if !is_well || its.contains(&Fate::Failed) {
        Signal::Fail
    } else if its.contains(&Fate::Elsewhere) {
        Signal::Log
    } else {
        Signal::Success
    }
}

/// The switches of any of these databases, or all where these are not known.
fn switches<'a>(context: &'a Context, databases: &'a [String]) -> impl Iterator<Item = &'a Channel> {
    let all = context.config.alerts.channels.iter();
    all.filter(|channel| matches!(channel.way, Way::Ping { .. }))
        .filter(move |switch| databases.is_empty() || databases.iter().any(|name| is_of(switch, name)))
}

fn is_of(switch: &Channel, database: &String) -> bool {
    switch.databases.as_ref().is_none_or(|these| these.contains(database))
}

fn letter_of(context: &Context, switch: &Channel, ping: Letter) -> Option<Delivery> {
    let at = now();
    match letter_to(&context.config.source.name, (&switch.name, None), ping, at, at) {
        Ok(letter) => Some(letter),
        Err(error) => {
            log::warn!("alert channel `{}`: {}", switch.name, one_line(&error));
            None
        }
    }
}

/// Tells one switch on a thread of its own. What is lost of it is not made up for: the end of the run says more.
fn start(context: &Context, switch: &Channel, rid: &str) -> Option<(String, Duration, Receiver<()>)> {
    let ping = Letter::Ping { signal: Signal::Start, rid: rid.to_owned(), body: String::new() };
    let letter = letter_of(context, switch, ping)?;
    let (done, begun) = channel();
    let (config, fetch) = (switch.clone(), context.fetcher());
    let name = switch.name.clone();
    let tell = move || {
        let told = alert::channel::Channel::new(&config, &*fetch)
            .and_then(|channel| Ok(channel.deliver(&letter, now())?));
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
