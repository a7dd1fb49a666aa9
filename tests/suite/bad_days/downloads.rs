//! The way back on bad days: what can't be read is not said to be corrupt, and no command waits for ever.

use super::*;

/// Commands that read a store, with what stderr or stdout must say and the exit code, while it does that.
fn assert_told(day: &Day, action: &Action, words: &str) {
    day.fault.heal();
    let id = day.site.rows()[0]["id"].as_str().unwrap().to_owned();
    day.fault.rule(Rule::on("GET", "").does(action.clone()));
    day.fault.rule(Rule::on("HEAD", "").does(action.clone()));
    let call = |arguments: &[&str], code: i32| {
        let started = Instant::now();
        let ran = day.site.pgkeep(arguments).code(code).any_stdout().any_stderr().run();
        assert!(started.elapsed() < HANG, "{arguments:?}: {:?}", started.elapsed());
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert!(text.contains(words), "{arguments:?} {action:?}\n{text}");
        text
    };
    for level in ["stat", "checksum"] {
        let text = call(&["verify", &id, "--store", "b2", "--level", level], 3);
        assert!(text.contains("b2: not verified"), "{text}");
        assert_ne!(day.site.copies(&id)["b2"]["state"], "corrupt", "{text}");
    }
    call(&["list", "--from", "b2"], 1);
    let (_, url) = day.site.target();
    call(&["restore", &id, "--from", "b2", "--into", &url], 1);
    // The other stores are not asked to wait: it comes from them.
    let (_, url) = day.site.target();
    day.site.pgkeep(["restore", &id, "--into", &url]).any_stdout().any_stderr().run();
}

#[test]
fn a_store_that_can_not_be_read_is_no_corrupt_copy() {
    let cases = vec![
        (Action::Hang, "timeouts.stall"),
        (Action::DripResponse(Drip { bytes: 1, pause: Duration::from_secs(1) }), "timeouts.request"),
        (web_page(200), "a web page answers there"),
        (Action::answer(200, "application/xml", &[], "<Error><Code>Odd</Code></Error>"), ""),
    ];
    at_once(cases, |(action, words)| {
        let day = Day::short();
        day.site.backup();
        assert_told(&day, &action, words);
    });
}

/// A byte a second moves, but a copy at that pace is read in years.
#[test]
fn a_download_that_drips_ends_where_it_is_read() {
    let day = Day::short();
    let id = day.site.backup();
    // The head comes at once, so that it is the body which drips: a little of it with each request.
    let drip = Action::DripResponse(Drip { bytes: 600, pause: Duration::from_secs(1) });
    day.fault.rule(Rule::on("GET", ".pgk").does(drip));
    let call = day.site.pgkeep(["verify", &id, "--store", "b2"]).code(3);
    call.any_stdout()
        .stderr_has("b2: not verified")
        .stderr_has("too slow")
        .stderr_has("timeouts.request")
        .run();
}
