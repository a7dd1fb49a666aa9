//! Months of nights in real stores, some of which fail, with a prune every few of them that may be killed. The variable
//! `PGKEEP_TEST_NIGHTS` says how many there are; `tests/soak.sh` makes them more than a year.
//! What stays is what PostgreSQL's own calendar says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use pgkeep::testpoint::Step;
use postgres::types::ToSql;
use postgres::{Client, Row};
use rustix::process::Signal;

use super::site;
use crate::kills::held_at;
use crate::support::planted::{Night, Planted, Template};
use crate::support::{Manners, Pgkeep};

const NIGHTS: i64 = 160;
/// What each store keeps: so many days, and of the newest so many of all, days, weeks, months and years one each.
const RULES: [(&str, [i32; 6]); 3] =
    [("local", [30, 0, 0, 0, 0, 0]), ("r2", [0, 0, 7, 5, 12, 2]), ("b2", [10, 5, 0, 6, 5, 0])];

/// What `kept` is by the rules: the newest three of each database, and what each rule keeps.
const REFERENCE: &str = "\
WITH newest AS (SELECT max(at) AS now FROM good),
    ranked AS (
        SELECT id, at, row_number() OVER (PARTITION BY database ORDER BY at DESC) AS nth
        FROM good WHERE store = $7),
    periods AS (
        SELECT id, unit,
            dense_rank() OVER (PARTITION BY database, unit ORDER BY begins DESC) AS nth,
            row_number() OVER (PARTITION BY database, unit, begins ORDER BY at DESC) AS place
        FROM good, unnest(ARRAY['day', 'week', 'month', 'year']) AS unit,
            date_trunc(unit, at AT TIME ZONE 'America/St_Johns') AS begins
        WHERE store = $7)
SELECT id FROM ranked, newest WHERE nth <= greatest(3, $2) OR at > now - make_interval(days => $1)
UNION
SELECT id FROM periods WHERE place = 1
    AND nth <= CASE unit WHEN 'day' THEN $3::int WHEN 'week' THEN $4::int
        WHEN 'month' THEN $5::int ELSE $6::int END";

fn rule(name: &str) -> String {
    let (_, counts) = RULES.into_iter().find(|(store, _)| *store == name).unwrap();
    let named = ["within", "last", "daily", "weekly", "monthly", "yearly"].into_iter().zip(counts);
    let told = named.filter(|(_, count)| *count > 0).map(|(rule, count)| match rule {
        "within" => format!("within = \"{count}d\""),
        _ => format!("{rule} = {count}"),
    });
    format!("{{ {} }}", told.collect::<Vec<_>>().join(", "))
}

fn fate(night: i64) -> Night {
    match (night % 11, night % 13, night % 17) {
        // Twice a whole week of them.
        (10, _, _) | (0..=6, 8, 3) => Night::Failed,
        (_, 12, _) => Night::Without("r2"),
        (_, 5, _) => Night::DamagedIn("b2"),
        (_, _, 16) => Night::Unproven,
        _ if (200..209).contains(&night) => Night::Failed,
        _ => Night::Whole,
    }
}

/// The nights as they pass.
struct Simulation {
    planted: Planted,
    template: Template,
    catalog: Client,
    databases: [String; 2],
    /// How each night went.
    nights: BTreeMap<String, Night>,
    /// The newest whole one, and how the newest went, of each database.
    whole: [Option<String>; 2],
    newest: [Night; 2],
}

impl Simulation {
    fn pass(&mut self, night: i64) {
        let at: Timestamp = "2024-06-03T03:20:00Z".parse().unwrap();
        let at = at + SignedDuration::from_hours(night * 24);
        // The second database has a night in three.
        for place in 0..if night % 3 == 0 { 2 } else { 1 } {
            let (database, fate) = (&self.databases[place], fate(night + 4 * i64::try_from(place).unwrap()));
            let site = &self.planted.site;
            let id = self.template.plant(site, database, at, u16::try_from(night).unwrap(), fate);
            if fate == Night::Whole {
                self.whole[place] = Some(id.clone());
            }
            self.nights.insert(id.clone(), fate);
            self.newest[place] = fate;
            self.planted.ids.push(id);
        }
    }

    /// Takes down which copies let others go from now on: those of whole nights, and of nights whose damaged copy
    /// is gone.
    fn take_down(&mut self) {
        let verified = "SELECT id FROM pgkeep.backup WHERE source = 'db1' AND status = 'verified' \
                        AND id NOT IN (SELECT id FROM good)";
        let rows = self.catalog.query(verified, &[]).unwrap();
        for id in rows.iter().map(|row| row.get::<_, String>(0)) {
            let shown =
                ["local", "r2", "b2"].map(|store| (store, self.planted.shown_in(store).contains(&id)));
            let is_in = |name: &str| shown.iter().any(|(store, is_shown)| *store == name && *is_shown);
            match self.nights[&id] {
                Night::Whole => assert!(shown.iter().all(|(_, is_shown)| *is_shown), "{id}: {shown:?}"),
                Night::DamagedIn(store) => assert!(!is_in(store), "{id}: {shown:?}"),
                other => panic!("{id} was {other:?}, and is verified"),
            }
            for (store, _) in shown.iter().filter(|(_, is_shown)| *is_shown) {
                let row =
                    "INSERT INTO good SELECT $1, id, database, created_at FROM pgkeep.backup WHERE id = $2";
                self.catalog.execute(row, &[store, &id]).unwrap();
            }
        }
    }

