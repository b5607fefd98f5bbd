//! Events as lines: when, which, what happened, in the words of the other commands.
//!
//! Events speak of nodes and attempts by number. Whoever follows them from before knows the names from earlier events; a
//! number that nobody has named stays a number.

use std::collections::{BTreeMap, VecDeque};

use proto::client::Happened;
use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, NodeName, TaskId};
use proto::model::job::{JobOutcome, TaskCounts};
use proto::model::node::AdminState;
use proto::model::pool::{Allocation, PoolRow};
use proto::model::task::{TaskOutcome, TaskSpec};

use super::{Look, Zone, moment, sentence, tame};
use crate::answer::Names;

/// Attempts whose tasks are remembered; the oldest go.
const MOST_ATTEMPTS: usize = 20_000;

/// Tells events, and remembers what their numbers mean.
#[derive(Debug)]
pub(crate) struct EventLines {
    look: Look,
    names: BTreeMap<NodeId, NodeName>,
    tasks: BTreeMap<AttemptId, TaskId>,
    order: VecDeque<AttemptId>,
}

impl EventLines {
    /// For a reader like this; `names` are of the nodes that are there now.
    pub(crate) fn new(look: Look, names: impl IntoIterator<Item = (NodeId, NodeName)>) -> Self {
        Self {
            look,
            names: names.into_iter().collect(),
            tasks: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// One line.
    pub(crate) fn line(&mut self, happened: &Happened) -> String {
        let at = moment::show(happened.at, self.look.zone);
        format!("{at}  {:>6}  {}", happened.sequence.0, self.sentence(happened))
    }

    /// What happened, without when and which.
    pub(crate) fn sentence(&mut self, happened: &Happened) -> String {
        self.learn(&happened.event);
        tame(&self.text(&happened.event))
    }

    fn learn(&mut self, event: &Event) {
        match event {
            Event::NodeJoined { node, name, .. } => {
                self.names.insert(*node, name.clone());
            }
            Event::Granted { attempt, task, .. } => {
                self.tasks.insert(*attempt, *task);
                self.order.push_back(*attempt);
                if self.order.len() > MOST_ATTEMPTS
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.tasks.remove(&oldest);
                }
            }
            _ => {}
        }
    }

    fn node(&self, node: NodeId) -> String {
        match self.names.get(&node) {
            Some(name) => format!("node {name}"),
            None => format!("node #{node}"),
        }
    }

    /// The name of a node, if it was told.
    pub(crate) fn name(&self, node: NodeId) -> Option<&NodeName> {
        self.names.get(&node)
    }

    /// A task whose step is a node.
    fn errand(&self, task: TaskId) -> String {
        match task.step {
            Some(step) if task.number.is_per_node() => format!("{task} on {}", self.node(NodeId(step.0))),
            _ => task.to_string(),
        }
    }

    fn task(&self, attempt: AttemptId) -> String {
        match self.tasks.get(&attempt) {
            Some(task) => format!("task {task}, attempt {attempt},"),
            None => format!("attempt {attempt}"),
        }
    }

    fn text(&self, event: &Event) -> String {
        match event {
            Event::PoolAdded { .. }
            | Event::PoolChanged { .. }
            | Event::PoolRemoved { .. }
            | Event::GroupAdded { .. }
            | Event::GroupRemoved { .. }
            | Event::GroupJoined { .. }
            | Event::GroupLeft { .. } => self.of_groups(event),
            Event::TokenAdded { .. }
            | Event::TokenUsed { .. }
            | Event::TokenRemoved { .. }
            | Event::UserAdded { .. }
            | Event::UserRemoved { .. }
            | Event::LoginOffered { .. }
            | Event::LoggedIn { .. }
            | Event::CredentialRevoked { .. }
            | Event::SettingsChanged { .. } => self.of_access(event),
            Event::NodeJoined { .. }
            | Event::NodeRenewed { .. }
            | Event::NodeRemoved { .. }
            | Event::NodeUp { .. }
            | Event::NodeSuspected { .. }
            | Event::NodeReturned { .. }
            | Event::NodeLost { .. }
            | Event::NodeSwitched { .. }
            | Event::NodeStartChanged { .. }
            | Event::NodeErrandChanged { .. } => self.of_nodes(event),
            Event::ScheduleChanged { .. }
            | Event::ScheduleRemoved { .. }
            | Event::JobAdded { .. }
            | Event::JobCreated { .. }
            | Event::TasksAdded { .. }
            | Event::JobSubmitted { .. }
            | Event::JobModified { .. }
            | Event::JobRevived { .. }
            | Event::JobRequeued { .. }
            | Event::JobDisabled { .. }
            | Event::JobEnabled { .. }
            | Event::JobDeleting { .. }
            | Event::JobDeleted { .. }
            | Event::JobStopping { .. }
            | Event::JobEnded { .. } => of_jobs(event),
            _ => self.of_tasks(event),
        }
    }

    fn of_groups(&self, event: &Event) -> String {
        match event {
            Event::PoolAdded { pool, .. } => format!("pool {pool} was made"),
            Event::PoolChanged { pool } => pool_text(pool, self.look.zone),
            Event::PoolRemoved { pool } => format!("pool {pool} was taken away"),
            Event::GroupAdded { group, .. } => format!("node group {group} was made"),
            Event::GroupRemoved { group } => format!("node group {group} was taken away"),
            Event::GroupJoined { group, node } => format!("{} is in group {group} now", self.node(*node)),
            Event::GroupLeft { group, node } => format!("{} left group {group}", self.node(*node)),
            other => unknown(other),
        }
    }

    fn of_access(&self, event: &Event) -> String {
        match event {
            Event::TokenAdded { token } => format!(
                "a token was made with which {} may join pool {}",
                sentence::counted(token.uses_left, "node"),
                token.pool
            ),
            Event::TokenUsed { .. } => "a join token was used".to_owned(),
            Event::TokenRemoved { .. } => "a join token ended".to_owned(),
            Event::UserAdded { name, role, .. } => format!("user {name} is {} now", role.as_str()),
            Event::UserRemoved { name } => format!("user {name} was taken out, with all credentials"),
            Event::LoginOffered { name, .. } => format!("a log-in token was made for user {name}"),
            Event::LoggedIn { name, credential } if credential.host.is_empty() => {
                format!(
                    "user {name} has a credential, key {}",
                    short(&credential.key.to_string())
                )
            }
            Event::LoggedIn { name, credential } => format!(
                "user {name} has a credential on {}, key {}",
                credential.host,
                short(&credential.key.to_string())
            ),
            Event::CredentialRevoked { name, key } => {
                format!(
                    "the credential of user {name} with key {} was taken back",
                    short(&key.to_string())
                )
            }
            Event::SettingsChanged { .. } => "settings of the cluster were changed".to_owned(),
            other => unknown(other),
        }
    }

    fn of_nodes(&self, event: &Event) -> String {
        match event {
            Event::NodeJoined { node, pool, .. } => format!("{} joined pool {pool}", self.node(*node)),
            Event::NodeRenewed { node, certificate_ends } => format!(
                "{} has a new certificate, good until {}",
                self.node(*node),
                moment::show(*certificate_ends, self.look.zone)
            ),
            Event::NodeRemoved { node } => format!("{} was taken out of the cluster", self.node(*node)),
            Event::NodeUp { node, inventory, .. } => {
                format!(
                    "{} is up with {}",
                    self.node(*node),
                    sentence::counted(inventory.cores, "core")
                )
            }
            Event::NodeSuspected { node, .. } => format!("{} does not answer", self.node(*node)),
            Event::NodeReturned { node, .. } => format!("{} answers again", self.node(*node)),
            Event::NodeLost { node, .. } => format!("{} is lost", self.node(*node)),
            Event::NodeSwitched {
                node,
                admin: admin @ AdminState::Draining,
                drain,
            } => format!(
                "{} was switched: {}, {}",
                self.node(*node),
                sentence::admin_word(*admin),
                sentence::deallocation(*drain)
            ),
            Event::NodeSwitched { node, admin, .. } => {
                format!("{} was switched: {}", self.node(*node), sentence::admin_word(*admin))
            }
            Event::NodeStartChanged {
                node,
                start: Some(start),
            } => format!(
                "the start task of {}'s pool: {}",
                self.node(*node),
                sentence::start_state(start)
            ),
            Event::NodeStartChanged { node, start: None } => {
                format!("{} has no start task any more", self.node(*node))
            }
            Event::NodeErrandChanged {
                node,
                errand: Some(errand),
                ..
            } => {
                let (node, word) = (self.node(*node), sentence::errand(errand.kind));
                match errand.sent {
                    true => format!("{node} was told to {word}"),
                    false => format!("{node} is to {word}, once it holds nothing"),
                }
            }
            Event::NodeErrandChanged {
                node,
                errand: None,
                refused: Some(reason),
            } => format!("{} cannot do what it was told: {reason}", self.node(*node)),
            Event::NodeErrandChanged { node, errand: None, .. } => {
                format!("{} has nothing more to do before it takes work", self.node(*node))
            }
            other => unknown(other),
        }
    }

    fn of_tasks(&self, event: &Event) -> String {
        match event {
            Event::Granted {
                attempt,
                task,
                shares,
                ahead,
                ..
            } => {
                let nodes: Vec<NodeId> = shares.iter().map(|share| share.node).collect();
                let what = if *ahead { "is next on" } else { "got" };
                format!("task {task}, attempt {attempt}, {what} {}", self.names_of(&nodes))
            }
            Event::Advanced { attempt, .. } => format!("{} got a slot", self.task(*attempt)),
            Event::Recalled { attempt } => format!("{} is wanted back from its node", self.task(*attempt)),
            Event::AttemptSent { attempt } => format!("{} has prepared nodes", self.task(*attempt)),
            Event::Coordinated { attempt, node } => {
                format!("{} is coordinated on {}", self.task(*attempt), self.node(*node))
            }
            Event::ErrandAdded { task } => format!("task {} is due", self.errand(*task)),
            Event::ErrandForgotten { task } => format!("task {} is not due any more", self.errand(*task)),
            Event::ArrayRestCanceled { task, .. } => format!("all steps of task {task} that waited were canceled"),
            Event::ArrayRestRequeued { task } => format!("all steps of task {task} that were canceled wait again"),
            Event::AttemptStarted { attempt, .. } => format!("{} runs", self.task(*attempt)),
            Event::AttemptStopping {
                attempt, again: true, ..
            } => format!("{} is told to stop, and waits again then", self.task(*attempt)),
            Event::AttemptStopping { attempt, .. } => format!("{} is told to stop", self.task(*attempt)),
            Event::AttemptEnded { attempt, outcome, .. } => {
                let names = self.names.iter().map(|(id, name)| (*id, name.clone()));
                let how = sentence::attempt_outcome(outcome, &Names(names.collect()));
                format!("{} ended: {how}", self.task(*attempt))
            }
            Event::ShareReleased { attempt, node } => format!("{} let {} go", self.task(*attempt), self.node(*node)),
            Event::TaskRequeued { task, afresh: true, .. } => {
                format!("task {task} waits again, with its retries counted afresh")
            }
            Event::TaskRequeued { task, retry: true, .. } => {
                format!("task {task} waits again, because its exit was no success")
            }
            Event::TaskRequeued { task, .. } => format!("task {task} waits again"),
            Event::TaskEnded { task, outcome, .. } => format!("task {task} is over: {}", task_end(outcome)),
            other => unknown(other),
        }
    }

    fn names_of(&self, nodes: &[NodeId]) -> String {
        const SHOWN: usize = 8;
        let names: Vec<String> = nodes.iter().take(SHOWN).map(|node| self.node(*node)).collect();
        match nodes.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            Some(more) => format!("{} and {more} more", names.join(", ")),
            None => names.join(", "),
        }
    }
}

