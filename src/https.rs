//! HTTP over TLS: whom to trust, and through which proxy to go. It sends nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use ureq::Proxy;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::config::alert::is_here;
use crate::config::environment;

/// TLS with the roots of the system, which is also where `SSL_CERT_FILE` is honoured.
///
/// # Errors
/// When there are no roots at all.
pub fn tls_config() -> Result<TlsConfig> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::debug!("root certificates: {error}");
    }
    ensure!(
        !found.certs.is_empty(),
        "this host has no root certificates (install `ca-certificates`, or set SSL_CERT_FILE)"
    );
    let roots: RootCerts = found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).into();
    Ok(TlsConfig::builder()
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build())
}

/// The variables that name a proxy, the first that is set, as curl has them. `HTTP_PROXY` is none of them: a web server
/// sets it for what it starts, by what a stranger's request says ("httpoxy").
const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The proxy to a host, with its port, by the environment. It carries TLS alone: what goes in the clear, and what goes to
/// this host, goes there directly.
///
/// # Errors
/// When the variable names no proxy.
pub fn proxy_to(host: &str, is_tls: bool) -> Result<Option<Proxy>> {
    proxy_by(&environment::of_process().variables, host, is_tls)
}

fn proxy_by(variables: &BTreeMap<String, String>, host: &str, is_tls: bool) -> Result<Option<Proxy>> {
    let set = |names: &[&'static str]| -> Option<(&'static str, String)> {
        let mut found =
            names.iter().filter_map(|name| Some((*name, variables.get(*name)?.trim().to_owned())));
        found.find(|(_, value)| !value.is_empty())
    };
    if !is_tls || is_here(host) || set(&NO_PROXY).is_some_and(|(_, list)| is_left_out(&list, host)) {
        return Ok(None);
    }
    let Some((name, address)) = set(&PROXIES) else { return Ok(None) };
    // Its own words repeat the address, which may hold a password.
    let proxy = Proxy::new(&address).map_err(|_| anyhow!("the variable `{name}` does not name a proxy"))?;
    Ok(Some(proxy))
}

/// Whether a list of hosts and domains, as curl reads it, has the host.
fn is_left_out(list: &str, host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.chars().all(|digit| digit.is_ascii_digit()) { name } else { host }
    });
    let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
    list.split([',', ' ']).map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        let domain = entry.trim_start_matches("*.").trim_start_matches('.');
        entry == "*"
            || (!domain.is_empty()
                && name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn goes(variables: &[(&str, &str)], host: &str, is_tls: bool) -> Option<String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let proxy = proxy_by(&variables.collect(), host, is_tls).unwrap()?;
        Some(format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn tls_to_other_hosts_alone_goes_through_a_proxy() {
        let all = [("HTTP_PROXY", "http://h:1"), ("HTTPS_PROXY", "http://s:2"), ("ALL_PROXY", "http://a:3")];
        assert_eq!(goes(&all, "s3.example.org", true), Some("s:2".to_owned()));
        assert_eq!(goes(&[("all_proxy", "http://a:3")], "s3.example.org:8443", true), Some("a:3".to_owned()));
        assert_eq!(goes(&[("HTTP_PROXY", "http://h:1"), ("http_proxy", "http://h:1")], "x.org", true), None);
        assert_eq!(goes(&all, "s3.example.org", false), None);
        for host in ["localhost", "localhost:9000", "127.0.0.1:9000", "127.8.8.8", "[::1]:9000"] {
            assert_eq!(goes(&all, host, true), None, "{host}");
        }
    }

    #[test]
    fn what_is_left_out_goes_directly() {
        for (list, host) in
            [("*", "a.org"), ("x,a.org", "a.org:443"), (".a.org", "s3.a.org"), ("*.A.org", "s3.a.org")]
        {
            assert_eq!(
                goes(&[("HTTPS_PROXY", "http://s:2"), ("NO_PROXY", list)], host, true),
                None,
                "{list}"
            );
        }
        for list in ["", "b.org", "3.a.org", ".", "s3.a.org.b"] {
            assert!(
                goes(&[("HTTPS_PROXY", "http://s:2"), ("NO_PROXY", list)], "s3.a.org", true).is_some(),
                "{list}"
            );
        }
    }

    #[test]
    fn what_names_no_proxy_is_told_without_its_text() {
        let variables = BTreeMap::from([("HTTPS_PROXY".to_owned(), "what://u:s3cret@p".to_owned())]);
        let error = proxy_by(&variables, "a.org", true).unwrap_err().to_string();
        assert!(error.contains("HTTPS_PROXY") && !error.contains("s3cret"), "{error}");
    }
}
