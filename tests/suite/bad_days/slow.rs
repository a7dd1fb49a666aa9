//! A store that is slow: others wait for its queue and no longer, and memory does not grow.

use super::*;

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