fn short(key: &str) -> &str {
    key.get(..12).unwrap_or(key)
}

/// Reached only when an arm above and its caller disagree.
fn unknown(event: &Event) -> String {
    format!("{event:?}").chars().take(200).collect()
}

/// A pool as it is now; what was changed of it the event does not tell.
fn pool_text(pool: &PoolRow, zone: Zone) -> String {
    let name = &pool.name;
    if pool.deleting {
        return format!("pool {name} is being taken away");
    }
    match &pool.allocation {
        Allocation::Resizing { until, .. } => format!(
            "pool {name} is resizing{}, until {} at the latest",
            pool.spec
                .wanted
                .map(|wanted| format!(" to {}", sentence::counted(wanted, "node")))
                .unwrap_or_default(),
            moment::show(*until, zone)
        ),
        Allocation::Steady => match &pool.resize_error {
            Some(error) => format!("pool {name} is steady: {error}"),
            None => format!("pool {name} was made or changed"),
        },
    }
}

fn of_jobs(event: &Event) -> String {
    let count = |tasks: &[TaskSpec]| sentence::counted(u32::try_from(tasks.len()).unwrap_or(u32::MAX), "task");
    match event {
        Event::ScheduleChanged { schedule } => {
            let ends = if schedule.deleting {
                ", and is being taken away"
            } else {
                ""
            };
            let made = match schedule.recent_job {
                Some(job) => format!(
                    ", {} so far, the last is {job}",
                    sentence::counted(schedule.runs, "job")
                ),
                None => String::new(),
            };
            format!(
                "job schedule {} is {}{made}{ends}",
                schedule.name,
                schedule.state.word()
            )
        }
        Event::ScheduleRemoved { schedule } => format!("job schedule {schedule} was taken away"),
        Event::JobAdded {
            job,
            tasks,
            schedule: Some(schedule),
            ..
        } => format!("job {job} was made by job schedule {schedule} with {}", count(tasks)),
        Event::JobAdded { job, owner, tasks, .. } => {
            format!("job {job} was submitted by {} with {}", owner.name, count(tasks))
        }
        Event::JobCreated { job, owner, .. } => format!("job {job} was made by {}", owner.name),
        Event::TasksAdded { job, tasks, .. } => format!("job {job} got {} more", count(tasks)),
        Event::JobSubmitted { job, .. } => format!("job {job} is in the queue"),
        Event::JobModified { job, .. } => format!("job {job} was changed"),
        Event::JobRevived { job, .. } => format!("job {} is in the queue again", job.id),
        Event::JobRequeued { job } => format!("job {job} was put back into the queue"),
        Event::JobDisabled { job } => format!("job {job} is disabled"),
        Event::JobEnabled { job } => format!("job {job} is enabled again"),
        Event::JobDeleting { job } => format!("job {job} is taken away as soon as it is over"),
        Event::JobDeleted { job } => format!("job {job} was taken away"),
        Event::JobStopping { job, outcome } => format!("job {job} is stopping: {}", job_end(outcome, *job)),
        Event::JobEnded { job, outcome, .. } => format!("job {job} is over: {}", job_end(outcome, *job)),
        other => unknown(other),
    }
}

