//! Sends what waits: the channels side by side, each message of a channel after the one before it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::outbox::Outbox;
use super::register;
use crate::alert::channel;
use crate::alert::outbox::{self, GIVEN_UP_AFTER, Urgency};
use crate::alert::undelivered::Undelivered;
use crate::alert_record::{Delivery, DeliveryStatus, Event, Message};
use crate::command::clock::now;
use crate::command::context::Context;
use crate::command::copies::side_by_side;
use crate::config::alert::{Channel, Way};
use crate::exit::one_line;
use crate::finding::{AlertKey, Finding, Rule};
use crate::testpoint::{self, Step};

/// Another try within the same call, for what passes at once.
const QUICK_DELAYS: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(900), Duration::from_millis(1800)];
/// Nobody waits longer for what passes at once.
const QUICK_LIMIT: Duration = Duration::from_secs(4);

/// A channel that refuses so many messages, and takes none, is left alone.
const MOST_REFUSALS: usize = 3;

/// What became of the messages of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::command) struct Tally {
    pub(in crate::command) sent: usize,
    pub(in crate::command) left: usize,
    pub(in crate::command) given_up: usize,
}

/// What became of the messages of one channel.
#[derive(Default)]
struct OfChannel {
    tally: Tally,
    /// Why the last one that was given up was not taken.
    given_up: Option<String>,
    /// When the last one that was not taken is tried again.
    due_at: Option<Timestamp>,
}

/// Sends what is to be sent, and says of a channel that took nothing for a day that it fails, through the others.
pub(super) fn send(context: &Context, outbox: &mut Outbox, source: &str, urgency: Urgency) -> Tally {
    let (mut tally, problems) = pass(context, outbox, source, urgency);
    if !problems.is_empty() {
        let is_news = problems.iter().any(|seen| seen.problem.is_some());
        let catalog = match outbox {
            Outbox::Catalog(_) => super::catalog(context),
            Outbox::File(_) | Outbox::Nowhere(_) => None,
        };
        let mut outbox = register::record(context, catalog, source, &problems);
        if is_news {
            let (more, _) = pass(context, &mut outbox, source, Urgency::Due);
            tally.sent += more.sent;
        }
    }
    tally
}

fn pass(context: &Context, outbox: &mut Outbox, source: &str, urgency: Urgency) -> (Tally, Vec<Finding>) {
    let channels: Vec<&Channel> =
        context.config.alerts.channels.iter().filter(|channel| !matches!(channel.way, Way::InApp)).collect();
    let waiting = outbox.waiting(source).unwrap_or_else(|error| {
        log::warn!("it is not known what is to be sent: {}", one_line(&error));
        Vec::new()
    });
    let mut tally = give_up_without_channel(context, outbox, &waiting);
    let outbox = Mutex::new(outbox);
    let workers: Vec<ChannelWorker<'_>> = channels
        .into_iter()
        .filter(|channel| urgency == Urgency::Now || !context.notifier.is_exhausted(&channel.name))
        .map(|config| ChannelWorker {
            context,
            source,
            config,
            outbox: &outbox,
            urgency,
            begun: Instant::now(),
        })
        .collect();
    let done = side_by_side(workers, |worker| {
        let is_own = |message: &&Delivery| message.channel == worker.config.name;
        let messages: Vec<&Delivery> = waiting.iter().filter(is_own).collect();
        let is_any = !messages.is_empty();
        (worker.config.name.clone(), if is_any { worker.run(&messages) } else { OfChannel::default() })
    });
    let mut problems = Vec::new();
    for (name, of_channel) in done.unwrap_or_default() {
        tally.sent += of_channel.tally.sent;
        tally.left += of_channel.tally.left;
        tally.given_up += of_channel.tally.given_up;
        let subject = AlertKey { channel: Some(name.clone()), ..AlertKey::new(Rule::ChannelFailing) };
        match of_channel.given_up {
            Some(why) => {
                let what =
                    format!("a message through channel `{name}` was not taken for a day, and is given up");
                problems.push(subject.has_problem(what).detail(why));
            }
            // All that there was to be told was taken, by each who gets it.
            None if of_channel.tally.sent > 0 && of_channel.tally.left == 0 => {
                problems.push(subject.is_well());
            }
            None => {}
        }
    }
    (tally, problems)
}