    fn prune(&self) -> Pgkeep {
        self.planted.site.pgkeep(["prune", "--force"]).any_stdout().any_stderr().any_code()
    }

    /// How many copies the next prune takes.
    fn count_to_go(&self) -> u32 {
        let plan =
            self.planted.site.pgkeep(["prune", "--dry-run", "--json"]).any_stdout().any_stderr().any_code();
        let plan = plan.run().json();
        let goes = |item: &&serde_json::Value| item["action"] == "remove";
        u32::try_from(plan["copies"].as_array().unwrap().iter().filter(goes).count()).unwrap()
    }

    /// Wherever a prune was stopped: each database's newest good backup is in every store.
    fn assert_safe(&self, when: &str) {
        for store in ["local", "r2", "b2"] {
            let (shown, on_record) = (self.planted.shown_in(store), self.planted.on_record_in(store));
            for newest in self.whole.iter().flatten() {
                assert!(
                    shown.contains(newest) && on_record.contains(newest),
                    "{when}: {newest} is gone from {store}"
                );
            }
        }
    }

    /// What is left of the good ones is what the rules keep, and more only of a database whose newest run failed.
    fn assert_policy(&mut self, when: &str) {
        for (store, [days, last, daily, weekly, monthly, yearly]) in RULES {
            let rules: [&(dyn ToSql + Sync); 7] = [&days, &last, &daily, &weekly, &monthly, &yearly, &store];
            let kept = ids(&self.catalog.query(REFERENCE, &rules).unwrap());
            let shown = self.planted.shown_in(store);
            for (database, newest) in self.databases.iter().zip(self.newest) {
                let good = "SELECT id FROM good WHERE store = $1 AND database = $2";
                let good = ids(&self.catalog.query(good, &[&store, database]).unwrap());
                let kept: BTreeSet<&String> = kept.intersection(&good).collect();
                let stays: BTreeSet<&String> = shown.intersection(&good).collect();
                if newest == Night::Failed {
                    assert!(
                        stays.is_superset(&kept),
                        "{when}, {store}: {:?} is gone",
                        kept.difference(&stays)
                    );
                } else {
                    assert_eq!(stays, kept, "{when}, {store}");
                }
            }
        }
    }
}

fn ids(rows: &[Row]) -> BTreeSet<String> {
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn months_of_nights_leave_what_the_rules_say_in_every_store() {
    let rules = [rule("local"), rule("r2"), rule("b2")];
    let mut site = site([("local", &rules[0]), ("r2", &rules[1]), ("b2", &rules[2])]);
    site.config.set("retention.time_zone", "America/St_Johns");
    site.b2.set_versions("Enabled");
    let _faults = [site.fault("r2", Manners::r2()), site.fault("b2", Manners::B2)];
    let real = site.backup();
    let template = Template::of(&site, &real);
    site.cluster.execute(&site.catalog, "UPDATE pgkeep.backup SET source = 'template'");
    site.cluster
        .execute(&site.catalog, "CREATE TABLE good (store text, id text, database text, at timestamptz)");
    let catalog = site.cluster.connect(&site.catalog);
    let databases = [site.database.clone(), "crm Ω/1".to_owned()];
    let planted = Planted { site, ids: Vec::new() };
    let (nights, whole, newest) = (BTreeMap::new(), [None, None], [Night::Whole; 2]);
    let mut simulation = Simulation { planted, template, catalog, databases, nights, whole, newest };
    let mut widths = [1, 6, 2, 13, 1, 3, 9, 21].into_iter().cycle();
    let steps = [Step::ManifestExpired, Step::ArtifactExpired, Step::CopyMarkedExpired];
    let (mut night, mut prunes, mut killed) = (0, 0, 0);
    let nights = std::env::var("PGKEEP_TEST_NIGHTS").map_or(NIGHTS, |text| text.parse().unwrap());
    while night < nights {
        for _ in 0..widths.next().unwrap() {
            simulation.pass(night);
            night += 1;
        }
        let when = format!("night {night}");
        simulation.take_down();
        let (step, time) = (steps[killed % 3], u32::try_from(1 + killed % 5).unwrap());
        if prunes % 3 == 2 && simulation.count_to_go() >= time {
            let running = held_at(simulation.prune(), step, time).start();
            running.wait_for_stderr("stands still at");
            running.signal(Signal::KILL);
            running.await_death();
            killed += 1;
            simulation.assert_safe(&when);
            simulation.take_down();
        }
        let ran = simulation.prune().run();
        let failing = simulation.newest.contains(&Night::Failed);
        assert!(ran.code == 0 || ran.code == 3 && failing, "{when}: {ran:?}");
        simulation.assert_safe(&when);
        simulation.assert_policy(&when);
        prunes += 1;
    }
    assert!(killed > 3, "{killed} of {prunes} were killed");
    // What never was good does not stay for long either, and nothing of what is gone is only hidden.
    let is_young = |id: &&String| simulation.planted.ids[simulation.planted.ids.len() - 60..].contains(id);
    let left: BTreeSet<String> = simulation.planted.shown_in("local");
    assert!(left.iter().all(|id| is_young(&id)), "{left:?}");
    let shown = simulation.planted.shown_in("b2");
    let versions = simulation.planted.site.b2.versions("");
    assert_eq!(versions.len(), 2 * (shown.len() + 1), "a version for each object, and the template's");
}
