//! From what was seen to alerts: a new problem opens one, the same one again counts it up, its end resolves it. A pure
//! function of the open ones, for the catalog and for the file alike.

use jiff::Timestamp;

use crate::alert_record::{Alert, AlertStatus, Event};
use crate::finding::{AlertKey, Finding, Problem};

/// An alert as it is now, and what is to be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The alert.
    pub alert: Alert,
    /// What is news about it; `None` where it only goes on.
    pub event: Option<Event>,
}

/// What becomes of the open alerts of a source; ids for new ones are taken from `ids`, in their order.
#[must_use]
pub fn apply(
    open: &[Alert],
    source: &str,
    findings: &[Finding],
    ids: &[String],
    now: Timestamp,
) -> Vec<Change> {
    let mut open: Vec<Alert> = open.to_vec();
    let mut ids = ids.iter();
    let mut changes: Vec<Change> = Vec::new();
    for Finding { subject, problem } in findings {
        let known = open.iter().position(|alert| alert.subject() == *subject);
        let change = match (known.and_then(|known| open.get_mut(known)), problem) {
            (None, None) => continue,
            (None, Some(problem)) => {
                let Some(id) = ids.next() else { continue };
                let alert = opened(id, source, subject, problem, now);
                open.push(alert.clone());
                Change { alert, event: Some(Event::Raised) }
            }
            (Some(alert), Some(problem)) => again(alert, problem, now),
            (Some(alert), None) => resolved(alert, now),
        };
        open.retain(|alert| alert.status != AlertStatus::Resolved);
        changes.push(change);
    }
    changes
}

fn opened(id: &str, source: &str, subject: &AlertKey, problem: &Problem, now: Timestamp) -> Alert {
    let subject = subject.clone();
    let problem = problem.clone();
    Alert {
        id: id.to_owned(),
        rule: subject.rule,
        severity: problem.severity,
        status: AlertStatus::Open,
        source: source.to_owned(),
        backup_id: problem.backup_id,
        database: subject.database,
        tenant: subject.tenant,
        store: subject.store,
        channel: subject.channel,
        message: problem.message,
        detail: problem.detail,
        first_seen: now,
        last_seen: now,
        count: 1,
        acknowledged_at: None,
        note: None,
        resolved_at: None,
    }
}

/// The same problem once more: no news, unless it is graver than ever.
fn again(alert: &mut Alert, problem: &Problem, now: Timestamp) -> Change {
    alert.count = alert.count.saturating_add(1);
    alert.last_seen = alert.last_seen.max(now);
    alert.message.clone_from(&problem.message);
    alert.detail.clone_from(&problem.detail);
    if problem.backup_id.is_some() {
        alert.backup_id.clone_from(&problem.backup_id);
    }
    let is_graver = problem.severity > alert.severity;
    if is_graver {
        alert.severity = problem.severity;
        alert.status = AlertStatus::Open;
        alert.acknowledged_at = None;
    }
    Change { alert: alert.clone(), event: is_graver.then_some(Event::Raised) }
}

/// It is over.
pub fn resolved(alert: &mut Alert, now: Timestamp) -> Change {
    alert.status = AlertStatus::Resolved;
    alert.resolved_at = Some(now.max(alert.first_seen));
    Change { alert: alert.clone(), event: Some(Event::Resolved) }
}

