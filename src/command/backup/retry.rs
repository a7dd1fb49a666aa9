//! What failed for a reason that may pass is done again, after a growing delay.

use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::command::context::Context;
use crate::exit::{self, Failure};

/// No wait is longer than so many times what is configured.
const MOST_JITTER: f64 = 1.2;
/// No wait between two tries is longer.
const LONGEST_DELAY: Duration = Duration::from_hours(1);

/// Does something, and does it again, at most so often, after a growing delay where the source's problem may pass. It is
/// told within which time there will be another try, if so.
pub(super) fn again<T>(
    context: &Context,
    attempts: u32,
    work: impl Fn(Option<Duration>) -> Result<T>,
) -> Result<T> {
    let mut tries_left = attempts;
    let mut delay = context.config.retry.delay;
    loop {
        let next_try = (tries_left > 0).then(|| delay.mul_f64(MOST_JITTER));
        let error = match work(next_try) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let passing = error.downcast_ref::<Failure>().is_some_and(|failure| failure.passing);
        if tries_left == 0 || !passing || context.interrupt.is_raised() {
            return Err(error);
        }
        tries_left -= 1;
        let wait = jittered(delay)?;
        log::warn!("{}; next try in {:.0?}", exit::one_line(&error), wait);
        if context.interrupt.wait(wait) {
            return Err(error);
        }
        delay = delay.saturating_mul(2).min(LONGEST_DELAY);
    }
}

/// More by up to the share, so that several hosts do not come back at the same moment.
fn jittered(delay: Duration) -> Result<Duration> {
    let share = f64::from(random_u16()?) / f64::from(u16::MAX);
    Ok(delay.mul_f64(1.0 + share * (MOST_JITTER - 1.0)))
}

/// Two random bytes.
pub(super) fn random_u16() -> Result<u16> {
    let mut bytes = [0u8; 2];
    orion::util::secure_rand_bytes(&mut bytes)
        .map_err(|_| anyhow!("the operating system gave no random bytes"))?;
    Ok(u16::from_le_bytes(bytes))
}
