//! Job schedules as people read them.

use proto::model::schedule::ScheduleRow;

use super::people::{dash, state_word, tamed, told};
use super::table::{Kind, Table};
use super::task::command_line;
use super::{Look, moment};

/// A line for each.
pub(super) fn table(schedules: &[ScheduleRow], look: &Look) -> Table {
    let mut table = Table::new(&[
        ("Schedule", Kind::Id),
        ("Owner", Kind::Text),
        ("State", Kind::State),
        ("Every", Kind::Id),
        ("Next", Kind::Id),
        ("Runs", Kind::Number),
        ("Missed", Kind::Number),
        ("Last job", Kind::Number),
        ("Command", Kind::Text),
    ]);
    for row in schedules {
        table.row([
            row.name.to_string(),
            row.owner.name.clone(),
            word(row).to_owned(),
            every(row),
            told(row.next_run, look),
            row.runs.to_string(),
            row.missed.to_string(),
            row.recent_job.map_or_else(|| "-".to_owned(), |job| job.to_string()),
            command(row),
        ]);
    }
    table
}

const fn word(row: &ScheduleRow) -> &'static str {
    if row.deleting { "Deleting" } else { row.state.word() }
}

fn every(row: &ScheduleRow) -> String {
    row.spec
        .recurrence
        .interval
        .map_or_else(|| "once".to_owned(), |span| span.to_string())
}

/// The first task's, or the manager's, and how many there are.
fn command(row: &ScheduleRow) -> String {
    let manager = row.spec.job.manager.as_ref().map(|manager| &manager.task);
    let Some(first) = row.spec.tasks.first().or(manager) else {
        return "-".to_owned();
    };
    let text = command_line(&first.command);
    match row.spec.tasks.len() {
        0 | 1 => text,
        count => format!("{text} and {} more", count - 1),
    }
}

/// All that is known of one.
pub(super) fn schedule_properties(row: &ScheduleRow, look: &Look) -> Vec<(&'static str, String)> {
    let recurrence = &row.spec.recurrence;
    let mut pairs = vec![
        ("Schedule", row.name.to_string()),
        ("Owner", row.owner.name.clone()),
        ("State", state_word(word(row), look)),
        ("Every", every(row)),
        ("Next run", told(row.next_run, look)),
        ("Jobs made", row.runs.to_string()),
        ("Left out", row.missed.to_string()),
        (
            "Last job",
            row.recent_job.map_or_else(|| "-".to_owned(), |job| job.to_string()),
        ),
        ("Made", moment::show(row.created_at, look.zone)),
        ("Job name", dash(&row.spec.job.name)),
        ("Command", command(row)),
        ("Tasks", row.spec.tasks.len().to_string()),
    ];
    let mut say = |name, text: Option<String>| pairs.extend(text.map(|text| (name, text)));
    say(
        "From",
        recurrence.do_not_run_until.map(|at| moment::show(at, look.zone)),
    );
    say(
        "Until",
        recurrence.do_not_run_after.map(|at| moment::show(at, look.zone)),
    );
    say("Start window", recurrence.start_window.map(|span| span.to_string()));
    tamed(pairs, look)
}