/// Puts an alert that was kept elsewhere beside the open ones: over the same one, or into one of the same subject, which
/// is then the one that goes on.
#[must_use]
pub fn merged(open: &[Alert], kept: &Alert) -> Alert {
    let same = open.iter().find(|alert| alert.id == kept.id);
    let Some(known) = same.or_else(|| open.iter().find(|alert| alert.subject() == kept.subject())) else {
        return kept.clone();
    };
    let mut alert = kept.clone();
    alert.id.clone_from(&known.id);
    alert.first_seen = known.first_seen.min(kept.first_seen);
    alert.last_seen = known.last_seen.max(kept.last_seen);
    alert.severity = known.severity.max(kept.severity);
    alert.count = if known.id == kept.id {
        known.count.max(kept.count)
    } else {
        known.count.saturating_add(kept.count)
    };
    if known.status == AlertStatus::Acknowledged && kept.status != AlertStatus::Acknowledged {
        let is_graver = kept.status == AlertStatus::Open && kept.severity > known.severity;
        if kept.status == AlertStatus::Open && !is_graver {
            alert.status = AlertStatus::Acknowledged;
        }
        alert.acknowledged_at = known.acknowledged_at.filter(|_| !is_graver);
        alert.note.clone_from(&known.note);
    }
    alert
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;
    use crate::finding::{Rule, Severity};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ids() -> Vec<String> {
        (0..100).map(|number| format!("{number:012x}")).collect()
    }

    fn open(changes: &[Change], before: &[Alert]) -> Vec<Alert> {
        let mut open = before.to_vec();
        for change in changes {
            open.retain(|alert| alert.id != change.alert.id);
            if change.alert.status != AlertStatus::Resolved {
                open.push(change.alert.clone());
            }
        }
        open
    }

    #[test]
    fn a_problem_is_told_once_and_its_end_once() {
        let subject = || AlertKey::of_database(Rule::BackupFailed, "shop");
        let mut alerts = Vec::new();
        let mut told = Vec::new();
        for (second, problem) in [(1, true), (2, true), (3, true), (4, false), (5, false), (6, true)] {
            let seen = if problem { subject().has_problem("no") } else { subject().is_well() };
            let ids = [format!("{second:012x}")];
            let changes = apply(&alerts, "db1", &[seen], &ids, at(second));
            told.extend(
                changes.iter().filter_map(|change| Some((second, change.event?, change.alert.count))),
            );
            alerts = open(&changes, &alerts);
        }
        assert_eq!(told, [(1, Event::Raised, 1), (4, Event::Resolved, 3), (6, Event::Raised, 1)]);
    }

    #[test]
    fn what_is_graver_than_before_is_told_again_and_is_nobodys() {
        let seen =
            |severity| AlertKey::of_store(Rule::StoreNearlyFull, "r2").has_problem("full").severity(severity);
        let mut alerts = open(&apply(&[], "db1", &[seen(Severity::Warning)], &ids(), at(1)), &[]);
        alerts[0].status = AlertStatus::Acknowledged;
        let same = apply(&alerts, "db1", &[seen(Severity::Warning)], &ids(), at(2));
        assert_eq!((same[0].event, same[0].alert.status), (None, AlertStatus::Acknowledged));
        let graver = apply(&alerts, "db1", &[seen(Severity::Critical)], &ids(), at(3));
        assert_eq!((graver[0].event, graver[0].alert.status), (Some(Event::Raised), AlertStatus::Open));
        // What was critical once stays so until it is over.
        let alerts = open(&graver, &alerts);
        let less = apply(&alerts, "db1", &[seen(Severity::Warning)], &ids(), at(4));
        assert_eq!((less[0].event, less[0].alert.severity), (None, Severity::Critical));
    }

    #[test]
    fn what_was_kept_in_a_file_comes_to_the_alert_that_is_open_already() {
        let seen = AlertKey::of_store(Rule::StoreUnreachable, "r2").has_problem("gone");
        let here = apply(&[], "db1", std::slice::from_ref(&seen), &ids()[..1], at(1)).remove(0).alert;
        let mut there = apply(&[], "db1", &[seen], &ids()[1..2], at(5)).remove(0).alert;
        there.count = 4;
        let one = merged(std::slice::from_ref(&here), &there);
        assert_eq!((one.id, one.count, one.first_seen, one.last_seen), (here.id.clone(), 5, at(1), at(5)));
        // What somebody said of it stays with it, also when it is over.
        let mut known = here.clone();
        (known.status, known.acknowledged_at, known.note) =
            (AlertStatus::Acknowledged, Some(at(2)), Some("on it".to_owned()));
        let over =
            merged(std::slice::from_ref(&known), &Alert { status: AlertStatus::Resolved, ..here.clone() });
        assert_eq!((over.status, over.note.as_deref()), (AlertStatus::Resolved, Some("on it")));
        let goes_on = merged(&[known], &here);
        assert_eq!((goes_on.status, goes_on.acknowledged_at), (AlertStatus::Acknowledged, Some(at(2))));
        // The same one again, after a crash between the two writes, counts once.
        let mut known = here.clone();
        known.count = 4;
        assert_eq!(merged(&[known], &Alert { count: 4, ..here }).count, 4);
    }

    proptest! {
        /// Whatever is seen: one open alert of each subject, and as many ends told as beginnings that are over.
        #[test]
        fn there_is_one_open_alert_of_each_subject(
            seen in proptest::collection::vec((0usize..4, proptest::option::of(0usize..3)), 0..40)
        ) {
            let subjects = [
                AlertKey::of_database(Rule::BackupFailed, "a"), AlertKey::of_database(Rule::BackupFailed, "b"),
                AlertKey::of_store(Rule::StoreUnreachable, "a"), AlertKey::new(Rule::CatalogUnreachable),
            ];
            let findings: Vec<Finding> = seen.iter().map(|(subject, problem)| {
                let subject = subjects[*subject].clone();
                match problem {
                    None => subject.is_well(),
                    Some(severity) => subject.has_problem("x").severity(Severity::ALL[*severity]),
                }
            }).collect();
            let mut alerts = Vec::new();
            for (number, chunk) in findings.chunks(3).enumerate() {
                let ids: Vec<String> = (0..3).map(|of| format!("{:012x}", number * 3 + of)).collect();
                let changes = apply(&alerts, "db1", chunk, &ids, at(i64::try_from(number).unwrap()));
                alerts = open(&changes, &alerts);
                for subject in &subjects {
                    prop_assert!(alerts.iter().filter(|alert| alert.subject() == *subject).count() <= 1);
                }
            }
            for subject in &subjects {
                let last = findings.iter().rev().find(|seen| seen.subject == *subject);
                let is_open = alerts.iter().any(|alert| alert.subject() == *subject);
                prop_assert_eq!(is_open, last.is_some_and(|seen| seen.problem.is_some()));
            }
        }
    }
}
