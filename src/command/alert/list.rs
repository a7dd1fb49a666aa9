//! `pgkeep alert list`: what is wrong, the newest first.

use std::collections::BTreeSet;

use anyhow::Result;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;

use crate::alert_record::{Alert, AlertStatus};
use crate::cli;
use crate::command::context::Context;
use crate::command::notify::MOST_SHOWN;
use crate::command::output::printable;
use crate::exit::{Code, one_line};

pub(super) fn run(context: &Context, flags: &cli::AlertList) -> Result<Code> {
    let (alerts, code) = match context.catalog() {
        Ok(mut catalog) => (catalog.alerts(None, flags.all, MOST_SHOWN)?, Code::Done),
        Err(error) => {
            let mut alerts = context.spool.read()?.alerts;
            log::warn!("{}: these are the alerts that this host knows of", one_line(&error));
            alerts.retain(|alert| flags.all || alert.status != AlertStatus::Resolved);
            alerts.sort_by(|one, other| {
                other.first_seen.cmp(&one.first_seen).then_with(|| one.id.cmp(&other.id))
            });
            (alerts, Code::Degraded)
        }
    };
    context.out.json(&alerts)?;
    if alerts.is_empty() {
        context.out.line(if flags.all { "no alerts" } else { "no open alerts" })?;
    } else {
        context.out.line(&table(&alerts))?;
    }
    Ok(code)
}

fn table(alerts: &[Alert]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let sources: BTreeSet<&str> = alerts.iter().map(|alert| alert.source.as_str()).collect();
    let source = (sources.len() > 1).then_some("SOURCE");
    let heads = ["ID", "SEVERITY", "STATUS", "SINCE (UTC)", "LAST (UTC)", "TIMES", "RULE"];
    table.set_header(heads.into_iter().chain(source).chain(["MESSAGE"]));
    for alert in alerts {
        let cells = [
            Cell::new(&alert.id),
            Cell::new(alert.severity.as_str()),
            Cell::new(alert.status.as_str()),
            Cell::new(minute(alert.first_seen)),
            Cell::new(minute(alert.last_seen)),
            Cell::new(alert.count).set_alignment(CellAlignment::Right),
            Cell::new(alert.rule.as_str()),
        ];
        let source = source.map(|_| Cell::new(printable(&alert.source)));
        let note = alert.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
        let message = Cell::new(printable(&format!("{}{note}", alert.message)).replace('\n', " "));
        table.add_row(cells.into_iter().chain(source).chain([message]));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n")
}

fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}
