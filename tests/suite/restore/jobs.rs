//! A restore by several sessions: out of a file that has no name and is gone with its last user.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use super::{calls, flip, noting_bin, site_of_rows};
use crate::support::compare::{assert_same, contents};
use crate::support::tools::files_under;
use crate::support::{Pgkeep, Site, wait_until};

/// A site with several tables, indexes, keys, large objects, and a backup; and a folder for the file.
fn site_of_tables() -> (Site, String, PathBuf) {
    let site = site_of_rows().local_only();
    site.cluster.execute(
        &site.database,
        "CREATE SCHEMA sales; CREATE TABLE sales.orders (id bigserial PRIMARY KEY, x text); \
         INSERT INTO sales.orders (x) SELECT repeat('x', n % 50) FROM generate_series(1, 9000) n; \
         CREATE INDEX ON sales.orders (x); ALTER TABLE blob ADD PRIMARY KEY (n); \
         CREATE TABLE part (n int) PARTITION BY RANGE (n); \
         CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (100); \
         INSERT INTO part SELECT n FROM generate_series(0, 99) n; \
         CREATE MATERIALIZED VIEW big AS SELECT count(*) FROM blob; SELECT lo_from_bytea(4711, '\\x0102')",
    );
    let id = site.backup();
    let folder = site.path("temporary");
    fs::create_dir(&folder).unwrap();
    (site, id, folder)
}

fn restore(site: &Site, id: &str, url: &str, arguments: &[&str]) -> Pgkeep {
    site.pgkeep(["restore", id, "--into", url]).args(arguments).env("TMPDIR", site.path("temporary"))
}

#[test]
fn the_same_comes_back() {
    let (mut site, id, folder) = site_of_tables();
    let bin = noting_bin(&mut site, "ls -l /proc/self/fd/0 >\"$HERE/input\"; exec \"$REAL\" \"$@\"");
    let (name, url) = site.target();
    restore(&site, &id, &url, &["--jobs", "3"]).any_stdout().stderr_has("--jobs 3").run();
    assert_same(site.cluster, &site.database, &name);
    assert!(calls(&bin)[0].contains("--jobs=3"), "{:?}", calls(&bin));
    let input = fs::read_to_string(bin.folder.join("input")).unwrap();
    assert!(input.contains(folder.to_str().unwrap()) && input.contains("(deleted)"), "{input}");
    assert_eq!(files_under(&folder), Vec::<PathBuf>::new());
    // And over what is there, and as a part.
    site.cluster.execute(&name, "DELETE FROM part; DROP TABLE invoice CASCADE");
    restore(&site, &id, &url, &["--jobs", "2", "--clean"]).any_stdout().any_stderr().run();
    assert_same(site.cluster, &site.database, &name);
    site.cluster.execute(&name, "DROP TABLE sales.orders");
    let picked = ["--jobs", "2", "--schema", "sales", "--table", "orders"];
    restore(&site, &id, &url, &picked).any_stdout().any_stderr().run();
    assert!(contents(site.cluster, &name)["r sales.orders"].starts_with("9000 "));
    // One session needs no file.
    let (name, url) = site.target();
    restore(&site, &id, &url, &["--jobs", "1"]).any_stdout().any_stderr().run();
    assert!(!calls(&bin).last().unwrap().contains("--jobs"));
    assert_same(site.cluster, &site.database, &name);
}

#[test]
fn a_database_is_made_by_several_sessions_too() {
    let (mut site, id, _) = site_of_tables();
    let kept = format!("{}_kept", site.database);
    site.config.set("catalog.url", site.cluster.url(&kept));
    let rename = format!("ALTER DATABASE {} RENAME TO {kept}", site.database);
    site.cluster.execute("postgres", &rename);
    let url = site.cluster.url("postgres");
    for arguments in [&["--create", "--jobs", "2"][..], &["--create", "--jobs", "2", "--clean"]] {
        restore(&site, &id, &url, arguments).any_stdout().any_stderr().run();
        assert_same(site.cluster, &kept, &site.database);
    }
}

/// The whole dump is proven before the first session is opened.
#[test]
fn nothing_is_begun_with_a_damaged_copy() {
    let (mut site, id, folder) = site_of_tables();
    let bin = noting_bin(&mut site, "exec \"$REAL\" \"$@\"");
    let path = site.row(&id)["local_path"].as_str().unwrap().to_owned();
    let good = fs::read(&path).unwrap();
    fs::write(&path, flip(&good, good.len() - 1)).unwrap();
    let (name, url) = site.target();
    let ran = restore(&site, &id, &url, &["--jobs", "2"]).code(4).stderr_has("is damaged").run();
    assert!(!ran.stderr.contains("may hold"), "{ran:?}");
    assert_eq!(calls(&bin), Vec::<String>::new());
    assert!(contents(site.cluster, &name).is_empty());
    assert_eq!(files_under(&folder), Vec::<PathBuf>::new());
}

/// Several sessions have no transaction in common: what can't be dropped must not get its rows twice.
#[test]
fn a_view_in_the_way_of_clean_doubles_no_row() {
    let (site, id, _) = site_of_tables();
    let (name, url) = site.target();
    restore(&site, &id, &url, &[]).any_stdout().any_stderr().run();
    site.cluster.execute(&name, "CREATE VIEW of_others AS SELECT count(*) FROM invoice");
    let ran = restore(&site, &id, &url, &["--clean", "--jobs", "2"]).code(1).stderr_has("of_others").run();
    assert!(ran.stderr.contains("may hold a part of it"), "{ran:?}");
    assert!(contents(site.cluster, &name)["r public.invoice"].starts_with("3000 "));
}

/// Not even a kill leaves the file, or a session that goes on.
#[test]
fn a_kill_leaves_no_file() {
    let (mut site, id, folder) = site_of_tables();
    let script = "case \"$*\" in *--jobs*) echo $$ >\"$HERE/draft\"; mv \"$HERE/draft\" \"$HERE/pid\"; \
                  exec sleep 600 ;; esac; exec \"$REAL\" \"$@\"";
    let bin = noting_bin(&mut site, script);
    let (_, url) = site.target();
    let running = restore(&site, &id, &url, &["--jobs", "2"]).any_stderr().start();
    let pid = bin.wait_for_start();
    running.signal(Signal::KILL);
    running.await_death();
    let process = PathBuf::from(format!("/proc/{pid}"));
    wait_until("pg_restore is gone", || !process.exists());
    assert_eq!(files_under(&folder), Vec::<PathBuf>::new());
}
