//! Each `sslmode` against servers with and without TLS, and the certificates libpq looks for. It knows the
//! two modules by their public face only.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pgkeep::connect::{ConnectErrorKind, connect, connect_cancellable};

use super::{OPTIONS, Secured, failure, outcome, plainly, resolve, secured};
use crate::support::cluster::{PASSWORD, ROLE};
use crate::support::{cluster, wait_until};

#[test]
fn each_sslmode_takes_and_refuses_what_libpq_does_of_a_server_with_tls() {
    let server = secured();
    let (ca, other, missing) = (server.path("ca.crt"), server.path("other.crt"), server.path("missing.crt"));
    let tls = Err(ConnectErrorKind::Tls);
    let right_name = "host=localhost hostaddr=127.0.0.1";
    for (text, expected) in [
        ("sslmode=disable".to_owned(), Ok(false)),
        ("sslmode=allow".to_owned(), Ok(false)),
        (String::new(), Ok(true)),
        ("sslmode=prefer".to_owned(), Ok(true)),
        (format!("sslmode=prefer sslrootcert={other}"), Ok(false)),
        ("sslmode=require".to_owned(), Ok(true)),
        (format!("sslmode=require sslrootcert={ca}"), Ok(true)),
        (format!("sslmode=require sslrootcert={other}"), tls),
        (format!("sslmode=require sslrootcert={missing}"), Ok(true)),
        (format!("sslmode=verify-ca sslrootcert={ca}"), Ok(true)),
        (format!("sslmode=verify-ca sslrootcert={other}"), tls),
        (format!("sslmode=verify-ca sslrootcert={missing}"), tls),
        (format!("sslmode=verify-full sslrootcert={ca}"), tls),
        (format!("sslmode=verify-full sslrootcert={ca} {right_name}"), Ok(true)),
        (format!("sslmode=verify-full sslrootcert={other} {right_name}"), tls),
        (format!("sslmode=verify-full sslrootcert={missing} {right_name}"), tls),
        (format!("sslrootcert=system {right_name}"), tls),
        ("sslmode=require ssl_max_protocol_version=TLSv1.2".to_owned(), Ok(true)),
        ("sslmode=require ssl_min_protocol_version=TLSv1.3".to_owned(), Ok(true)),
        (format!("sslmode=verify-full sslrootcert={ca} {right_name} sslsni=0"), Ok(true)),
        ("sslmode=require channel_binding=require".to_owned(), Ok(true)),
        ("sslmode=disable channel_binding=require".to_owned(), Err(ConnectErrorKind::Authentication)),
        ("sslmode=prefer hostaddr=127.0.0.1 host=".to_owned(), Ok(true)),
        ("sslmode=prefer user=plain".to_owned(), Ok(false)),
        ("sslmode=require user=plain".to_owned(), Err(ConnectErrorKind::Authentication)),
        ("sslmode=allow user=encrypted".to_owned(), Ok(true)),
        ("sslmode=disable user=encrypted".to_owned(), Err(ConnectErrorKind::Authentication)),
    ] {
        assert_eq!(outcome(server.open(&text)), expected, "{text}");
    }
}

#[test]
fn each_sslmode_takes_and_refuses_what_libpq_does_of_a_server_without_tls() {
    let port = cluster().port;
    let root = secured().path("ca.crt");
    for (mode, expected) in [
        ("disable", Ok(false)),
        ("allow", Ok(false)),
        ("prefer", Ok(false)),
        ("require", Err(ConnectErrorKind::Tls)),
        ("verify-ca", Err(ConnectErrorKind::Tls)),
        ("verify-full", Err(ConnectErrorKind::Tls)),
    ] {
        let text = format!(
            "host=127.0.0.1 port={port} user={ROLE} dbname=postgres password='{PASSWORD}' sslmode={mode} sslrootcert={root}"
        );
        assert_eq!(outcome(connect(&plainly(&text), &OPTIONS)), expected, "{mode}");
    }
}

#[test]
fn a_certificate_that_is_its_own_authority_is_good_for_who_has_it() {
    let server = Secured::start("selfmade");
    for (root, expected) in [("selfmade.crt", Ok(true)), ("other.crt", Err(ConnectErrorKind::Tls))] {
        let text = format!(
            "sslmode=verify-full host=localhost hostaddr=127.0.0.1 sslrootcert={}",
            server.path(root)
        );
        assert_eq!(outcome(server.open(&text)), expected, "{root}");
    }
    let wrong_name = format!("sslmode=verify-full sslrootcert={}", server.path("selfmade.crt"));
    assert_eq!(outcome(server.open(&wrong_name)), Err(ConnectErrorKind::Tls));
}

