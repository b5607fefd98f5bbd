//! Limits of users: set by an administrator, and what waits checked against them when more comes. What a user holds is
//! bounded by the placement pass.

use proto::client::{Refusal, RefusalCode};
use proto::event::Event;
use proto::ids::UserName;
use proto::model::job::JobSpec;
use proto::model::limits::Limits;

use super::ledger::Ledger;
use crate::cluster::Cluster;
use crate::input::Answer;

pub(super) fn set(ledger: &mut Ledger<'_>, user: Option<&UserName>, limits: Option<Limits>) -> Result<Answer, Refusal> {
    let old = ledger.cluster.settings_row();
    let mut settings = old.clone();
    match (user, limits) {
        (None, limits) => settings.limits.each = limits.unwrap_or_default(),
        (Some(user), Some(limits)) => drop(settings.limits.of.insert(user.clone(), limits)),
        (Some(user), None) => drop(settings.limits.of.remove(user)),
    }
    if settings == *old {
        return Ok(Answer::Notes(vec![
            "nothing changes: the limits are set so already".to_owned(),
        ]));
    }
    ledger.push(Event::SettingsChanged {
        settings: Box::new(settings),
    });
    Ok(Answer::Notes(Vec::new()))
}

/// Whether a user may have so many waiting tasks more, and the pool that the job asks for.
///
/// # Errors
/// A refusal that names the limit, what is used of it, and whom to ask.
pub(super) fn check_queued(cluster: &Cluster, user: &str, job: &JobSpec, count: usize) -> Result<(), Refusal> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if let Some(most) = cluster.settings_row().limits.of(user).queued_tasks {
        let used = cluster.queued_tasks_of(user);
        if used.saturating_add(count) > most {
            return Err(over(&format!("'{user}'"), used, count, most));
        }
    }
    let Some(pool) = job.pool.as_ref().and_then(|name| cluster.pool(name)) else {
        return Ok(());
    };
    if let Some(most) = pool.spec.limits.queued_tasks {
        let used = cluster.queued_tasks_in(&pool.name);
        if used.saturating_add(count) > most {
            return Err(over(&format!("pool '{}'", pool.name), used, count, most));
        }
    }
    Ok(())
}

fn over(whose: &str, used: u64, count: u64, most: u64) -> Refusal {
    Refusal {
        code: RefusalCode::Busy,
        what: format!("{whose} may have {most} waiting tasks, has {used}, and {count} would come"),
        remedy: "submit again when some have started, or ask an administrator for a higher limit".to_owned(),
        retry_after: None,
    }
}
