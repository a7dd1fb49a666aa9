//! What the tests stand on: real servers, the built binary, and ways to look at what it left.

pub(crate) mod cluster;
pub(crate) mod command;
pub(crate) mod compare;
pub(crate) mod config;
pub(crate) mod fake_bin;
pub(crate) mod fault;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod key;
pub(crate) mod manners;
pub(crate) mod planted;
pub(crate) mod receiver;
pub(crate) mod rule;
pub(crate) mod s3server;
pub(crate) mod secrets;
pub(crate) mod shim;
pub(crate) mod sigv4;
pub(crate) mod site;
pub(crate) mod smtp;
pub(crate) mod tls_front;
pub(crate) mod tools;
pub(crate) mod watchdog;

pub(crate) use cluster::{Cluster, cluster};
pub(crate) use command::Pgkeep;
pub(crate) use fake_bin::FakeBin;
pub(crate) use fault::FaultServer;
pub(crate) use gate::Gate;
pub(crate) use manners::Manners;
pub(crate) use rule::Rule;
pub(crate) use s3server::Bucket;
pub(crate) use site::Site;
pub(crate) use tools::{project, sha256_hex, wait_until};