fn job_end(outcome: &JobOutcome, job: JobId) -> String {
    // An event has no counts, and only a job that finished is told by them.
    let said = || sentence::job_outcome(outcome, job, &TaskCounts::default());
    match outcome {
        JobOutcome::Finished => "Finished".to_owned(),
        JobOutcome::Failed { .. } => format!("Failed, {}", said()),
        JobOutcome::Terminated { .. } => format!("Terminated, {}", said()),
        JobOutcome::Canceled { .. } => said(),
    }
}

fn task_end(outcome: &TaskOutcome) -> String {
    match outcome {
        TaskOutcome::Finished => "Finished".to_owned(),
        TaskOutcome::Canceled => "Canceled".to_owned(),
        TaskOutcome::Failed { cause } => format!("Failed, {}", sentence::attempt_outcome(cause, &Names::default())),
    }
}

#[cfg(test)]
mod tests {
    use proto::ids::{JobId, Sequence, Step, TaskNumber};
    use proto::model::attempt::{Held, Share};
    use proto::model::node::{Deallocation, NodeErrand, NodeErrandKind};
    use proto::model::task::AttemptOutcome;
    use proto::units::Timestamp;
    use time::UtcOffset;

    use super::*;
    use crate::render::{Form, Zone};

    fn lines() -> EventLines {
        let look = Look {
            form: Form::Table,
            width: None,
            colour: false,
            zone: Zone::Fixed(UtcOffset::UTC),
            now: Timestamp(0),
        };
        EventLines::new(look, [(NodeId(1), NodeName::new("n1").expect("a name"))])
    }