#[test]
fn the_files_of_the_home_directory_count() {
    let server = secured();
    let home = tempfile::tempdir().unwrap();
    let own = home.path().join(".postgresql");
    fs::create_dir(&own).unwrap();
    let open = |text: &str| {
        let port = server.cluster.port;
        let text =
            format!("host=127.0.0.1 port={port} user={ROLE} dbname=postgres password='{PASSWORD}' {text}");
        connect(&resolve(&text, &[], home.path()), &OPTIONS)
    };
    let error = failure(open("sslmode=verify-ca"));
    let expected = format!("root certificate file `{}` does not exist; put", own.join("root.crt").display());
    assert!(error.to_string().contains(&expected), "{error}");

    fs::copy(server.path("other.crt"), own.join("root.crt")).unwrap();
    let error = failure(open("sslmode=require"));
    assert!(error.to_string().contains("not signed by any trusted root"), "{error}");
    fs::copy(server.path("ca.crt"), own.join("root.crt")).unwrap();
    assert_eq!(outcome(open("sslmode=verify-ca")), Ok(true));

    fs::copy(server.path("certified.crt"), own.join("postgresql.crt")).unwrap();
    let error = failure(open("sslmode=require user=certified"));
    assert!(error.to_string().contains("no private key file"), "{error}");
    fs::copy(server.path("certified.key"), own.join("postgresql.key")).unwrap();
    assert_eq!(outcome(open("sslmode=require user=certified")), Ok(true));
    fs::set_permissions(own.join("postgresql.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = failure(open("sslmode=require user=certified"));
    assert!(error.to_string().contains("chmod 0600"), "{error}");
    assert_eq!(error.kind(), ConnectErrorKind::Tls);

    fs::write(own.join("root.crl"), "").unwrap();
    assert_eq!(failure(open("sslmode=verify-ca")).kind(), ConnectErrorKind::Configuration);
}

#[test]
fn a_client_certificate_is_shown_where_it_is_named() {
    let server = secured();
    let shown = format!(
        "user=certified sslmode=require sslcert={} sslkey={}",
        server.path("certified.crt"),
        server.path("certified.key")
    );
    assert_eq!(outcome(server.open(&shown)), Ok(true));
    assert_eq!(
        outcome(server.open(&format!("{shown} sslcertmode=disable"))),
        Err(ConnectErrorKind::Authentication)
    );
    assert_eq!(outcome(server.open("user=certified sslmode=require")), Err(ConnectErrorKind::Authentication));
}

#[test]
fn sockets_carry_no_tls_whatever_the_mode() {
    let server = secured();
    let (socket, port) = (server.cluster.socket_dir.to_str().unwrap(), server.cluster.port);
    for mode in ["disable", "prefer", "require", "verify-full"] {
        let info = plainly(&format!("host={socket} port={port} user={ROLE} dbname=postgres sslmode={mode}"));
        assert_eq!(outcome(connect(&info, &OPTIONS)), Ok(false), "{mode}");
    }
}

#[test]
fn a_certificate_of_the_first_version_is_refused_with_its_cure() {
    let server = Secured::start("old");
    let error = failure(server.open("sslmode=require"));
    assert_eq!((error.kind(), error.is_transient()), (ConnectErrorKind::Tls, false));
    assert!(error.to_string().contains("X.509 version 1"), "{error}");
    assert_eq!(outcome(server.open("sslmode=prefer")), Ok(false));
}

/// A request to end a query goes to the session's own address, encrypted where the session is.
#[test]
fn a_query_is_ended_from_another_thread_with_and_without_tls() {
    let right_name = format!("host=localhost hostaddr=127.0.0.1 sslrootcert={}", secured().path("ca.crt"));
    for text in ["sslmode=disable", "sslmode=prefer", &format!("sslmode=verify-full {right_name}")] {
        let (mut client, canceller) = connect_cancellable(&secured().info(text, &[]), &OPTIONS).unwrap();
        let (say, said) = std::sync::mpsc::channel();
        let sleeps = std::thread::spawn(move || say.send(client.batch_execute("SELECT pg_sleep(100)")));
        let mut outcome = None;
        wait_until("the query is ended", || {
            canceller.cancel().unwrap();
            outcome = said.try_recv().ok();
            outcome.is_some()
        });
        let error = outcome.unwrap().unwrap_err();
        assert_eq!(error.code(), Some(&postgres::error::SqlState::QUERY_CANCELED), "{text}");
        sleeps.join().unwrap().unwrap();
    }
}
