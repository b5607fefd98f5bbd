//! The checker: reads the clients' logs, the tasks' traces and what the head node tells in the end, and says which promise
//! is broken, with the lines that prove it. It knows nothing of the scheduler, the nodes or the faults.
//!
//! What it cannot know it does not claim: a task whose end was written but whose node was lost in that moment may be told
//! as lost, and runs again when it may.

use std::collections::BTreeMap;
use std::fmt;

use proto::ids::{AttemptId, JobId, TaskId};

use super::record::{Answer, Kind, Line, Mark, Shape, State, Told, Wish};
use super::task::rank_trace;

/// Everything that was written down.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    /// The log of each client.
    pub(super) logs: Vec<Vec<Line>>,
    /// By file name: `KEY.TASK.STEP`, with `.rankN` behind it for a rank.
    pub(super) traces: BTreeMap<String, Vec<Mark>>,
    /// Told by the head node after everything came to rest.
    pub(super) told: BTreeMap<TaskId, Told>,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) claim: Claim,
    /// What shows it, for people.
    pub(super) proof: Vec<String>,
}

/// The promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// What was acknowledged is known to the head node and is over.
    EndedAsTold,
    /// No fault of a node fails what may run again, without an end: its retries are not counted out.
    RunsAgain,
    /// No two attempts of a task run at once.
    NotTwiceAtOnce,
    /// A task that is not rerunnable starts once at most.
    OnceAtMost,
    /// After the answer to a cancel nothing of it ends well any more.
    CanceledStaysCanceled,
    /// What was told as over stays over, unless somebody queues it again.
    OverIsOver,
    /// One submission is one job.
    OneJob,
    /// A submission that was refused runs nothing.
    RefusedChangesNothing,
    /// A gang that ended well had all its nodes at once.
    GangWhole,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndedAsTold => "every acknowledged task ended as the head node tells",
            Self::RunsAgain => "what may run again does not fail because a node was lost",
            Self::NotTwiceAtOnce => "no task runs twice at once",
            Self::OnceAtMost => "a task that is not rerunnable runs once at most",
            Self::CanceledStaysCanceled => "what was canceled does not end as finished afterwards",
            Self::OverIsOver => "what was told as over stays over",
            Self::OneJob => "one submission is one job",
            Self::RefusedChangesNothing => "a refused submission runs nothing",
            Self::GangWhole => "a gang holds all its nodes at once",
        })
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}", self.claim)?;
        self.proof.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// What may be said while everything still runs: of the traces alone.
pub(super) fn check_traces(traces: &BTreeMap<String, Vec<Mark>>) -> Vec<Broken> {
    let twice = |marks: &&Vec<Mark>| marks.iter().any(|mark| matches!(mark, Mark::Twice { .. }));
    traces
        .iter()
        .filter(|(_, marks)| twice(marks))
        .map(|(name, marks)| broken(Claim::NotTwiceAtOnce, &[], name, marks))
        .collect()
}

/// Everything, once all is at rest.
pub(super) fn check(evidence: &Evidence) -> Vec<Broken> {
    let mut found = check_traces(&evidence.traces);
    let requests = Requests::of(&evidence.logs);
    for submission in &requests.submissions {
        match submission.fate {
            Fate::Taken { job } => check_job(evidence, &requests, submission, job, &mut found),
            Fate::Refused => {
                let ran = evidence.traces_of(&submission.key).next();
                found.extend(ran.map(|(name, marks)| {
                    broken(
                        Claim::RefusedChangesNothing,
                        &[format!("{:?}", submission.shape)],
                        name,
                        marks,
                    )
                }));
            }
            // Asked by a client that was killed in the end: either is right.
            Fate::Open => {}
        }
    }
    found
}

fn check_job(evidence: &Evidence, requests: &Requests, submission: &Submission, job: JobId, found: &mut Vec<Broken>) {
    let Submission { key, shape, .. } = submission;
    let told: Vec<(&TaskId, &Told)> = evidence.told.iter().filter(|(task, _)| task.job == job).collect();
    if told.len() != shape.tasks() as usize {
        let of = format!(
            "job {job}, {key}: {} tasks were acknowledged, {} are told",
            shape.tasks(),
            told.len()
        );
        found.push(Broken {
            claim: Claim::EndedAsTold,
            proof: vec![of],
        });
    }
    for (name, marks) in evidence.traces_of(key) {
        let other = marks
            .iter()
            .any(|mark| matches!(mark, Mark::Start { task, .. } if task.job != job));
        if other {
            found.push(broken(Claim::OneJob, &[format!("{key} is job {job}")], name, marks));
        }
        let starts = marks.iter().filter(|mark| matches!(mark, Mark::Start { .. })).count();
        if !shape.rerunnable && starts > 1 {
            found.push(broken(Claim::OnceAtMost, &[format!("{shape:?}")], name, marks));
        }
    }
    for (task, told) in told {
        let name = format!("{key}.{}.{}", task.number, task.step.map_or(0, |step| step.0));
        let marks = evidence.traces.get(&name).map_or(&[][..], Vec::as_slice);
        let one = One {
            task: *task,
            told,
            name: &name,
            marks,
            evidence,
            requests,
        };
        found.extend(
            [
                one.ended_as_told(),
                one.runs_again(shape),
                one.canceled(),
                one.over_is_over(),
            ]
            .into_iter()
            .flatten(),
        );
        if let Kind::Gang { nodes } = shape.kind {
            found.extend(one.gang_whole(nodes));
        }
    }
}

