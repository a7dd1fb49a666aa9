//! When a message is tried, tried again, and given up. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::alert_record::{Delivery, DeliveryStatus};

/// A message that nobody took for so long is given up.
pub const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Waits between the calls that try a message: doubled from the first on.
const FIRST_DELAY: SignedDuration = SignedDuration::from_mins(1);
const LONGEST_DELAY: SignedDuration = SignedDuration::from_hours(1);
/// Whoever tries a message has come to an end so long after the channel's time limit.
const MARGIN: Duration = Duration::from_secs(5);

/// Why a message waits that was not even tried.
pub const POSTPONED: &str = "the channel did not work, for the letter before it";

/// What a message is tried for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A command has ended that has no news: what is due is sent along, and nobody waits for more than one try.
    Along,
    /// There is news: what is due is sent.
    Due,
    /// Somebody asks for it: what waits is sent.
    Now,
}

/// Whether a message may be tried now.
#[must_use]
pub fn may_be_tried(delivery: &Delivery, urgency: Urgency, timeout: Duration, now: Timestamp) -> bool {
    if delivery.status != DeliveryStatus::Waiting {
        return false;
    }
    match urgency {
        Urgency::Along | Urgency::Due => delivery.due_at <= now,
        Urgency::Now => match (delivery.tried_at, &delivery.error) {
            (_, Some(_)) => true,
            // It waits for the end of quiet hours.
            (None, None) => delivery.due_at <= now,
            // Another call may be at it.
            (Some(at), None) => {
                let since = now.duration_since(at);
                since.is_negative() || since.unsigned_abs() > timeout.saturating_add(MARGIN)
            }
        },
    }
}

/// The message as it stands while it is tried: should this process end, it is tried again later.
#[must_use]
pub fn begun(delivery: &Delivery, now: Timestamp) -> Delivery {
    let attempts = delivery.attempts.saturating_add(1);
    let mut begun = delivery.clone();
    begun.attempts = attempts;
    begun.tried_at = Some(now);
    begun.due_at = after(now, attempts);
    begun.error = None;
    begun
}

/// The message as it stands after a try.
#[must_use]
pub fn settled(begun: &Delivery, outcome: Result<(), String>, now: Timestamp) -> Delivery {
    let mut settled = begun.clone();
    match outcome {
        Ok(()) => {
            settled.status = DeliveryStatus::Sent;
            settled.sent_at = Some(now);
        }
        Err(error) => {
            settled.error = Some(error);
            settled.due_at = after(now, settled.attempts);
            if now.duration_since(settled.created_at) > GIVEN_UP_AFTER {
                settled.status = DeliveryStatus::GivenUp;
            }
        }
    }
    settled
}

fn after(now: Timestamp, attempts: u32) -> Timestamp {
    let doublings = attempts.saturating_sub(1).min(16);
    let delay = FIRST_DELAY.checked_mul(1 << doublings).unwrap_or(LONGEST_DELAY).min(LONGEST_DELAY);
    now.checked_add(delay).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::alert::route::message_to;
    use crate::alert_record::{Message, Signal};

    #[test]
    fn a_message_that_nobody_takes_is_tried_less_and_less_for_a_day() {
        let start = Timestamp::UNIX_EPOCH;
        let message = Message::Ping { signal: Signal::Fail, rid: String::new(), body: String::new() };
        let mut delivery = message_to("db1", ("ops", None), message, start, start).unwrap();
        let mut tries = Vec::new();
        let mut now = start;
        let limit = Duration::from_secs(10);
        while delivery.status == DeliveryStatus::Waiting {
            if may_be_tried(&delivery, Urgency::Due, limit, now) {
                tries.push(now.as_second() / 60);
                let begun = begun(&delivery, now);
                // A second call, meanwhile: it is somebody else's.
                assert!(!may_be_tried(&begun, Urgency::Due, limit, now));
                assert!(!may_be_tried(&begun, Urgency::Now, limit, now));
                delivery = settled(&begun, Err("no".to_owned()), now);
                assert_eq!(
                    may_be_tried(&delivery, Urgency::Now, limit, now),
                    delivery.status == DeliveryStatus::Waiting
                );
            }
            now = now.checked_add(SignedDuration::from_secs(30)).unwrap();
        }
        assert_eq!(tries.get(..8), Some(&[0, 1, 3, 7, 15, 31, 63, 123][..]));
        assert_eq!(delivery.status, DeliveryStatus::GivenUp);
        assert!((24 * 60..26 * 60).contains(tries.last().unwrap()), "{tries:?}");
        // One whose caller died is there for whoever asks.
        let dead = begun(&message_to("db1", ("ops", None), delivery.message, start, start).unwrap(), start);
        assert!(may_be_tried(
            &dead,
            Urgency::Now,
            limit,
            start.checked_add(SignedDuration::from_secs(16)).unwrap()
        ));
    }
}
