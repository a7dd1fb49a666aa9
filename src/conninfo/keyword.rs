//! The parameters libpq knows, with the environment variable of each. It knows no values and reads nothing.

/// One connection parameter of libpq.
#[derive(Debug)]
pub(super) struct Keyword {
    /// The name, as it stands in a connection string.
    pub(super) name: &'static str,
    /// The environment variable that gives its default.
    pub(super) variable: Option<&'static str>,
}

const fn keyword(name: &'static str, variable: &'static str) -> Keyword {
    Keyword { name, variable: Some(variable) }
}

const fn bare(name: &'static str) -> Keyword {
    Keyword { name, variable: None }
}

/// Every keyword of libpq up to version 18 ("Parameter Key Words" and "Environment Variables" in its
/// chapter).
static KEYWORDS: [Keyword; 51] = [
    keyword("application_name", "PGAPPNAME"),
    keyword("channel_binding", "PGCHANNELBINDING"),
    keyword("client_encoding", "PGCLIENTENCODING"),
    keyword("connect_timeout", "PGCONNECT_TIMEOUT"),
    keyword("dbname", "PGDATABASE"),
    bare("fallback_application_name"),
    keyword("gssdelegation", "PGGSSDELEGATION"),
    keyword("gssencmode", "PGGSSENCMODE"),
    keyword("gsslib", "PGGSSLIB"),
    keyword("host", "PGHOST"),
    keyword("hostaddr", "PGHOSTADDR"),
    bare("keepalives"),
    bare("keepalives_count"),
    bare("keepalives_idle"),
    bare("keepalives_interval"),
    keyword("krbsrvname", "PGKRBSRVNAME"),
    keyword("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    keyword("max_protocol_version", "PGMAXPROTOCOLVERSION"),
    keyword("min_protocol_version", "PGMINPROTOCOLVERSION"),
    bare("oauth_client_id"),
    bare("oauth_client_secret"),
    bare("oauth_issuer"),
    bare("oauth_scope"),
    keyword("options", "PGOPTIONS"),
    keyword("passfile", "PGPASSFILE"),
    keyword("password", "PGPASSWORD"),
    keyword("port", "PGPORT"),
    bare("replication"),
    keyword("require_auth", "PGREQUIREAUTH"),
    keyword("requirepeer", "PGREQUIREPEER"),
    bare("scram_client_key"),
    bare("scram_server_key"),
    keyword("service", "PGSERVICE"),
    keyword("servicefile", "PGSERVICEFILE"),
    keyword("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    keyword("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    keyword("sslcert", "PGSSLCERT"),
    keyword("sslcertmode", "PGSSLCERTMODE"),
    keyword("sslcompression", "PGSSLCOMPRESSION"),
    keyword("sslcrl", "PGSSLCRL"),
    keyword("sslcrldir", "PGSSLCRLDIR"),
    keyword("sslkey", "PGSSLKEY"),
    bare("sslkeylogfile"),
    keyword("sslmode", "PGSSLMODE"),
    keyword("sslnegotiation", "PGSSLNEGOTIATION"),
    bare("sslpassword"),
    keyword("sslrootcert", "PGSSLROOTCERT"),
    keyword("sslsni", "PGSSLSNI"),
    keyword("target_session_attrs", "PGTARGETSESSIONATTRS"),
    bare("tcp_user_timeout"),
    keyword("user", "PGUSER"),
];

/// The keyword of that name; names are lower case, as in libpq.
pub(super) fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}

/// All keywords.
pub(super) fn all() -> impl Iterator<Item = &'static Keyword> {
    KEYWORDS.iter()
}

/// Whether the value of a keyword must never be shown, nor stand in an argument list.
pub(super) fn is_secret(name: &str) -> bool {
    matches!(
        name,
        "password" | "sslpassword" | "scram_client_key" | "scram_server_key" | "oauth_client_secret"
    )
}
