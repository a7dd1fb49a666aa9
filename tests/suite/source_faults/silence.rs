//! A source that says nothing any more, and one that only takes its time.

use rustix::process::Signal;

use super::assert_failed;
use crate::support::tools::finish;
use crate::support::{FakeBin, Gate, Site, wait_until};

/// A site whose source is behind a gate, its catalog not, with a folder alone to store in, and a `pg_dump` that waits for a word before it begins.
fn behind_a_gate() -> (Site, Gate, FakeBin) {
    let mut site = Site::of_parts().with_own_catalog().local_only();
    let gate = Gate::open_to(site.cluster.port);
    site.config.set("source.url", site.cluster.url_through(gate.port, &site.database));
    site.config.set("catalog.url", site.cluster.url(&site.catalog));
    let script = "echo $$ >\"$HERE/draft\"; mv \"$HERE/draft\" \"$HERE/pid\"; read -r _ <\"$HERE/gate\"; exec \"$REAL\" \"$@\"";
    let bin = FakeBin::new(&site.path(""), script);
    finish(std::process::Command::new("mkfifo").arg(bin.folder.join("gate")));
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    (site, gate, bin)
}

/// `pg_dump` is connected, and waits for a table, when its server goes away without a word.
#[test]
fn a_dump_that_hears_nothing_ends_once_its_server_answers_nobody() {
    let (mut site, gate, bin) = behind_a_gate();
    site.config.set("timeouts.stall", "1s");
    site.config.set("timeouts.connect", "5s");
    let words = "the server answers no new connection";
    let mut client = site.cluster.connect(&site.database);
    let mut lock = client.transaction().unwrap();
    lock.batch_execute("LOCK TABLE blob IN ACCESS EXCLUSIVE MODE").unwrap();
    let running = site.pgkeep(["backup", "full"]).code(1).stderr_has(words).start();
    let pid = bin.wait_for_start();
    bin.release();
    let mut watcher = site.cluster.connect("postgres");
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
    wait_until("pg_dump waits for the table", || {
        watcher.query_one(query, &[&site.database]).unwrap().get::<_, i64>(0) == 1
    });
    gate.silence_all();
    running.finish();
    assert!(!std::path::Path::new("/proc").join(&pid).exists());
    lock.rollback().unwrap();
    assert_failed(&site, words);
}

#[test]
fn a_dump_that_is_silent_goes_on_while_its_server_answers() {
    let (mut site, gate, bin) = behind_a_gate();
    site.config.set("timeouts.stall", "2s");
    let running = site.pgkeep(["backup", "full"]).any_stdout().start();
    bin.wait_for_start();
    let before = gate.count();
    wait_until("the server is asked", || gate.count() > before + 1);
    bin.release();
    running.finish();
}

/// Where a proxy answers for the network, nothing tells that the server is gone: a signal ends the wait, and leaves
/// nobody behind.
#[test]
fn a_signal_ends_a_dump_that_hears_nothing() {
    let (site, gate, bin) = behind_a_gate();
    let running = site.pgkeep(["backup", "full"]).code(143).any_stderr().start();
    let pid = bin.wait_for_start();
    let before = gate.count();
    gate.silence_all();
    bin.release();
    wait_until("pg_dump connects", || gate.count() > before);
    running.signal(Signal::TERM);
    running.finish();
    wait_until("pg_dump is gone", || !std::path::Path::new("/proc").join(&pid).exists());
    assert_failed(&site, "interrupted by signal 15");
}

/// The source and the catalog are one server, which goes silent after any of its answers: every run ends by itself,
/// with the truth on record, and nothing is left behind.
#[test]
fn wherever_silence_falls_the_run_ends() {
    let lanes = [[1, 12, 40], [3, 16, 60], [5, 22, 90], [8, 30, 150]];
    let walk = |lane: [usize; 3]| {
        for answers in lane {
            let mut site = Site::new().local_only();
            // What a first run makes is not what is looked at.
            site.backup();
            let gate = Gate::open_to(site.cluster.port);
            site.config.set("source.url", site.cluster.url_through(gate.port, &site.database));
            site.config.set("catalog.url", site.cluster.url_through(gate.port, &site.catalog));
            for (name, time) in [("connect", "5s"), ("request", "5s"), ("stall", "2s")] {
                site.config.set(&format!("timeouts.{name}"), time);
            }
            site.config.set("verify.fingerprint_time", "2s");
            gate.silence_after(answers);
            let ran = site.pgkeep(["backup", "full"]).any_code().any_stdout().any_stderr().run();
            assert!(gate.is_silent(), "it needed less than {answers} answers");
            assert!([1, 3].contains(&ran.code), "after {answers} answers: {}", ran.stderr);
            assert!(
                ran.stderr.contains("no answer") || ran.stderr.contains("timeout expired"),
                "{}",
                ran.stderr
            );
            // The proxy is started anew.
            gate.shut();
            site.config.set("source.url", site.cluster.url(&site.database));
            site.config.set("catalog.url", site.cluster.url(&site.catalog));
            // The server ends the sessions of the dead run as it hears of it.
            wait_until("the next run works", || {
                site.pgkeep(["backup", "full"]).any_code().any_stdout().any_stderr().run().code == 0
            });
            let rows = site.rows();
            assert!(
                rows.iter().all(|row| row["status"] == "verified" || row["status"] == "failed"),
                "{rows:#?}"
            );
            let usable = rows.iter().filter(|row| row["status"] == "verified").count();
            assert_eq!(crate::support::tools::files_under(&site.local()).len(), 2 * usable, "{rows:#?}");
        }
    };
    let walks: Vec<_> = lanes.map(|lane| std::thread::spawn(move || walk(lane))).into();
    for walk in walks {
        walk.join().unwrap();
    }
}
