//! Alerts: what is one, what it says, and the channels that carry it. It knows no command, no catalog and no store.

pub mod rules;
