//! A copy that turns out to be bad half-way: the next one is used from the start, and nothing comes twice.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use pgkeep::connect::ConnectOptions;
use pgkeep::conninfo::{ConnInfo, Environment};
use pgkeep::interrupt::Interrupt;
use pgkeep::source::server::Server;

use super::{calls, flip, noting_bin, site_of_rows};
use crate::support::compare::{assert_same, contents};
use crate::support::rule::Action;
use crate::support::{Manners, Rule, Site};

const PASS_ON: &str = "exec \"$REAL\" \"$@\"";
const DAMAGED: &str = "the copy in store `local` is damaged";
const NEXT: &str = "the copy in store `r2` is next, from the start";

/// A backup, and what its local copy was.
struct Damaged {
    site: Site,
    id: String,
    path: String,
    good: Vec<u8>,
}

impl Damaged {
    fn new() -> Self {
        let site = site_of_rows();
        let id = site.backup();
        let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
        let good = fs::read(&path).unwrap();
        Self { site, id, path, good }
    }

    /// Damages the local copy near its start, in its middle, at its last byte, in turn.
    fn in_turn(&self, mut look: impl FnMut(&str)) {
        let last = self.good.len() - 1;
        for (name, at) in
            [("near the start", 70_000), ("in the middle", last / 2), ("at the last byte", last)]
        {
            fs::write(&self.path, flip(&self.good, at)).unwrap();
            look(name);
        }
    }

    /// Restores, which must come to a good end by the next copy.
    fn restore(&self, arguments: &[&str]) {
        let call = self.site.pgkeep(["restore", &self.id]).args(arguments).any_stdout();
        let ran = call.stderr_has(DAMAGED).stderr_has(NEXT).run();
        if !arguments.contains(&"-") {
            assert_eq!(ran.stdout, format!("restored {} from r2\n", self.id));
        }
    }
}

#[test]
fn into_an_empty_database_nothing_comes_twice() {
    let mut damaged = Damaged::new();
    let bin = noting_bin(&mut damaged.site, PASS_ON);
    damaged.in_turn(|name| {
        let (target, url) = damaged.site.target();
        damaged.restore(&["--into", &url]);
        assert_same(damaged.site.cluster, &damaged.site.database, &target);
        let calls = calls(&bin);
        let was_begun = name != "near the start";
        assert_eq!(calls.last().unwrap().contains("--clean --if-exists"), was_begun, "{name}: {calls:?}");
        damaged.site.cluster.execute("postgres", &format!("DROP DATABASE {target}"));
    });
    assert_eq!(calls(&bin).len(), 5, "what is met in the first block is met in time: {:?}", calls(&bin));
}

#[test]
fn into_a_database_that_is_made() {
    let damaged = Damaged::new();
    let site = &damaged.site;
    let kept = format!("{}_kept", site.database);
    let rename = |from: &str, to: &str| {
        site.cluster.execute("postgres", &format!("ALTER DATABASE {from} RENAME TO {to}"));
    };
    let catalog = site.cluster.url(&kept);
    let mut config = site.config.clone();
    config.set("catalog.url", catalog);
    config.write(&site.path("config.toml"));
    rename(&site.database, &kept);
    let path = site.path("config.toml");
    damaged.in_turn(|_| {
        let url = site.cluster.url("postgres");
        let call = site.bare().args(["--config", path.to_str().unwrap(), "restore", &damaged.id]);
        let call = call.args(["--into", &url, "--create"]).any_stdout();
        call.stderr_has(DAMAGED).stderr_has(NEXT).run();
        assert_same(site.cluster, &kept, &site.database);
        site.cluster.execute("postgres", &format!("DROP DATABASE {}", site.database));
    });
}

#[test]
fn into_what_is_replaced_and_into_tables_that_are_there() {
    let damaged = Damaged::new();
    let site = &damaged.site;
    let (target, url) = site.target();
    site.pgkeep(["restore", &damaged.id, "--into", &url]).any_stdout().any_stderr().run();
    damaged.in_turn(|_| {
        site.cluster.execute(&target, "DELETE FROM invoice; UPDATE customer SET name = 'nobody'");
        damaged.restore(&["--into", &url, "--clean"]);
        assert_same(site.cluster, &site.database, &target);
        site.cluster.execute(&target, "TRUNCATE blob, customer, invoice");
        damaged.restore(&["--into", &url, "--data-only"]);
        assert_same(site.cluster, &site.database, &target);
    });
}

