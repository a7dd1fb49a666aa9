//! Where messages wait to be sent: in the catalog, in the file, or in this process alone.

use anyhow::Result;
use jiff::Timestamp;

use crate::alert::outbox::POSTPONED;
use crate::alert::spool::{Spool, SpoolFile};
use crate::alert_record::{Delivery, DeliveryStatus};
use crate::catalog::Catalog;
use crate::command::context::Context;

/// The messages, wherever they are kept.
pub(super) enum Outbox {
    /// Rows of the catalog.
    Catalog(Box<Catalog>),
    /// The file under the state folder.
    File(Spool),
    /// They are sent once, or lost.
    Nowhere(Vec<Delivery>),
}

impl Outbox {
    /// The file under the state folder.
    pub(super) fn of_file(context: &Context) -> Self {
        Self::File(context.spool.clone())
    }

    /// Those of a source that wait, in the order in which they were written.
    pub(super) fn waiting(&mut self, source: &str) -> Result<Vec<Delivery>> {
        let is_waiting =
            |message: &&Delivery| message.source == source && message.status == DeliveryStatus::Waiting;
        match self {
            Self::Catalog(catalog) => catalog.waiting(source),
            Self::File(spool) => Ok(spool.read()?.deliveries.iter().filter(is_waiting).cloned().collect()),
            Self::Nowhere(messages) => Ok(messages.iter().filter(is_waiting).cloned().collect()),
        }
    }

    /// Writes messages that take the place of earlier ones to the same channel without an alert.
    pub(super) fn add(&mut self, messages: Vec<Delivery>) -> Result<()> {
        match self {
            Self::Catalog(catalog) => catalog.add_deliveries(&messages),
            Self::File(spool) => spool.change(move |file| {
                let says_as_much = |new: &Delivery, old: &Delivery| {
                    let with_failures = new.message.takes_the_place_of_failures();
                    with_failures.is_some_and(|with| with || !old.message.tells_of_a_failed_run())
                };
                let is_newer = |old: &Delivery| {
                    messages.iter().any(|new| {
                        new.channel == old.channel && new.source == old.source && says_as_much(new, old)
                    })
                };
                file.deliveries.retain(|old| old.alert().is_some() || !is_newer(old));
                file.deliveries.extend(messages);
                Ok(())
            }),
            Self::Nowhere(kept) => {
                kept.extend(messages);
                Ok(())
            }
        }
    }

    /// Takes back what waits for these channels without an alert and tells of no failure.
    pub(super) fn withdraw(&mut self, source: &str, channels: &[String]) -> Result<()> {
        match self {
            Self::Catalog(catalog) => catalog.supersede_deliveries(source, channels),
            Self::File(spool) => {
                let (source, channels) = (source.to_owned(), channels.to_vec());
                spool.change(move |file| {
                    file.deliveries.retain(|old| {
                        old.alert().is_some()
                            || old.source != source
                            || old.message.tells_of_a_failed_run()
                            || !channels.contains(&old.channel)
                    });
                    Ok(())
                })
            }
            Self::Nowhere(_) => Ok(()),
        }
    }

    /// Says that a message is being tried; false where another call was quicker.
    pub(super) fn begin(&mut self, begun: &Delivery) -> Result<bool> {
        match self {
            Self::Catalog(catalog) => catalog.begin_delivery(begun),
            Self::File(spool) => {
                let begun = begun.clone();
                spool.change(move |file| Ok(begin(file, &begun)))
            }
            Self::Nowhere(_) => Ok(true),
        }
    }

    /// Has no message to a channel tried before: it does not work now.
    pub(super) fn postpone(&mut self, source: &str, channel: &str, until: Timestamp) -> Result<()> {
        match self {
            Self::Catalog(catalog) => catalog.postpone_deliveries(source, channel, until, POSTPONED),
            Self::File(spool) => {
                let (source, channel) = (source.to_owned(), channel.to_owned());
                spool.change(move |file| {
                    let all = file.deliveries.iter_mut();
                    let is_meant = |message: &&mut Delivery| {
                        message.source == source && message.channel == channel && message.due_at < until
                    };
                    for message in all.filter(is_meant) {
                        message.due_at = until;
                        message.error.get_or_insert_with(|| POSTPONED.to_owned());
                    }
                    Ok(())
                })
            }
            Self::Nowhere(_) => Ok(()),
        }
    }

    /// Says what came of it.
    pub(super) fn settle(&mut self, settled: &Delivery) -> Result<()> {
        match self {
            // Its connection may be lost: what was sent must not be sent again for that.
            Self::Catalog(catalog) => catalog.settle_delivery(settled).or_else(|_| {
                catalog.revive()?;
                catalog.settle_delivery(settled)
            }),
            Self::File(spool) => {
                let settled = settled.clone();
                spool.change(move |file| {
                    put(file, &settled);
                    Ok(())
                })
            }
            Self::Nowhere(messages) => {
                messages.retain(|message| message.id != settled.id);
                Ok(())
            }
        }
    }
}

fn begin(file: &mut SpoolFile, begun: &Delivery) -> bool {
    let is_free = |known: &Delivery| {
        known.id == begun.id
            && known.status == DeliveryStatus::Waiting
            && known.attempts.checked_add(1) == Some(begun.attempts)
    };
    if !file.deliveries.iter().any(is_free) {
        return false;
    }
    put(file, begun);
    true
}

fn put(file: &mut SpoolFile, message: &Delivery) {
    file.deliveries
        .iter_mut()
        .filter(|known| known.id == message.id)
        .for_each(|known| known.clone_from(message));
}
