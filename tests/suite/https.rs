//! S3 over TLS, as R2 and B2 are reached: with the system's authorities, or those that `SSL_CERT_FILE` names.

use crate::support::Site;
use crate::support::compare::assert_same;

fn over_tls(mut site: Site) -> Site {
    for (store, port) in [("r2", site.r2.server.tls_port), ("b2", site.b2.server.tls_port)] {
        site.config.store(store).insert("endpoint".to_owned(), format!("https://localhost:{port}").into());
    }
    site
}

/// Both servers' authorities, in one file.
fn authorities(site: &Site) -> std::path::PathBuf {
    let both = [&site.r2, &site.b2].map(|bucket| std::fs::read_to_string(&bucket.server.authority).unwrap());
    let file = site.path("authorities.crt");
    std::fs::write(&file, both.concat()).unwrap();
    file
}

#[test]
fn parts_and_downloads_go_through_tls() {
    let site = over_tls(Site::of_parts());
    let trusted = authorities(&site);
    let call = |arguments: &[&str]| site.pgkeep(arguments).env("SSL_CERT_FILE", &trusted).any_stdout();
    let id = call(&["backup", "full"]).run().id();
    site.assert_copies(&id, &["local", "r2", "b2"]);
    call(&["verify", &id]).run();
    let (name, url) = site.target();
    call(&["restore", &id, "--from", "b2", "--into", &url]).any_stderr().run();
    assert_same(site.cluster, &site.database, &name);
}

#[test]
fn an_authority_that_is_not_trusted_is_no_store() {
    let site = over_tls(Site::new());
    let call = site.pgkeep(["backup", "full"]).code(3).any_stdout();
    let id = call.stderr_has("r2").stderr_has("b2").stderr_has("certificate").run().id();
    site.assert_copies(&id, &["local"]);
    assert_eq!((site.r2.keys().len(), site.b2.keys().len()), (0, 0));
}

/// The certificate is for `localhost`, not for 127.0.0.1.
#[test]
fn a_certificate_for_another_name_is_no_store() {
    let mut site = over_tls(Site::new());
    let trusted = authorities(&site);
    let endpoint = format!("https://127.0.0.1:{}", site.r2.server.tls_port);
    site.config.store("r2").insert("endpoint".to_owned(), endpoint.into());
    let call = site.pgkeep(["backup", "full"]).env("SSL_CERT_FILE", &trusted).code(3).any_stdout();
    let id = call.stderr_has("r2").stderr_has("certificate").run().id();
    site.assert_copies(&id, &["local", "b2"]);
}
