//! What S3 servers do on bad days, and the manners of R2 and B2.

use crate::support::http::header;
use crate::support::rule::Action;
use crate::support::{FaultServer, Manners, Rule, Site};

/// A site whose backup has three parts, with a fault server in front of one bucket.
fn site_of_parts(store: &str, manners: Manners) -> (Site, FaultServer) {
    let mut site = Site::of_parts();
    let fault = site.fault(store, manners);
    (site, fault)
}

/// The backup must succeed, whatever the rules do; a word on stderr is allowed.
fn assert_whole(site: &Site) {
    let id = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().run().id();
    assert_eq!(site.row(&id)["status"], "verified");
    site.assert_copies(&id, &["local", "r2", "b2"]);
    site.assert_no_uploads();
}

/// Equal parts, and upload ids with `+`, `/` and `=` in them.
#[test]
fn the_manners_of_r2() {
    let (site, fault) = site_of_parts("r2", Manners::r2());
    let id = site.backup();
    site.assert_copies(&id, &["local", "r2", "b2"]);
    assert_eq!(fault.count("PUT", "partNumber="), 3, "the artifact has three parts");
    site.pgkeep(["verify", &id]).any_stdout().run();
}

/// An upload to R2 is aborted, by its odd id, when the dump fails.
#[test]
fn an_upload_with_an_odd_id_is_aborted() {
    let (mut site, fault) = site_of_parts("r2", Manners::r2());
    let script = "\"$REAL\" \"$@\" | head -c 38000000; exit 1";
    let bin = crate::support::FakeBin::new(&site.path(""), script);
    site.config.set("source.pg_bin", bin.folder.to_str().unwrap());
    site.pgkeep(["backup", "full"]).code(1).any_stderr().run();
    assert!(fault.count("POST", "uploads") >= 1);
    site.assert_nothing_stored();
}

#[test]
fn the_manners_of_b2() {
    let (site, fault) = site_of_parts("b2", Manners::B2);
    let id = site.backup();
    site.assert_copies(&id, &["local", "r2", "b2"]);
    site.pgkeep(["verify", &id]).any_stdout().run();
    for request in fault.requests() {
        assert!(header(&request.headers, "x-amz-sdk-checksum-algorithm").is_none(), "{request:?}");
    }
}

/// Each kind of request meets a burst of a transient answer, and the run gets through.
fn assert_waited_out(status: u16, code: &'static str) {
    let (site, fault) = site_of_parts("b2", Manners::Plain);
    fault.rule(Rule::on("POST", "uploads").times(1).refuse(status, code));
    fault.rule(Rule::on("PUT", "partNumber=1").times(2).refuse(status, code));
    fault.rule(Rule::on("PUT", "partNumber=3").times(1).refuse(status, code));
    fault.rule(Rule::on("POST", "uploadId=").times(1).refuse(status, code));
    fault.rule(Rule::on("PUT", ".json").times(1).refuse(status, code));
    fault.rule(Rule::on("GET", ".pgk").times(1).refuse(status, code));
    assert_whole(&site);
    assert_eq!(fault.count("PUT", "partNumber=2"), 1, "a part that went well was sent again");
    assert_eq!(fault.count("POST", "uploads"), 2, "the upload was begun anew");
}

#[test]
fn a_burst_of_503_is_waited_out() {
    assert_waited_out(503, "SlowDown");
}

#[test]
fn a_burst_of_429_is_waited_out() {
    assert_waited_out(429, "TooManyRequests");
}

#[test]
fn a_burst_of_500_is_waited_out() {
    assert_waited_out(500, "InternalError");
}

#[test]
fn a_burst_of_408_is_waited_out() {
    assert_waited_out(408, "RequestTimeout");
}

#[test]
fn a_server_that_says_when_to_come_back_is_obeyed() {
    let (site, fault) = site_of_parts("b2", Manners::Plain);
    let action = Action::Refuse { status: 503, code: "SlowDown", retry_after: Some("1") };
    fault.rule(Rule::on("PUT", "partNumber=1").times(1).does(action));
    assert_whole(&site);
    assert_eq!(fault.count("PUT", "partNumber=1"), 2);
}

#[test]
fn a_refusal_is_not_tried_again() {
    for (status, code) in [(403, "AccessDenied"), (400, "InvalidRequest"), (404, "NoSuchBucket")] {
        let mut site = Site::new();
        let fault = site.fault("b2", Manners::Plain);
        fault.rule(Rule::on("POST", "uploads").refuse(status, code));
        let call = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("b2").stderr_has(code);
        let id = call.run().id();
        site.assert_copies(&id, &["local", "r2"]);
        // Once for the backup, and once for each whole copy that the store could be filled from afterwards.
        assert!(fault.count("POST", "uploads") <= 3, "{code}: {}", fault.count("POST", "uploads"));
    }
}

