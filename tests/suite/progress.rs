//! The progress bar: on a terminal, and only there.

use std::fs;
use std::process::Command;

use crate::support::Site;
use crate::support::tools::{binary, finish};

/// Runs a shell line on a terminal of its own; gives what the terminal showed.
fn on_terminal(site: &Site, line: &str) -> String {
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", line, "/dev/null"]);
    command
        .env("R2_SECRET", &site.r2.server.credentials.secret)
        .env("HOME", site.path(""))
        .env("TERM", "xterm-256color");
    finish(&mut command)
}

#[test]
fn a_terminal_sees_how_far_it_is() {
    let site = Site::of_parts();
    site.pgkeep(["list"]).any_stdout().any_stderr().run();
    let line = |flags: &str| {
        let (binary, config, out) = (binary().display(), site.path("config.toml"), site.path("out"));
        format!(
            "stty cols 150; {binary} --config {} {flags} backup full >{}",
            config.display(),
            out.display()
        )
    };
    let shown = on_terminal(&site, &line(""));
    for part in ["\r", "B/s", "local", "r2", "b2", "%"] {
        assert!(shown.contains(part), "no {part:?} in {shown:?}");
    }
    for secret in site.secrets() {
        assert!(!shown.contains(&secret));
    }
    let out = fs::read_to_string(site.path("out")).unwrap();
    assert!(crate::support::command::is_id(out.trim_end()), "{out:?}");
    assert_eq!(on_terminal(&site, &line("--quiet")), "");
    assert_eq!(fs::read_to_string(site.path("out")).unwrap(), "");
}

/// Each kind of restore: bytes of the dump against those on record.
#[test]
fn a_terminal_sees_how_far_a_restore_is() {
    let site = Site::of_parts();
    let id = site.backup();
    let line = |arguments: &str| {
        let (binary, config) = (binary().display(), site.path("config.toml"));
        format!("stty cols 150; {binary} --config {} restore {id} {arguments} >/dev/null", config.display())
    };
    let (_, stream) = site.target();
    let (_, jobs) = site.target();
    let out = site.path("out.dump");
    for arguments in [
        format!("--into '{stream}'"),
        format!("--into '{jobs}' --jobs 2"),
        format!("--output {}", out.display()),
        "--output -".to_owned(),
    ] {
        let shown = on_terminal(&site, &line(&arguments));
        for part in ["pgkeep: restoring `", "\r", "MiB of 39", "B/s", "local"] {
            assert!(shown.contains(part), "{arguments}: no {part:?} in {shown:?}");
        }
        for secret in site.secrets().iter().filter(|secret| !arguments.contains(*secret)) {
            assert!(!shown.contains(secret));
        }
    }
    assert_eq!(on_terminal(&site, &line("--output - --quiet")), "");
}
