//! A dead man's switch is told that a run has begun, and how it ended: silence is what it listens for.

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

/// A run of backups, as dead men's switches see it.
pub(in crate::command) struct Run {
    rid: String,
    /// Each says when its switch knows that the run has begun, or does not listen.
    begun: Vec<(String, Duration, Receiver<()>)>,
}

impl Run {
    /// Tells every switch that a run has begun, without waiting for them; `None` where there is none.
    pub(in crate::command) fn begin(context: &Context) -> Option<Self> {
        let mut switches = switches(context).peekable();
        switches.peek()?;
        let rid = match id::uuid() {
            Ok(rid) => rid,
            Err(error) => {
                log::warn!("no switch is told of this run: {}", one_line(&error));
                return None;
            }
        };
        let begun = switches.filter_map(|switch| start(context, switch, &rid)).collect();
        Some(Self { rid, begun })
    }

    /// Tells how it ended. A switch that is of some databases listens to those alone. A run that found
    /// others at work alone (`None`) says so, which changes nothing; a command that was refused leaves the catalog alone.
    pub(in crate::command) fn end(
        self,
        context: &Context,
        failed: Option<&[Option<String>]>,
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
            let is_of = |name: &String| switch.databases.as_ref().is_none_or(|these| these.contains(name));
            let has_failed = failed.unwrap_or_default().iter().any(|name| name.as_ref().is_none_or(is_of));
            let signal = match failed {
                None => Signal::Log,
                Some(_) if has_failed => Signal::Fail,
                Some(_) => Signal::Success,
            };
            let ping = Letter::Ping { signal, rid: self.rid.clone(), body: body.clone() };
            letter_of(context, switch, ping)
        };
        let letters: Vec<Delivery> = switches(context).filter_map(letter).collect();
        let mut outbox = if is_refused { Outbox::of_file(context) } else { super::outbox(context) };
        if let Err(error) = outbox.add(letters.clone()) {
            log::warn!("how the run ended is told once, and kept nowhere: {}", one_line(&error));
            outbox = Outbox::Nowhere(letters);
        }
        send::send(context, &mut outbox, &context.config.source.name, Urgency::Due);
    }
}

fn switches(context: &Context) -> impl Iterator<Item = &Channel> {
    context.config.alerts.channels.iter().filter(|channel| matches!(channel.way, Way::Ping { .. }))
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
