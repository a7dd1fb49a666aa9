//! A store that is slow: others wait for its queue and no longer, and memory does not grow.

use super::*;
use crate::support::FakeBin;
use crate::support::tools::binary;

/// A narrow fault server in front of a store of a site with three parts.
fn narrow(pace: Drip) -> (Site, FaultServer) {
    let mut site = Site::of_parts();
    let fault = FaultServer::start_narrow(site.b2.server, Manners::Plain);
    site.set_endpoint("b2", &fault.address);
    fault.rule(Rule::on("PUT", "partNumber").does(Action::DripRequest(pace)));
    (site, fault)
}

fn assert_dropped(site: &Site, words: &str) {
    let started = Instant::now();
    let ran = site.pgkeep(["backup", "full"]).code(3).any_stdout().any_stderr().run();
    assert!(started.elapsed() < HANG, "{:?}", started.elapsed());
    assert!(ran.stderr.contains("store `b2`: ") && ran.stderr.contains(words), "{}", ran.stderr);
    site.assert_copies(&ran.id(), &["local", "r2"]);
    site.assert_no_uploads();
}

/// A byte a second is as good as none: the socket stays full, and `stall` ends it.
#[test]
fn a_store_that_takes_a_byte_a_second_is_dropped() {
    let (mut site, fault) = narrow(Drip { bytes: 1, pause: Duration::from_secs(1) });
    site.config.set("timeouts.stall", "3s");
    site.config.set("timeouts.request", "10s");
    assert_dropped(&site, "timeouts.stall");
    drop(fault);
}

/// It always moves, so `stall` never ends it, but no part arrives in the time of a request.
#[test]
fn a_store_that_moves_too_slowly_for_a_part_is_dropped() {
    let (mut site, fault) = narrow(Drip { bytes: 8192, pause: Duration::from_millis(20) });
    site.config.set("timeouts.stall", "6s");
    site.config.set("timeouts.request", "4s");
    assert_dropped(&site, "timeouts.request");
    drop(fault);
}

/// A source that is silent for longer than `stall`: no store is to blame for it.
#[test]
fn a_slow_source_drops_no_store() {
    let mut site = Site::of_parts();
    let script = "\"$REAL\" \"$@\" >\"$HERE/dump\" || exit; head -c 9000000 \"$HERE/dump\"; sleep 4; \
        tail -c +9000001 \"$HERE/dump\" | head -c 9000000; sleep 4; tail -c +18000001 \"$HERE/dump\"";
    let bin = FakeBin::new(&site.path(""), script);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.config.set("timeouts.stall", "3s");
    let id = site.backup();
    site.assert_copies(&id, &["local", "r2", "b2"]);
}

/// One core for all threads, and the last to get it: slower, and the same.
#[test]
fn a_scarce_cpu_changes_nothing_but_the_time() {
    let mut site = Site::of_parts();
    site.config.set("compression.threads", 16);
    site.config.write(&site.path("config.toml"));
    let call = site.bare().program("/usr/bin/nice").args(["-n", "19", "taskset", "-c", "0"]).args([binary()]);
    let call = call.args(["--config".into(), site.path("config.toml")]).args(["backup", "full"]);
    let id = call.any_stdout().run().id();
    assert_eq!(site.row(&id)["status"], "verified");
    site.assert_copies(&id, &["local", "r2", "b2"]);
}
