//! The way of the data: compress, seal, hash, cut, fan out, and the way back. It knows bytes and keys;
//! not where the bytes come from, where they go, or who asked.

pub mod compress;
pub mod damage;
pub mod digest;
pub mod fanout;
pub mod flow;
pub mod header;
pub mod parts;
mod pool;
pub mod readback;
pub mod seal;
pub mod unpack;
