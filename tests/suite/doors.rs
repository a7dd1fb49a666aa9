//! What somebody who owns less than pgkeep does may try on it.

mod crowd;
mod listing;