#[test]
fn into_a_file_and_by_several_sessions() {
    let mut damaged = Damaged::new();
    let bin = noting_bin(&mut damaged.site, PASS_ON);
    let site = &damaged.site;
    let good = site.path("good.dump");
    let call = site.pgkeep(["restore", &damaged.id, "--from", "r2", "--output", good.to_str().unwrap()]);
    call.any_stdout().any_stderr().run();
    let good = fs::read(good).unwrap();
    damaged.in_turn(|name| {
        let out = site.path("out.dump");
        damaged.restore(&["--output", out.to_str().unwrap()]);
        assert!(fs::read(&out).unwrap() == good, "{name}");
        fs::remove_file(&out).unwrap();
        let (target, url) = site.target();
        damaged.restore(&["--into", &url, "--jobs", "2"]);
        assert_same(site.cluster, &site.database, &target);
    });
    assert_eq!(calls(&bin).len(), 3, "nothing had begun before the file was whole: {:?}", calls(&bin));
}

/// What went out can't be taken back; before that another copy may take its place.
#[test]
fn to_stdout_only_until_bytes_are_out() {
    let damaged = Damaged::new();
    let site = &damaged.site;
    let call = |store: &str| {
        let config = site.path("config.toml");
        site.config.write(&config);
        let line = format!(
            "{} --config {} restore {} {store} --output - >out; echo $? >code",
            crate::support::tools::binary().display(),
            config.display(),
            damaged.id
        );
        let shell = site.bare().program("/bin/bash").args(["-c", &line]).any_stderr().run();
        let code = fs::read_to_string(site.path("code")).unwrap();
        (code.trim().to_owned(), fs::read(site.path("out")).unwrap(), shell.stderr)
    };
    let (code, whole, _) = call("--from r2");
    assert_eq!(code, "0");
    damaged.in_turn(|name| {
        let (code, out, said) = call("");
        if name == "near the start" {
            assert_eq!(code, "0", "{name}: {said}");
            assert!(out == whole && said.contains(NEXT), "{name}: {said}");
        } else {
            assert_eq!(code, "4", "{name}: {said}");
            assert!(said.contains("only a part of the dump"), "{name}: {said}");
            assert!(out.len() < whole.len() && whole.starts_with(&out), "{name}: {} bytes", out.len());
        }
    });
}

/// Where `--from` names a copy, no other is read.
#[test]
fn a_named_copy_is_the_only_one() {
    let damaged = Damaged::new();
    damaged.in_turn(|name| {
        let (target, url) = damaged.site.target();
        let call = damaged.site.pgkeep(["restore", &damaged.id, "--from", "local", "--into", &url]);
        let ran = call.code(4).stderr_has(DAMAGED).run();
        assert!(!ran.stderr.contains("is next"), "{name}: {ran:?}");
        let was_begun = name != "near the start";
        assert_eq!(ran.stderr.contains("may hold a part of it"), was_begun, "{name}: {ran:?}");
        damaged.site.cluster.execute("postgres", &format!("DROP DATABASE {target}"));
    });
}

#[test]
fn a_store_that_dies_half_way() {
    let mut damaged = Damaged::new();
    fs::remove_file(&damaged.path).unwrap();
    let fault = damaged.site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("GET", ".pgk").times(1).does(Action::CutResponse(1_500_000)));
    fault.rule(Rule::on("GET", ".pgk").does(Action::Reset));
    let (target, url) = damaged.site.target();
    let ran = damaged
        .site
        .pgkeep(["restore", &damaged.id, "--into", &url])
        .any_stdout()
        .stderr_has("the copy in store `local` is missing")
        .stderr_has("the copy in store `r2` can't be read to its end")
        .stderr_has("the copy in store `b2` is next, from the start")
        .run();
    assert_eq!(ran.stdout, format!("restored {} from b2\n", damaged.id));
    assert_same(damaged.site.cluster, &damaged.site.database, &target);
}

