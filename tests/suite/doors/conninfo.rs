//! Connection strings whose password has characters in it that should have been escaped: refused, without a piece of it.

use crate::support::Site;
use crate::support::key::write_private;

/// Passwords with something in them that a URI has another meaning for. Each piece of letters and digits is a secret.
const PASSWORDS: [&str; 12] = [
    "zeta1@yota2",
    "zeta1@yota2:5432",
    "zeta1@yota2:beta3",
    "zeta1@yota2/beta3",
    "zeta1@yota2?beta3=kappa4",
    "zeta1@yota2,beta3",
    "12345/yota2@beta3",
    "12345?yota2=beta3@kappa4",
    "12345?user=yota2@kappa4",
    "@zeta1",
    "zeta1@",
    "zeta1@yota2#beta3",
];

fn pieces(password: &str) -> Vec<String> {
    let words = password.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| word.len() >= 5 && !matches!(*word, "5432")).map(str::to_owned).collect()
}

fn urls(password: &str) -> [String; 2] {
    // The second one has lost its scheme.
    [
        format!("postgresql://keeper:{password}@127.0.0.1:1/shop"),
        format!("keeper:{password}@127.0.0.1:1/shop"),
    ]
}

#[test]
fn an_unescaped_at_in_a_password_shows_nothing_of_it() {
    let site = Site::new().local_only();
    let id = site.backup();
    for password in PASSWORDS {
        let hidden = pieces(password);
        for url in urls(password) {
            for key in ["source.url", "catalog.url"] {
                let mut config = site.config.clone();
                config.set(key, url.clone());
                let file = site.path("odd.toml");
                config.write(&file);
                let call = site.bare().args(["--config", file.to_str().unwrap(), "backup", "full"]);
                call.code(2).secrets(&hidden).stderr_has("connection").run();
            }
            let restore = ["restore", &id, "--into", &url];
            site.pgkeep(restore).code(2).secrets(&hidden).stderr_has("connection").run();
            let verify = ["verify", &id, "--level", "restore", "--scratch", &url];
            site.pgkeep(verify).code(2).secrets(&hidden).any_stdout().stderr_has("connection").run();
        }
    }
    assert_eq!(site.rows().len(), 1, "nothing is on record");
}

#[test]
fn a_uri_in_place_of_a_name_shows_nothing_of_it() {
    let mut site = Site::new().local_only();
    let hidden = ["zeta1".to_owned(), "yota2".to_owned()];
    site.config.set("source.url", "");
    let uri = "postgresql://keeper:zeta1%40yota2@127.0.0.1:1/shop";
    site.pgkeep(["backup", "full"])
        .env("PGDATABASE", uri)
        .code(2)
        .secrets(&hidden)
        .stderr_has("connection")
        .run();
    let call = site.pgkeep(["backup", "full"]).env("PGHOST", "keeper:zeta1@yota2");
    call.code(2).secrets(&hidden).stderr_has("`@`").run();
    let services = site.path("services.conf");
    for line in [format!("dbname={uri}"), "host=zeta1@yota2".to_owned()] {
        write_private(&services, &format!("[shop]\n{line}\n"));
        let call = site.pgkeep(["backup", "full"]).env("PGSERVICEFILE", &services).env("PGSERVICE", "shop");
        call.code(2).secrets(&hidden).stderr_has("connection").run();
    }
}

#[test]
fn an_at_where_there_may_be_one_is_taken() {
    let site = Site::new().local_only();
    let url = site.cluster.url(&site.database);
    for more in ["?application_name=a@b", "?options=-c%20application_name%3Da@b"] {
        let mut config = site.config.clone();
        config.set("source.url", format!("{url}{more}"));
        let file = site.path("odd.toml");
        config.write(&file);
        site.bare().args(["--config", file.to_str().unwrap(), "list"]).any_stdout().run();
    }
}