/// What was written for a channel that is none any more is given up in time, too.
fn give_up_without_channel(context: &Context, outbox: &mut Outbox, waiting: &[Delivery]) -> Tally {
    let mut tally = Tally::default();
    let is_there = |name: &str| context.config.alerts.channels.iter().any(|channel| channel.name == name);
    let at = now();
    for message in waiting.iter().filter(|message| !is_there(&message.channel)) {
        if at.duration_since(message.created_at) <= GIVEN_UP_AFTER {
            tally.left += 1;
            continue;
        }
        let why = "the channel is not in the configuration any more".to_owned();
        log::warn!("a message to alert channel `{}` is given up: {why}", message.channel);
        let mut given_up = message.clone();
        given_up.status = DeliveryStatus::GivenUp;
        given_up.error = Some(why);
        if let Err(error) = outbox.settle(&given_up) {
            log::warn!("{}", one_line(&error));
        }
        tally.given_up += 1;
    }
    tally
}

/// Who carries the messages of one channel.
struct ChannelWorker<'a> {
    context: &'a Context,
    source: &'a str,
    config: &'a Channel,
    outbox: &'a Mutex<&'a mut Outbox>,
    urgency: Urgency,
    begun: Instant,
}

impl ChannelWorker<'_> {
    fn run(&self, messages: &[&Delivery]) -> OfChannel {
        let mut done = OfChannel::default();
        let mut channel: Option<Arc<channel::Channel>> = None;
        // What comes after a message that was not taken waits for it: the end of an alert comes after its beginning.
        let mut held: BTreeSet<(Option<String>, Option<String>)> = BTreeSet::new();
        let mut quiet = held.clone();
        let (mut is_down, mut refusals) = (false, 0usize);
        for message in messages {
            let key = (message.alert().map(|alert| alert.id.clone()), message.recipient.clone());
            let is_late = self.time_left().is_zero();
            let may_be = outbox::may_be_tried(message, self.urgency, self.config.timeout, now());
            let is_news = matches!(message.message, Message::Notice { event: Event::Raised, .. });
            let is_held = held.contains(&key) || (!is_news && quiet.contains(&key));
            if is_down || is_late || is_held || !may_be {
                // One that waits for the end of quiet hours holds no graver one of its alert up.
                let is_quiet =
                    message.attempts == 0 && message.error.is_none() && !is_down && !is_late && !is_held;
                if is_quiet {
                    quiet.insert(key)
                } else {
                    held.insert(key)
                };
                done.tally.left += 1;
                continue;
            }
            if channel.is_none() {
                channel = match super::channel(self.context, self.config) {
                    Ok(made) => Some(made),
                    Err(error) => {
                        is_down = true;
                        let problem = Undelivered { message: one_line(&error), is_refusal: false };
                        self.fail(message, &problem, &mut done);
                        continue;
                    }
                };
            }
            let Some(channel) = &channel else { continue };
            if let Err(problem) = self.carry(channel, message, &mut done) {
                refusals = refusals.saturating_add(1);
                // One that wants no message at all has a wrong password, say.
                is_down = !problem.is_refusal || (refusals >= MOST_REFUSALS && done.tally.sent == 0);
                held.insert(key);
            }
        }
        if is_down {
            self.leave(&done);
        }
        done
    }

    /// How long this process may still be held up.
    fn time_left(&self) -> Duration {
        if self.urgency == Urgency::Now {
            return Duration::MAX;
        }
        let taken = self.begun.elapsed().max(self.context.notifier.lost(&self.config.name));
        self.config.timeout.saturating_sub(taken)
    }

    /// Tries a message, and again at once where it may have passed; the error says why it waits on.
    fn carry(
        &self,
        channel: &channel::Channel,
        message: &Delivery,
        done: &mut OfChannel,
    ) -> Result<(), Undelivered> {
        let mut message = message.clone();
        let mut delays = QUICK_DELAYS.iter();
        loop {
            let begun = outbox::begun(&message, now());
            if !self.begin(&begun) {
                // Another call has it, or nobody knows: what comes after it waits.
                done.tally.left += 1;
                return Err(Undelivered { message: String::new(), is_refusal: true });
            }
            testpoint::reached(Step::LetterBegun);
            let tried = Instant::now();
            let outcome = channel.deliver(&begun, now(), self.time_left());
            if outcome.is_err() {
                self.context.notifier.lose(&self.config.name, tried.elapsed());
            }
            testpoint::reached(Step::LetterDelivered);
            let told = outcome.clone().map_err(|problem| problem.message);
            message = outbox::settled(&begun, told, now());
            self.settle(&message);
            let problem = match outcome {
                Ok(()) => {
                    log::info!("alert channel `{}`: {} told", self.config.name, message.event());
                    done.tally.sent += 1;
                    return Ok(());
                }
                Err(problem) => problem,
            };
            let delay = delays.next().filter(|delay| {
                let limit = self.config.timeout.min(QUICK_LIMIT);
                self.urgency != Urgency::Along
                    && !problem.is_refusal
                    && self.begun.elapsed().saturating_add(**delay) < limit
                    && self.time_left() > **delay
            });
            let may_go_on = message.status == DeliveryStatus::Waiting;
            if may_go_on && delay.is_some_and(|delay| !self.context.interrupt.wait(*delay)) {
                continue;
            }
            self.tell(&message, &problem, done);
            return Err(problem);
        }
    }

    /// The channel does not work now: neither this call nor the next one is held up by it again.
    fn leave(&self, done: &OfChannel) {
        if self.urgency != Urgency::Now {
            self.context.notifier.exhaust(&self.config.name);
        }
        let Some(until) = done.due_at else { return };
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = outbox.postpone(self.source, &self.config.name, until) {
            log::debug!("alert channel `{}`: {}", self.config.name, one_line(&error));
        }
    }

    /// Says that a message could not even be tried.
    fn fail(&self, message: &Delivery, problem: &Undelivered, done: &mut OfChannel) {
        let begun = outbox::begun(message, now());
        if self.begin(&begun) {
            let settled = outbox::settled(&begun, Err(problem.message.clone()), now());
            self.settle(&settled);
            self.tell(&settled, problem, done);
        }
    }

    fn tell(&self, message: &Delivery, problem: &Undelivered, done: &mut OfChannel) {
        let to = message.recipient.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
        let name = &self.config.name;
        let why = &problem.message;
        done.due_at = Some(message.due_at);
        if message.status == DeliveryStatus::GivenUp {
            log::error!("alert channel `{name}`: given up{to} after a day: {why}");
            done.tally.given_up += 1;
            done.given_up = Some(problem.message.clone());
        } else {
            log::warn!("alert channel `{name}`: not delivered{to}, and tried again later: {why}");
            done.tally.left += 1;
        }
    }

    fn begin(&self, begun: &Delivery) -> bool {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        outbox.begin(begun).unwrap_or_else(|error| {
            log::warn!(
                "alert channel `{}`: it is not known whether it was sent: {}",
                self.config.name,
                one_line(&error)
            );
            false
        })
    }

    fn settle(&self, settled: &Delivery) {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = outbox.settle(settled) {
            log::warn!(
                "alert channel `{}`: it is not on record what was sent: {}",
                self.config.name,
                one_line(&error)
            );
        }
    }
}