/// Damage is another thing than being out of reach: there a copy may still be whole.
#[test]
fn no_copy_left() {
    let mut damaged = Damaged::new();
    let (r2_key, b2_key) = {
        let row = damaged.site.row(&damaged.id);
        (row["r2_path"].as_str().unwrap().to_owned(), row["b2_path"].as_str().unwrap().to_owned())
    };
    let bad = flip(&damaged.good, damaged.good.len() / 2);
    fs::write(&damaged.path, &bad).unwrap();
    damaged.site.r2.put(&r2_key, &bad[..bad.len() / 3]);
    damaged.site.b2.delete(&b2_key);
    let (_, url) = damaged.site.target();
    let all = |site: &Site, code: i32, arguments: &[&str]| {
        let call = site.pgkeep(["restore", &damaged.id]).args(arguments).code(code);
        call.stderr_has("no copy of")
            .stderr_has("store `local`")
            .stderr_has("store `r2`")
            .stderr_has("store `b2`")
            .run()
    };
    let ran = all(&damaged.site, 4, &["--into", &url]);
    assert!(ran.stderr.contains("may hold a part of it"), "{ran:?}");
    let out = damaged.site.path("out.dump");
    all(&damaged.site, 4, &["--output", out.to_str().unwrap()]);
    assert!(!out.exists());
    // The first copy is replaced in one transaction, or not at all.
    let (target, url) = damaged.site.target();
    damaged.site.cluster.execute(&target, "CREATE TABLE precious (x int); INSERT INTO precious VALUES (42)");
    let before = contents(damaged.site.cluster, &target);
    let ran = all(&damaged.site, 4, &["--into", &url, "--clean"]);
    assert!(ran.stderr.contains("is as it was"), "{ran:?}");
    assert_eq!(contents(damaged.site.cluster, &target), before);
    let fault = damaged.site.fault("b2", Manners::Plain);
    fault.rule(Rule::on("", "").refuse(403, "AccessDenied"));
    all(&damaged.site, 1, &["--into", &url, "--clean"]);
}

/// What `pg_restore` fails at is not the copy's fault.
#[test]
fn no_other_copy_for_an_error_of_pg_restore() {
    let mut site = Site::new();
    let id = site.backup();
    let bin = noting_bin(&mut site, "head -c 1000 >/dev/null; echo 'out of luck' >&2; exit 1");
    let (_, url) = site.target();
    site.pgkeep(["restore", &id, "--into", &url])
        .code(1)
        .stderr_has("out of luck")
        .stderr_has("may hold a part of it")
        .run();
    assert_eq!(calls(&bin).len(), 1);
}

/// `pg_restore` may have all that it wants long before the damage: that is done, and an error all the same.
#[test]
fn damage_behind_what_was_asked_for() {
    let damaged = Damaged::new();
    let site = &damaged.site;
    let (target, url) = site.target();
    fs::write(&damaged.path, flip(&damaged.good, damaged.good.len() - 1)).unwrap();
    let call = site.pgkeep(["restore", &damaged.id, "--into", &url, "--schema-only"]);
    call.code(4).stderr_has(DAMAGED).stderr_has("holds all that was asked for").run();
    let compare = |name| crate::support::compare::schema(site.cluster, name);
    assert_eq!(compare(&target), compare(&site.database));
    // Rows are never doubled for it.
    let call = site.pgkeep(["restore", &damaged.id, "--into", &url, "--data-only", "--table", "blob"]);
    let ran = call.code(4).stderr_has(DAMAGED).run();
    assert!(!ran.stderr.contains("is next"), "{ran:?}");
    let rows = contents(site.cluster, &target)["r public.blob"].clone();
    assert!(rows.starts_with("4000 ") || rows.starts_with("0 "), "{rows}");
}

/// What an attempt before has begun must not go on beside the next: its sessions are waited for, and ended
/// where they don't notice that their client is gone.
#[test]
fn a_session_that_does_not_notice_is_ended() {
    let cluster = crate::support::cluster();
    let database = cluster.fresh_database();
    let named = |name: &str| {
        let mut client = cluster.connect(&database);
        client.batch_execute(&format!("SET application_name TO '{name}'")).unwrap();
        client
    };
    let (mut left, mut other) = (named("pgkeep restore 4711-a night shift"), named("pgkeep restore 4711-b"));
    let options = ConnectOptions {
        connect_timeout: Duration::from_secs(20),
        answer_timeout: Duration::from_mins(1),
        application_name: "suite",
    };
    let environment = Environment { variables: BTreeMap::new(), home: None, user: Some("nobody".to_owned()) };
    let info = ConnInfo::parse(&cluster.url(&database)).unwrap().resolve(&environment).unwrap();
    let mut server = Server::connect(&info, &options).unwrap();
    server.await_end_of("pgkeep restore 4711-a", &Interrupt::new()).unwrap();
    assert!(left.batch_execute("SELECT 1").is_err());
    other.batch_execute("SELECT 1").unwrap();
    let interrupt = Interrupt::new();
    interrupt.raise(15);
    assert!(server.await_end_of("pgkeep restore 4711-b", &interrupt).is_err());
}