/// One task with all that is known of it.
struct One<'a> {
    task: TaskId,
    told: &'a Told,
    name: &'a str,
    marks: &'a [Mark],
    evidence: &'a Evidence,
    requests: &'a Requests,
}

impl One<'_> {
    fn broken(&self, claim: Claim, more: &[String]) -> Broken {
        let told = format!("task {}: in the end it is told as {:?}", self.task, self.told);
        broken(claim, &[&[told], more].concat(), self.name, self.marks)
    }

    /// The end with this code of the attempt that is told, or, when none is told, of any.
    fn end_with(&self, wanted: i32) -> Option<(AttemptId, u64)> {
        self.marks.iter().rev().find_map(|mark| match mark {
            Mark::End { attempt, at_ms, code } if *code == wanted => {
                let it = self.told.attempt.is_none_or(|told| told == *attempt);
                it.then_some((*attempt, *at_ms))
            }
            _ => None,
        })
    }

    fn ended_as_told(&self) -> Option<Broken> {
        let right = match &self.told.state {
            State::Live { .. } => false,
            State::Finished => self.end_with(0).is_some(),
            State::Exited { code } => self.end_with(*code).is_some(),
            State::Failed { .. } | State::Canceled => true,
        };
        (!right).then(|| self.broken(Claim::EndedAsTold, &[]))
    }

    /// A node that could not start it is another matter: that is told as its failure.
    fn runs_again(&self, shape: &Shape) -> Option<Broken> {
        let by_fault = matches!(&self.told.state, State::Failed { cause } if !cause.starts_with("NotStarted"));
        (shape.rerunnable && by_fault).then(|| self.broken(Claim::RunsAgain, &[]))
    }

    /// Only where nobody queued it again after the cancel was asked.
    fn canceled(&self) -> Option<Broken> {
        let cancel = self.requests.canceled(self.task)?;
        if self.requests.requeued(self.task) || self.told.state != State::Finished {
            return None;
        }
        let (_, ended_ms) = self.end_with(0)?;
        (ended_ms > cancel.answered_ms).then(|| {
            let line = format!(
                "its cancel was acknowledged at {} ms, it ended at {ended_ms} ms",
                cancel.answered_ms
            );
            self.broken(Claim::CanceledStaysCanceled, &[line])
        })
    }

    fn over_is_over(&self) -> Option<Broken> {
        if self.requests.requeued(self.task) {
            return None;
        }
        let (at_ms, earlier) = self.requests.over.get(&self.task)?;
        let start = self.marks.iter().find_map(|mark| match mark {
            Mark::Start { at_ms: started, .. } if started > at_ms => Some(*started),
            _ => None,
        });
        let line = format!("at {at_ms} ms it was told as {earlier:?}");
        match start {
            Some(start) => Some(self.broken(Claim::OverIsOver, &[line, format!("it started again at {start} ms")])),
            None if *earlier != self.told.state => Some(self.broken(Claim::OverIsOver, &[line])),
            None => None,
        }
    }

    fn gang_whole(&self, nodes: u32) -> Option<Broken> {
        if self.told.state != State::Finished {
            return None;
        }
        let (attempt, _) = self.end_with(0)?;
        let mut spans = Vec::new();
        let mut lines = Vec::new();
        for rank in 0..nodes {
            let name = rank_trace(self.name, rank);
            let marks = self.evidence.traces.get(&name).map_or(&[][..], Vec::as_slice);
            lines.extend(marks.iter().map(|mark| format!("{name}: {mark:?}")));
            spans.extend(span_of(marks, attempt));
        }
        let hosts: std::collections::BTreeSet<&str> = spans.iter().map(|(host, ..)| *host).collect();
        let last_start = spans.iter().map(|(_, start, _)| start).max();
        let first_end = spans.iter().map(|(.., end)| end).min();
        let whole = spans.len() == nodes as usize && hosts.len() == spans.len() && last_start <= first_end;
        (!whole).then(|| self.broken(Claim::GangWhole, &lines))
    }
}

/// Where and from when to when a rank of this attempt ran to its end.
fn span_of(marks: &[Mark], wanted: AttemptId) -> Option<(&str, u64, u64)> {
    let start = marks.iter().find_map(|mark| match mark {
        Mark::Start {
            attempt, at_ms, host, ..
        } if *attempt == wanted => Some((host.as_str(), *at_ms)),
        _ => None,
    })?;
    let end = marks.iter().find_map(|mark| match mark {
        Mark::End { attempt, at_ms, .. } if *attempt == wanted => Some(*at_ms),
        _ => None,
    })?;
    Some((start.0, start.1, end))
}