    fn happened(number: u64, event: Event) -> Happened {
        Happened {
            sequence: Sequence(number),
            at: Timestamp(1_795_269_787_123),
            event: Box::new(event),
        }
    }

    #[test]
    fn numbers_get_the_names_that_were_told_before() {
        let mut lines = lines();
        let task = TaskId::new(JobId(7), TaskNumber(1));
        let share = |node| Share {
            node: NodeId(node),
            slots: 1,
            held: Held::Yes,
        };
        let granted = Event::Granted {
            attempt: AttemptId(3),
            task,
            shares: vec![share(1), share(9)],
            ahead: false,
            at: Timestamp(0),
        };
        assert_eq!(
            lines.line(&happened(41, granted)),
            "2026-11-21 14:03:07      41  task 7.1, attempt 3, got node n1, node #9"
        );
        let ended = Event::AttemptEnded {
            attempt: AttemptId(3),
            outcome: AttemptOutcome::Exited { code: 2 },
            at: Timestamp(0),
        };
        let line = lines.line(&happened(42, ended));
        assert!(
            line.ends_with("task 7.1, attempt 3, ended: the program ended with exit code 2"),
            "{line}"
        );
    }

    #[test]
    fn what_users_wrote_cannot_move_the_cursor() {
        let event = Event::JobEnded {
            job: JobId(1),
            outcome: JobOutcome::Canceled {
                by: "a".to_owned(),
                message: "\x1b[2J".to_owned(),
            },
            at: Timestamp(0),
        };
        assert!(!lines().line(&happened(1, event)).contains('\x1b'));
    }

