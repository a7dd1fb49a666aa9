//! Connection parameters as the client library takes them, and the ones it cannot honour. It knows no TLS
//! files.

use std::net::IpAddr;
use std::time::Duration;

use postgres::Config;
use postgres::config::{ChannelBinding, SslNegotiation};

use super::ConnectOptions;
use super::error::Failure;
use crate::conninfo::{ConnInfo, Target};

/// What a session must be, by `target_session_attrs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl Session {
    fn of(info: &ConnInfo) -> Result<Self, Failure> {
        Ok(match info.get("target_session_attrs") {
            None | Some("any") => Self::Any,
            Some("read-write") => Self::ReadWrite,
            Some("read-only") => Self::ReadOnly,
            Some("primary") => Self::Primary,
            Some("standby") => Self::Standby,
            Some("prefer-standby") => Self::PreferStandby,
            Some(other) => return Err(bad_value("target_session_attrs", other)),
        })
    }

    /// What to ask of the hosts, one round after the other.
    pub(super) fn passes(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }
}

/// The parameters that are the same for every host.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) session: Session,
    pub(super) is_shuffled: bool,
    pub(super) time_limit: Duration,
    common: Config,
}

impl Settings {
    pub(super) fn new(info: &ConnInfo, options: &ConnectOptions<'_>) -> Result<Self, Failure> {
        refuse_unsupported(info)?;
        let time_limit = match number(info, "connect_timeout")? {
            Some(seconds) if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()),
            _ => options.connect_timeout,
        };
        let is_shuffled = match info.get("load_balance_hosts") {
            None | Some("disable") => false,
            Some("random") => true,
            Some(other) => return Err(bad_value("load_balance_hosts", other)),
        };
        let name = info
            .get("application_name")
            .or_else(|| Some(options.application_name).filter(|name| !name.is_empty()));
        let mut common = Config::new();
        common.user(info.user()).dbname(info.dbname()).connect_timeout(time_limit);
        if let Some(name) = name.or_else(|| info.get("fallback_application_name")) {
            common.application_name(name);
        }
        if let Some(session_options) = info.get("options") {
            common.options(session_options);
        }
        common.channel_binding(match info.get("channel_binding") {
            None | Some("prefer") => ChannelBinding::Prefer,
            Some("disable") => ChannelBinding::Disable,
            Some("require") => ChannelBinding::Require,
            Some(other) => return Err(bad_value("channel_binding", other)),
        });
        match info.get("sslnegotiation") {
            None | Some("postgres") => {}
            Some("direct") => {
                common.ssl_negotiation(SslNegotiation::Direct);
            }
            Some(other) => return Err(bad_value("sslnegotiation", other)),
        }
        set_keepalives(info, &mut common)?;
        Ok(Self { session: Session::of(info)?, is_shuffled, time_limit, common })
    }

    pub(super) fn socket_config(&self, info: &ConnInfo, target: &Target) -> Result<Config, Failure> {
        if target.host.starts_with('@') {
            return Err(unsupported("host=@...", "an abstract socket cannot be opened"));
        }
        if info.get("requirepeer").is_some() {
            return Err(unsupported("requirepeer", "the owner of a socket cannot be checked"));
        }
        let mut config = self.config_for(info, target);
        config.host_path(&target.host);
        Ok(config)
    }

    pub(super) fn tcp_config(&self, info: &ConnInfo, target: &Target, address: IpAddr) -> Config {
        let mut config = self.config_for(info, target);
        config.host(target.name()).hostaddr(address);
        config
    }

    fn config_for(&self, info: &ConnInfo, target: &Target) -> Config {
        let mut config = self.common.clone();
        config.port(target.port);
        if let Some(password) = info.password_for(target) {
            config.password(password);
        }
        config
    }
}

fn set_keepalives(info: &ConnInfo, config: &mut Config) -> Result<(), Failure> {
    let positive = |keyword| -> Result<Option<u64>, Failure> {
        Ok(number(info, keyword)?.filter(|number| *number > 0).map(i64::unsigned_abs))
    };
    if number(info, "keepalives")? == Some(0) {
        config.keepalives(false);
    }
    // A peer that vanished is given up after a minute or two, not after the system's two hours.
    config.keepalives_idle(Duration::from_mins(1));
    config.keepalives_interval(Duration::from_secs(10));
    config.keepalives_retries(6);
    config.tcp_user_timeout(Duration::from_mins(1));
    if let Some(seconds) = positive("keepalives_idle")? {
        config.keepalives_idle(Duration::from_secs(seconds));
    }
    if let Some(seconds) = positive("keepalives_interval")? {
        config.keepalives_interval(Duration::from_secs(seconds));
    }
    if let Some(count) = positive("keepalives_count")? {
        config.keepalives_retries(u32::try_from(count).unwrap_or(u32::MAX));
    }
    if let Some(milliseconds) = positive("tcp_user_timeout")? {
        config.tcp_user_timeout(Duration::from_millis(milliseconds));
    }
    Ok(())
}

fn number(info: &ConnInfo, keyword: &str) -> Result<Option<i64>, Failure> {
    info.get(keyword)
        .map(|text| text.trim().parse::<i32>().map(i64::from).map_err(|_| bad_value(keyword, text)))
        .transpose()
}

pub(super) fn bad_value(keyword: &str, value: &str) -> Failure {
    Failure::configuration(format!("invalid value `{value}` for connection parameter `{keyword}`"))
}

pub(super) fn unsupported(parameter: &str, why: &str) -> Failure {
    Failure::configuration(format!("connection parameter `{parameter}` is not supported: {why}"))
}

/// Refuses what would otherwise be weakened without a word.
fn refuse_unsupported(info: &ConnInfo) -> Result<(), Failure> {
    if info.get("gssencmode") == Some("require") {
        return Err(unsupported("gssencmode=require", "there is no GSSAPI encryption; use TLS"));
    }
    if info.get("require_auth").is_some() {
        return Err(unsupported("require_auth", "the way the server authenticates cannot be restricted"));
    }
    if info.get("sslcertmode") == Some("require") {
        return Err(unsupported(
            "sslcertmode=require",
            "whether the server asked for a certificate cannot be seen",
        ));
    }
    if info.get("replication").is_some_and(|value| !matches!(value, "false" | "off" | "no" | "0")) {
        return Err(unsupported("replication", "only plain sessions can be opened"));
    }
    if info.get("min_protocol_version").is_some_and(|version| version != "3.0") {
        return Err(unsupported("min_protocol_version", "only protocol 3.0 is spoken"));
    }
    if info.secret("scram_client_key").is_some() || info.secret("scram_server_key").is_some() {
        return Err(unsupported("scram_client_key", "give a password instead"));
    }
    Ok(())
}
