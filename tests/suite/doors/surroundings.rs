//! What the environment of a run must not bring about: a proxy that hears a secret, a child that is given one, a core dump
//! that holds one.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::support::cluster::{PASSWORD, ROLE};
use crate::support::receiver::Receiver;
use crate::support::{FakeBin, Pgkeep, Site};

/// Every variable that some program takes a proxy from.
const VARIABLES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// A proxy that connects nobody, and keeps what it was asked.
struct Proxy {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut asked, mut block) = (Vec::new(), [0; 4096]);
                while !asked.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut block) {
                        Ok(count @ 1..) => asked.extend_from_slice(&block[..count]),
                        _ => break,
                    }
                }
                all.lock().unwrap().push(String::from_utf8_lossy(&asked).into_owned());
                stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").ok();
            }
        });
        Self { url, heard }
    }

    fn before(&self, call: Pgkeep, variables: &[&str]) -> Pgkeep {
        variables.iter().fold(call, |call, variable| call.env(variable, &self.url))
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

#[test]
fn a_proxy_hears_nothing_that_goes_in_the_clear_or_to_this_host() {
    let (mut site, proxy, hook) = (Site::new(), Proxy::start(), Receiver::start());
    site.config
        .channel("hook", &format!("kind = 'webhook'\nurl = '{}'\ntoken = 'hunter22'", hook.url("/hook")));
    for variable in VARIABLES {
        proxy.before(site.pgkeep(["backup", "full"]), &[variable]).stdout_has("full-").run();
        proxy.before(site.pgkeep(["alert", "test"]), &[variable]).stdout_has("ok    hook").run();
    }
    // In the clear to another host, which is not there: the proxy is not asked to find it.
    site.set_endpoint("r2", "s3.invalid:9000");
    let call = proxy.before(site.pgkeep(["backup", "full"]), &VARIABLES);
    call.code(3).any_stdout().stderr_has("r2").run();
    assert_eq!(proxy.heard(), Vec::<String>::new());
}

#[test]
fn tls_to_another_host_goes_through_the_proxy_that_is_named_for_it() {
    let (mut site, proxy) = (Site::new(), Proxy::start());
    site.config.keep_stores(&["local", "r2"]);
    site.config.store("r2").insert("endpoint".to_owned(), "https://s3.invalid".into());
    site.config.set("config.with_full", false);
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let before = proxy.heard().len();
        let call = proxy.before(site.pgkeep(["backup", "full"]), &[variable]);
        call.code(3).any_stdout().stderr_has("proxy").run();
        let heard = proxy.heard().split_off(before);
        assert!(
            !heard.is_empty() && heard.iter().all(|asked| asked.starts_with("CONNECT s3.invalid:443 ")),
            "{heard:?}"
        );
    }
    let before = proxy.heard().len();
    let call = proxy.before(site.pgkeep(["backup", "full"]), &["HTTPS_PROXY"]).env("NO_PROXY", ".invalid");
    call.code(3).any_stdout().stderr_has("r2").run();
    // A server that answers a stranger's request would take this one from it.
    let call = proxy.before(site.pgkeep(["backup", "full"]), &["HTTP_PROXY"]);
    call.code(3).any_stdout().stderr_has("r2").run();
    assert_eq!(proxy.heard().len(), before);
}

#[test]
fn no_child_is_given_a_secret_of_the_environment() {
    let mut site = Site::new();
    site.config.keep_stores(&["local", "r2"]);
    let bin = FakeBin::new(&site.path(""), "env >\"$HERE/../environment\"; exec \"$REAL\" \"$@\"");
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let script = format!(
        "env >'{}'; echo '{}'",
        site.path("asked").display(),
        site.r2.server.credentials.access_key_id
    );
    let command = toml::Table::from_iter([("command".to_owned(), vec!["sh", "-c", &script].into())]);
    site.config.store("r2").insert("access_key_id".to_owned(), command.into());
    let url = format!("postgresql://{ROLE}@127.0.0.1:{}/{}", site.cluster.port, site.database);
    site.config.set("source.url", url);
    let call =
        site.pgkeep(["backup", "full"]).env("PGPASSWORD", PASSWORD).env("VAULT_TOKEN", "vault-hunter2");
    let call = call.env("AWS_SECRET_ACCESS_KEY", "aws-hunter2").env("RESTIC_PASSWORD", "restic-hunter2");
    call.env("HARMLESS", "stays").stdout_has("full-").run();
    let (dump, asked) = (
        fs::read_to_string(site.path("environment")).unwrap(),
        fs::read_to_string(site.path("asked")).unwrap(),
    );
    for text in [&dump, &asked] {
        assert!(text.contains("HARMLESS=stays") && !text.contains("R2_SECRET"), "{text}");
    }
    assert!(!dump.contains("hunter2"), "{dump}");
    // What it connects with is its own to have.
    assert!(dump.contains(&format!("PGPASSWORD={PASSWORD}")), "{dump}");
    // What fetches a secret may need one for that, but not the password of the database.
    assert!(asked.contains("VAULT_TOKEN=") && !asked.contains("PGPASSWORD"), "{asked}");
}

#[test]
fn no_core_dump_is_made_of_a_run_and_its_children() {
    let mut site = Site::new().local_only();
    let script =
        "ulimit -Hc >\"$HERE/../own\"; cat /proc/$PPID/limits >\"$HERE/../parents\"; exec \"$REAL\" \"$@\"";
    let bin = FakeBin::new(&site.path(""), script);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    let call = site.pgkeep(["backup", "full"]).limited("--core=unlimited:unlimited");
    call.stdout_has("full-").run();
    assert_eq!(fs::read_to_string(site.path("own")).unwrap().trim(), "0");
    let limits = fs::read_to_string(site.path("parents")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{line}");
}