    #[test]
    fn what_happens_to_nodes_jobs_and_schedules() {
        let mut lines = lines();
        let mut told = |event| lines.sentence(&happened(1, event));
        let node = NodeId(1);
        let errand = NodeErrand {
            kind: NodeErrandKind::Reboot,
            asked_at: Timestamp(0),
            sent: false,
            admin: AdminState::Online,
        };
        let prep = TaskId {
            step: Some(Step(1)),
            ..TaskId::new(JobId(7), TaskNumber::PREPARATION)
        };
        let outcome = JobOutcome::Terminated {
            by: String::new(),
            reason: "JMComplete".to_owned(),
        };
        for (event, sentence) in [
            (
                Event::NodeSwitched {
                    node,
                    admin: AdminState::Draining,
                    drain: Deallocation::Requeue,
                },
                "node n1 was switched: Draining, its tasks wait again",
            ),
            (
                Event::NodeErrandChanged {
                    node,
                    errand: Some(errand),
                    refused: None,
                },
                "node n1 is to reboot, once it holds nothing",
            ),
            (
                Event::NodeErrandChanged {
                    node,
                    errand: None,
                    refused: None,
                },
                "node n1 has nothing more to do before it takes work",
            ),
            (Event::JobDisabled { job: JobId(7) }, "job 7 is disabled"),
            (Event::JobDeleted { job: JobId(7) }, "job 7 was taken away"),
            (
                Event::JobEnded {
                    job: JobId(7),
                    outcome,
                    at: Timestamp(0),
                },
                "job 7 is over: Terminated, its manager task is over",
            ),
            (Event::ErrandAdded { task: prep }, "task 7.prep.1 on node n1 is due"),
            (
                Event::TaskRequeued {
                    task: TaskId::new(JobId(7), TaskNumber(2)),
                    asked: false,
                    retry: true,
                    afresh: false,
                },
                "task 7.2 waits again, because its exit was no success",
            ),
        ] {
            assert_eq!(told(event), sentence);
        }
    }
}
