//! Events as lines: when, which, what happened, in the words of the other commands.
//!
//! Events speak of nodes and attempts by number. Whoever follows them from before knows the names from earlier events; a
//! number that nobody has named stays a number.

use std::collections::{BTreeMap, VecDeque};

use proto::client::Happened;
use proto::event::Event;
use proto::ids::{AttemptId, NodeId, NodeName, TaskId};
use proto::model::job::JobOutcome;
use proto::model::task::TaskOutcome;

use super::{Look, moment, sentence, tame};
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

    fn task(&self, attempt: AttemptId) -> String {
        match self.tasks.get(&attempt) {
            Some(task) => format!("task {task}, attempt {attempt},"),
            None => format!("attempt {attempt}"),
        }
    }

    fn text(&self, event: &Event) -> String {
        match event {
            Event::PoolAdded { .. }
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
            | Event::NodeSwitched { .. } => self.of_nodes(event),
            _ => self.of_work(event),
        }
    }

    fn of_groups(&self, event: &Event) -> String {
        match event {
            Event::PoolAdded { pool, .. } => format!("pool {pool} was made"),
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
            Event::NodeSwitched { node, admin } => {
                format!("{} was switched: {}", self.node(*node), sentence::admin_word(*admin))
            }
            other => unknown(other),
        }
    }

    fn of_work(&self, event: &Event) -> String {
        match event {
            Event::JobAdded { job, owner, tasks, .. } => format!(
                "job {job} was submitted by {} with {}",
                owner.name,
                sentence::counted(u32::try_from(tasks.len()).unwrap_or(u32::MAX), "task")
            ),
            Event::JobCreated { job, owner, .. } => format!("job {job} was made by {}", owner.name),
            Event::TasksAdded { job, tasks, .. } => format!(
                "job {job} got {} more",
                sentence::counted(u32::try_from(tasks.len()).unwrap_or(u32::MAX), "task")
            ),
            Event::JobSubmitted { job, .. } => format!("job {job} is in the queue"),
            Event::JobModified { job, .. } => format!("job {job} was changed"),
            Event::JobRevived { job, .. } => format!("job {} is in the queue again", job.id),
            Event::JobStopping { job, outcome } => format!("job {job} is stopping: {}", job_end(outcome)),
            Event::JobEnded { job, outcome, .. } => format!("job {job} is over: {}", job_end(outcome)),
            Event::Granted {
                attempt, task, shares, ..
            } => {
                let nodes: Vec<NodeId> = shares.iter().map(|share| share.node).collect();
                format!("task {task}, attempt {attempt}, got {}", self.names_of(&nodes))
            }
            Event::AttemptStarted { attempt, .. } => format!("{} runs", self.task(*attempt)),
            Event::AttemptStopping { attempt, .. } => format!("{} is told to stop", self.task(*attempt)),
            Event::AttemptEnded { attempt, outcome, .. } => {
                let names = self.names.iter().map(|(id, name)| (*id, name.clone()));
                let how = sentence::attempt_outcome(outcome, &Names(names.collect()));
                format!("{} ended: {how}", self.task(*attempt))
            }
            Event::ShareReleased { attempt, node } => format!("{} let {} go", self.task(*attempt), self.node(*node)),
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

fn job_end(outcome: &JobOutcome) -> String {
    match outcome {
        JobOutcome::Finished => "Finished".to_owned(),
        JobOutcome::Failed { .. } => format!("Failed, {}", sentence::job_outcome(outcome)),
        JobOutcome::Canceled { .. } => sentence::job_outcome(outcome),
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
    use proto::ids::{JobId, Sequence, TaskNumber};
    use proto::model::attempt::{Held, Share};
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
}
