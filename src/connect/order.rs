//! A random order, for `load_balance_hosts=random`. Fit for spreading load, not for secrets.

use std::hash::{BuildHasher, RandomState};

/// Puts the items in a random order.
pub(super) fn shuffle<T>(items: &mut Vec<T>) {
    let state = RandomState::new();
    let mut keyed: Vec<(u64, T)> =
        items.drain(..).enumerate().map(|(index, item)| (state.hash_one(index), item)).collect();
    keyed.sort_by_key(|(key, _)| *key);
    items.extend(keyed.into_iter().map(|(_, item)| item));
}
