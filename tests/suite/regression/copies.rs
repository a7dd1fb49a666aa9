//! Copies that are kept although something around them fails.

use crate::support::{Manners, Rule, Site};

/// A store that could not be read for a while after the upload once lost its copy: it was deleted to be made
/// anew, and the second try failed too.
#[test]
fn a_copy_that_can_not_be_read_back_now_is_kept() {
    let mut site = Site::new();
    let fault = site.fault("r2", Manners::Plain);
    fault.rule(Rule::on("GET", ".pgk").refuse(503, "SlowDown"));
    let id = site.pgkeep(["backup", "full"]).code(3).any_stdout().stderr_has("r2").run().id();
    assert!(fault.count("GET", ".pgk") > 0);
    assert_eq!(fault.count("DELETE", ""), 0, "{:#?}", fault.requests());
    assert_eq!(site.row(&id)["status"], "degraded");
    let copy = &site.copies(&id)["r2"];
    assert_eq!(copy["state"], "stored", "{copy:#}");
    assert!(copy["verified_at"].is_null() && copy["error"].is_string(), "{copy:#}");
    site.assert_copies(&id, &["local", "r2", "b2"]);
    let keys = site.r2.keys();
    assert!(keys.len() == 2 && keys.iter().any(|key| key.ends_with(".json")), "{keys:?}");

    fault.heal();
    site.pgkeep(["verify", &id]).any_stdout().any_stderr().run();
    assert_eq!(site.row(&id)["status"], "verified");
}
