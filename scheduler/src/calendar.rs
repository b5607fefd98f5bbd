//! When the runs of a job schedule are due, and when they are lost.
//!
//! A run is due at its time. While a job of the schedule is alive it waits, and it is lost when the start window is over,
//! when the next run is due, or after the last moment of the schedule, whichever comes first. So at most one run waits, and
//! a head node that was away makes at most one job for all that was due meanwhile.

use proto::model::schedule::{Recurrence, ScheduleRow, ScheduleState};
use proto::units::{Millis, Timestamp};

/// When something has to be decided about a schedule next; none when only the end of its job can change it.
pub(crate) fn wake(row: &ScheduleRow, live: bool) -> Option<Timestamp> {
    let run = row.next_run.filter(|_| row.state == ScheduleState::Active)?;
    if live {
        lost_at(&row.spec.recurrence, run)
    } else {
        Some(run)
    }
}

/// The time of the next run of a schedule that was made, changed or enabled now; none when there is none any more. Times
/// stay on the grid that begins with the schedule, so that a disabled hour shifts nothing.
pub(crate) fn next_run(row: &ScheduleRow, now: Timestamp) -> Option<Timestamp> {
    let recurrence = &row.spec.recurrence;
    let begin = row.created_at.max(recurrence.do_not_run_until.unwrap_or_default());
    let next = match recurrence.interval.filter(|interval| *interval > Millis(0)) {
        _ if begin > now => begin,
        None if row.runs == 0 => now,
        None => return None,
        // The first run is due at once, later ones are strictly in the future: one may have been made a moment ago.
        Some(interval) => {
            let past = now.since(begin).0;
            let periods = match (row.runs, past % interval.0) {
                (0, 0) => past / interval.0,
                _ => past / interval.0 + 1,
            };
            begin + Millis(interval.0.saturating_mul(periods))
        }
    };
    within(recurrence, next)
}

/// The time of the run after that one.
pub(crate) fn following(recurrence: &Recurrence, run: Timestamp) -> Option<Timestamp> {
    within(recurrence, run + recurrence.interval?)
}

/// Goes past the runs that are lost now, and counts them.
pub(crate) fn drop_lost(row: &mut ScheduleRow, now: Timestamp) {
    let recurrence = row.spec.recurrence;
    let Some(run) = row.next_run else { return };
    if lost_at(&recurrence, run).is_none_or(|lost| lost > now) {
        return;
    }
    let Some(interval) = recurrence.interval.filter(|interval| *interval > Millis(0)) else {
        row.missed = row.missed.saturating_add(1);
        row.next_run = None;
        return;
    };
    let window = recurrence.start_window.map_or(interval, |window| window.min(interval));
    let past = now.since(run);
    let expired = match past < window {
        true => 0,
        false => (past - window).0 / interval.0 + 1,
    };
    let in_all = recurrence
        .do_not_run_after
        .map_or(u64::MAX, |last| last.since(run).0 / interval.0 + 1);
    // After the last moment the run that still waits is lost too.
    let over = recurrence.do_not_run_after.is_some_and(|last| last < now);
    let lost = if over { in_all } else { expired.min(in_all) };
    row.missed = row.missed.saturating_add(u32::try_from(lost).unwrap_or(u32::MAX));
    let next = run + Millis(interval.0.saturating_mul(lost));
    row.next_run = within(&recurrence, next);
}

/// When a run that could not be made is lost; none when it waits for ever.
fn lost_at(recurrence: &Recurrence, run: Timestamp) -> Option<Timestamp> {
    let spans = recurrence.start_window.into_iter().chain(recurrence.interval);
    let after = recurrence.do_not_run_after.map(|last| last + Millis(1));
    spans.map(|span| run + span).chain(after).min()
}

fn within(recurrence: &Recurrence, run: Timestamp) -> Option<Timestamp> {
    let over = recurrence.do_not_run_after.is_some_and(|last| run > last);
    (!over).then_some(run)
}