fn broken(claim: Claim, facts: &[String], name: &str, marks: &[Mark]) -> Broken {
    let lines = marks.iter().map(|mark| format!("trace {name}: {mark:?}"));
    Broken {
        claim,
        proof: facts.iter().cloned().chain(lines).collect(),
    }
}

impl Evidence {
    /// How much of it there is, for people.
    pub(super) fn counts(&self) -> String {
        let starts = self
            .traces
            .values()
            .flatten()
            .filter(|mark| matches!(mark, Mark::Start { .. }))
            .count();
        let count = |wanted: fn(&State) -> bool| self.told.values().filter(|told| wanted(&told.state)).count();
        format!(
            "{} tasks told: {} finished, {} failed by their exit code, {} by a fault, {} canceled; {starts} starts traced",
            self.told.len(),
            count(|state| *state == State::Finished),
            count(|state| matches!(state, State::Exited { .. })),
            count(|state| matches!(state, State::Failed { .. })),
            count(|state| *state == State::Canceled),
        )
    }

    fn traces_of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a str, &'a [Mark])> {
        let from = self.traces.range(key.to_owned()..);
        from.take_while(move |(name, _)| name.starts_with(key))
            .map(|(name, marks)| (name.as_str(), marks.as_slice()))
    }
}

/// What clients asked, with what came of it.
#[derive(Debug, Default)]
pub(super) struct Requests {
    submissions: Vec<Submission>,
    canceled_jobs: BTreeMap<JobId, Cancel>,
    canceled_tasks: BTreeMap<TaskId, Cancel>,
    /// Asked for, whatever the answer: a lost answer may have been a yes.
    requeued: Vec<TaskId>,
    /// When a task was first told as over, and how.
    over: BTreeMap<TaskId, (u64, State)>,
}

#[derive(Debug)]
struct Submission {
    key: String,
    shape: Shape,
    fate: Fate,
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Taken { job: JobId },
    Refused,
    Open,
}

#[derive(Debug, Clone, Copy)]
struct Cancel {
    answered_ms: u64,
}

impl Requests {
    /// Reads the logs.
    pub(super) fn of(logs: &[Vec<Line>]) -> Self {
        let mut all = Self::default();
        for log in logs {
            let mut asked = BTreeMap::new();
            for line in log {
                match line {
                    Line::Ask { number, wish, .. } => {
                        if let Wish::RequeueTask { task } = wish {
                            all.requeued.push(*task);
                        }
                        asked.insert(*number, wish);
                    }
                    Line::Answered { number, at_ms, answer } => {
                        if let Some(wish) = asked.remove(number) {
                            all.take(wish, answer, *at_ms);
                        }
                    }
                }
            }
            let open = asked.into_values().filter_map(|wish| match wish {
                Wish::Submit { key, shape } => Some(Submission {
                    key: key.clone(),
                    shape: *shape,
                    fate: Fate::Open,
                }),
                _ => None,
            });
            all.submissions.extend(open);
        }
        all
    }

    fn take(&mut self, wish: &Wish, answer: &Answer, at_ms: u64) {
        let cancel = Cancel { answered_ms: at_ms };
        match (wish, answer) {
            (Wish::Submit { key, shape }, answer) => {
                let fate = match answer {
                    Answer::Submitted { job } => Fate::Taken { job: *job },
                    _ => Fate::Refused,
                };
                self.submissions.push(Submission {
                    key: key.clone(),
                    shape: *shape,
                    fate,
                });
            }
            (Wish::CancelJob { job, .. }, Answer::Done) => drop(self.canceled_jobs.entry(*job).or_insert(cancel)),
            (Wish::CancelTask { task }, Answer::Done) => drop(self.canceled_tasks.entry(*task).or_insert(cancel)),
            (Wish::Look { .. }, Answer::Told { tasks }) => {
                for (task, told) in tasks {
                    if !matches!(told.state, State::Live { .. }) {
                        self.over.entry(*task).or_insert_with(|| (at_ms, told.state.clone()));
                    }
                }
            }
            _ => {}
        }
    }

    /// Jobs that were acknowledged.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.submissions.iter().filter_map(|submission| match submission.fate {
            Fate::Taken { job } => Some(job),
            Fate::Refused | Fate::Open => None,
        })
    }

    /// How many requests of each kind were answered, for people.
    pub(super) fn counts(&self) -> String {
        format!(
            "{} jobs acknowledged, {} canceled, {} tasks canceled, {} queued again",
            self.jobs().count(),
            self.canceled_jobs.len(),
            self.canceled_tasks.len(),
            self.requeued.len()
        )
    }

    fn canceled(&self, task: TaskId) -> Option<Cancel> {
        self.canceled_tasks
            .get(&task)
            .or_else(|| self.canceled_jobs.get(&task.job))
            .copied()
    }

    /// A requeue of one task of a job makes a job live again, and with it the fate of others: all of it counts.
    fn requeued(&self, task: TaskId) -> bool {
        self.requeued.iter().any(|other| other.job == task.job)
    }
}

#[cfg(test)]
mod tests;
