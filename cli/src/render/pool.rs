//! Pools and limits as people read them.

use proto::client::PoolView;
use proto::model::limits::Limits;
use proto::model::pool::{Allocation, FillType, PoolRow};

use super::people::{dash, joined, state_word, tamed};
use super::table::{Kind, Table};
use super::task::command_line;
use super::{Form, Look, moment, sentence};
use crate::answer::UserLimitsAnswer;

/// A line for each.
pub(super) fn pools_table(pools: &[PoolView], look: &Look) -> Table {
    if look.form == Form::Wide {
        return wide_table(pools);
    }
    let mut table = Table::new(&[
        ("Pool", Kind::Id),
        ("Nodes", Kind::Number),
        ("Ready", Kind::Number),
        ("Max", Kind::Number),
        ("Run", Kind::Number),
        ("Idle", Kind::Number),
        ("Node Names", Kind::Text),
    ]);
    for pool in pools {
        table.row([
            pool.row.name.to_string(),
            pool.nodes.len().to_string(),
            pool.ready.to_string(),
            pool.slots.to_string(),
            pool.slots_held.to_string(),
            pool.slots.saturating_sub(pool.slots_held).to_string(),
            dash(&joined(pool.nodes.iter())),
        ]);
    }
    table
}

fn wide_table(pools: &[PoolView]) -> Table {
    let mut table = Table::new(&[
        ("Pool", Kind::Id),
        ("State", Kind::State),
        ("Nodes", Kind::Number),
        ("Wanted", Kind::Number),
        ("Ready", Kind::Number),
        ("Max", Kind::Number),
        ("Run", Kind::Number),
        ("Idle", Kind::Number),
        ("Slots", Kind::Id),
        ("Fill", Kind::Id),
        ("Inter-node", Kind::Id),
        ("Start task", Kind::Text),
        ("Limits", Kind::Text),
        ("Node Names", Kind::Text),
    ]);
    for pool in pools {
        let spec = &pool.row.spec;
        table.row([
            pool.row.name.to_string(),
            state(&pool.row).to_owned(),
            pool.nodes.len().to_string(),
            spec.wanted.map_or_else(|| "-".to_owned(), |wanted| wanted.to_string()),
            pool.ready.to_string(),
            pool.slots.to_string(),
            pool.slots_held.to_string(),
            pool.slots.saturating_sub(pool.slots_held).to_string(),
            slots(spec.slots_per_node),
            fill(spec.fill).to_owned(),
            if spec.inter_node { "yes" } else { "no" }.to_owned(),
            dash(
                &spec
                    .start_task
                    .as_ref()
                    .map(|start| command_line(&start.task.command))
                    .unwrap_or_default(),
            ),
            sentence::limits(&spec.limits),
            dash(&joined(pool.nodes.iter())),
        ]);
    }
    table
}

const fn state(row: &PoolRow) -> &'static str {
    match (&row.allocation, row.deleting) {
        (_, true) => "Deleting",
        (Allocation::Resizing { .. }, _) => "Resizing",
        (Allocation::Steady, _) => "Steady",
    }
}

const fn fill(fill: FillType) -> &'static str {
    match fill {
        FillType::Pack => "pack",
        FillType::Spread => "spread",
    }
}

fn slots(slots: Option<u32>) -> String {
    slots.map_or_else(|| "its cores".to_owned(), |slots| slots.to_string())
}

/// All that is known of one.
pub(super) fn pool_properties(pool: &PoolView, look: &Look) -> Vec<(&'static str, String)> {
    let PoolView { row, .. } = pool;
    let spec = &row.spec;
    let wanted = spec
        .wanted
        .map_or_else(|| "as many as join".to_owned(), |wanted| wanted.to_string());
    let mut pairs = vec![
        ("Pool", row.name.to_string()),
        ("State", state_word(state(row), look)),
        ("Slots per node", slots(spec.slots_per_node)),
        ("Nodes", format!("{}, wanted: {wanted}", pool.nodes.len())),
        ("Ready", pool.ready.to_string()),
        ("Slots", format!("{}, {} held", pool.slots, pool.slots_held)),
        ("Fill", fill(spec.fill).to_owned()),
        (
            "Inter-node",
            if spec.inter_node {
                "yes"
            } else {
                "no: each task on one node"
            }
            .to_owned(),
        ),
        ("Limits", sentence::limits(&spec.limits)),
        ("Made", moment::show(row.created_at, look.zone)),
        ("Node names", dash(&joined(pool.nodes.iter()))),
    ];
    if let Allocation::Resizing { until, option } = &row.allocation {
        pairs.push((
            "Resizing",
            format!("until {} ({})", moment::show(*until, look.zone), option.word()),
        ));
    }
    if let Some(error) = &row.resize_error {
        pairs.push(("Last resize", error.clone()));
    }
    if let Some(start) = &spec.start_task {
        let mut text = command_line(&start.task.command);
        if let Some(retries) = start.task.max_retries {
            text += &format!("; again after a failure: {}", sentence::retries(retries));
        }
        if !start.wait_for_success {
            text += "; tasks do not wait for it";
        }
        pairs.push(("Start task", text));
    }
    if let Some(job) = row.start_job {
        pairs.push(("Start task runs", format!("task list {job} --expand")));
    }
    tamed(pairs, look)
}

/// What users may have, and what they have.
pub(super) fn limits_table(limits: &UserLimitsAnswer) -> Table {
    let mut table = Table::new(&[
        ("User", Kind::Id),
        ("Limits", Kind::Id),
        ("Running jobs", Kind::Number),
        ("Cores", Kind::Number),
        ("Queued tasks", Kind::Number),
    ]);
    let cells = |limits: &Limits, used: [Option<u64>; 3]| {
        let bounds = [
            limits.running_jobs.map(u64::from),
            limits.cores.map(u64::from),
            limits.queued_tasks,
        ];
        let cell = |(bound, used): (&Option<u64>, &Option<u64>)| {
            let bound = bound.map_or_else(|| "-".to_owned(), |bound| bound.to_string());
            used.map_or_else(|| bound.clone(), |used| format!("{used} of {bound}"))
        };
        let mut cells = bounds.iter().zip(&used).map(cell);
        [(); 3].map(|()| cells.next().unwrap_or_default())
    };
    let [jobs, cores, queued] = cells(&limits.each, [None; 3]);
    table.row(["(each)".to_owned(), "of everybody".to_owned(), jobs, cores, queued]);
    for user in &limits.users {
        let used = [u64::from(user.running_jobs), u64::from(user.cores), user.queued_tasks];
        let [jobs, cores, queued] = cells(&user.limits, used.map(Some));
        let whose = if user.own { "own" } else { "of everybody" };
        table.row([user.user.clone(), whose.to_owned(), jobs, cores, queued]);
    }
    table
}