#[cfg(test)]
mod tests {
    use proto::ids::ScheduleName;
    use proto::model::job::JobSpec;
    use proto::model::owner::Owner;
    use proto::model::schedule::ScheduleSpec;

    use super::*;

    fn row(recurrence: Recurrence) -> ScheduleRow {
        ScheduleRow {
            name: ScheduleName::new("s").expect("a name"),
            owner: Owner {
                name: "ann".to_owned(),
                uid: 1,
                gid: 1,
            },
            spec: ScheduleSpec {
                recurrence,
                job: JobSpec::default(),
                tasks: Vec::new(),
            },
            state: ScheduleState::Active,
            created_at: Timestamp(1000),
            next_run: Some(Timestamp(1000)),
            recent_job: None,
            runs: 0,
            missed: 0,
            deleting: false,
        }
    }

    fn every(interval: u64, window: Option<u64>, last: Option<u64>) -> Recurrence {
        Recurrence {
            do_not_run_until: None,
            do_not_run_after: last.map(Timestamp),
            start_window: window.map(Millis),
            interval: Some(Millis(interval)),
        }
    }

    /// Missed runs, and the time of the next, from the first at 1000.
    fn dropped(recurrence: Recurrence, now: u64) -> (u32, Option<u64>) {
        let mut row = row(recurrence);
        drop_lost(&mut row, Timestamp(now));
        (row.missed, row.next_run.map(|at| at.0))
    }

    #[test]
    fn a_run_waits_until_the_next_is_due_or_its_window_is_over() {
        assert_eq!(dropped(every(100, None, None), 1099), (0, Some(1000)));
        assert_eq!(dropped(every(100, None, None), 1100), (1, Some(1100)));
        assert_eq!(dropped(every(100, Some(20), None), 1019), (0, Some(1000)));
        assert_eq!(dropped(every(100, Some(20), None), 1020), (1, Some(1100)));
        assert_eq!(dropped(every(100, Some(500), None), 1100), (1, Some(1100)));
    }

    #[test]
    fn of_many_past_runs_one_is_left_at_most() {
        assert_eq!(dropped(every(100, None, None), 1950), (9, Some(1900)));
        assert_eq!(dropped(every(100, Some(20), None), 1950), (10, Some(2000)));
        assert_eq!(dropped(every(100, Some(20), None), 1910), (9, Some(1900)));
    }

    #[test]
    fn nothing_runs_after_the_last_moment() {
        assert_eq!(dropped(every(100, None, Some(1150)), 1120), (1, Some(1100)));
        assert_eq!(dropped(every(100, None, Some(1150)), 1151), (2, None));
        assert_eq!(dropped(every(100, None, Some(1150)), 9000), (2, None));
    }

    #[test]
    fn a_single_run_waits_for_ever_or_for_its_window() {
        let once = |window: Option<u64>| Recurrence {
            start_window: window.map(Millis),
            ..Recurrence::default()
        };
        assert_eq!(dropped(once(None), 9000), (0, Some(1000)));
        assert_eq!(dropped(once(Some(50)), 1050), (1, None));
    }

    #[test]
    fn the_grid_begins_with_the_schedule() {
        let at = |row: &ScheduleRow, now| next_run(row, Timestamp(now)).map(|at| at.0);
        let mut hourly = row(every(100, None, Some(1300)));
        assert_eq!([at(&hourly, 1000), at(&hourly, 1150)], [Some(1000), Some(1200)]);
        hourly.runs = 1;
        assert_eq!([at(&hourly, 1000), at(&hourly, 1250)], [Some(1100), Some(1300)]);
        assert_eq!(at(&hourly, 1300), None);
        let mut once = row(Recurrence {
            do_not_run_until: Some(Timestamp(1500)),
            ..Recurrence::default()
        });
        assert_eq!([at(&once, 1000), at(&once, 1600)], [Some(1500), Some(1600)]);
        once.runs = 1;
        assert_eq!(at(&once, 1600), None);
    }
}