#[test]
fn connections_that_break_are_made_anew() {
    let (site, fault) = site_of_parts("r2", Manners::Plain);
    fault.rule(Rule::on("POST", "uploads").times(1).does(Action::Reset));
    fault.rule(Rule::on("PUT", "partNumber=1").times(1).does(Action::Reset));
    fault.rule(Rule::on("PUT", "partNumber=2").times(1).does(Action::CutRequest(1_000_000)));
    fault.rule(Rule::on("PUT", "partNumber=3").times(1).does(Action::LoseAnswer));
    fault.rule(Rule::on("PUT", ".json").times(1).does(Action::LoseAnswer));
    assert_whole(&site);
}

/// The upload was completed, but the answer got lost: the copy is there, and counts.
#[test]
fn the_answer_to_a_completion_is_lost() {
    let (site, fault) = site_of_parts("r2", Manners::Plain);
    fault.rule(Rule::on("POST", "uploadId=").times(1).does(Action::LoseAnswer));
    assert_whole(&site);
    assert!(fault.count("PUT", "partNumber=") <= 6);
}

/// 200 with an error document is an error, to be tried again.
#[test]
fn a_completion_that_fails_with_200() {
    let (site, fault) = site_of_parts("r2", Manners::Plain);
    fault.rule(Rule::on("POST", "uploadId=").times(1).does(Action::OkWithError { code: "InternalError" }));
    assert_whole(&site);
    assert!(fault.count("POST", "uploadId=") >= 2);
}

#[test]
fn a_completion_that_always_fails_with_200() {
    let (site, fault) = site_of_parts("r2", Manners::Plain);
    fault.rule(Rule::on("POST", "uploadId=").does(Action::OkWithError { code: "AccessDenied" }));
    let id = site
        .pgkeep(["backup", "full"])
        .code(3)
        .any_stdout()
        .stderr_has("r2")
        .stderr_has("AccessDenied")
        .run()
        .id();
    site.assert_copies(&id, &["local", "b2"]);
    assert_eq!(site.r2.keys(), Vec::<String>::new());
}

/// A body that ends early, in the middle of what was promised, is read on from there.
#[test]
fn a_download_that_is_cut_goes_on() {
    let (site, fault) = site_of_parts("b2", Manners::Plain);
    fault.rule(Rule::on("GET", ".pgk").times(1).does(Action::CutResponse(3_000_000)));
    fault.rule(Rule::on("GET", ".pgk").times(1).does(Action::CutResponse(1_000_000)));
    assert_whole(&site);
    let id = site.rows()[0]["id"].as_str().unwrap().to_owned();
    fault.heal();
    fault.rule(Rule::on("GET", ".pgk").times(1).does(Action::CutResponse(5_000_000)));
    let (_, url) = site.target();
    site.pgkeep(["restore", &id, "--from", "b2", "--into", &url]).any_stdout().any_stderr().run();
}

/// The n-th request of an upload fails for good, for every n: whole where it says so, and never half a copy.
#[test]
fn each_request_in_turn_fails_for_good() {
    for nth in 0..30 {
        let mut site = Site::new();
        let fault = site.fault("r2", Manners::Plain);
        fault.rule(Rule::on("", "").after(nth).refuse(403, "AccessDenied"));
        let call = site.pgkeep(["--json", "backup", "full"]);
        let document = call.any_code().any_stdout().any_stderr().run().json();
        let (id, status) = (document["id"].as_str().unwrap(), document["status"].as_str().unwrap());
        let keys = site.r2.keys();
        let has_manifest = keys.iter().any(|key| key.ends_with(".json"));
        let is_whole = keys.iter().any(|key| key.ends_with(".pgk"));
        assert!(is_whole || !has_manifest, "request {nth}: {keys:?}");
        site.assert_copies(
            id,
            if site.row(id)["r2_path"].is_null() { &["local", "b2"] } else { &["local", "r2", "b2"] },
        );
        if status == "verified" {
            assert!(is_whole && has_manifest, "request {nth}: {keys:?}");
            assert!(nth > 3, "a store of {nth} requests can't be whole");
            return;
        }
        assert_eq!(status, "degraded", "request {nth}");
    }
    panic!("thirty requests were not enough for one small backup");
}

/// The same, but each request fails once and goes well the next time: no run may come out degraded.
#[test]
fn each_request_in_turn_fails_once() {
    for nth in 0..30 {
        let mut site = Site::new();
        let fault = site.fault("r2", Manners::Plain);
        fault.rule(Rule::on("", "").after(nth).times(1).refuse(503, "SlowDown"));
        let id = site.pgkeep(["backup", "full"]).any_stdout().any_stderr().run().id();
        assert_eq!(site.row(&id)["status"], "verified", "request {nth}");
        site.assert_copies(&id, &["local", "r2", "b2"]);
        if fault.requests().len() <= nth {
            return;
        }
    }
    panic!("thirty requests were not enough for one small backup");
}
