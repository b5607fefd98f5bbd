//! Made-up logs and traces: each broken promise is found, and what only looks like one is not.

use proto::ids::{Step, TaskNumber};

use super::*;

const KEY: &str = "0000000000000000000000000000000a";

const PLAIN: Shape = Shape {
    kind: Kind::Single { tasks: 1 },
    rerunnable: true,
    code: 0,
    millis: 1,
    litters: false,
};

fn task() -> TaskId {
    TaskId::new(JobId(1), TaskNumber(1))
}

/// One submission that became job 1, with one task told like this.
fn story(shape: Shape, state: State, attempt: u64, marks: Vec<Mark>) -> Evidence {
    let wish = Wish::Submit {
        key: KEY.to_owned(),
        shape,
    };
    let told = Told {
        state,
        attempt: Some(AttemptId(attempt)),
    };
    Evidence {
        logs: vec![asked(0, 10, wish, 20, Answer::Submitted { job: JobId(1) })],
        traces: [(format!("{KEY}.1.0"), marks)].into(),
        told: [(task(), told)].into(),
    }
}

fn asked(number: u64, from: u64, wish: Wish, to: u64, answer: Answer) -> Vec<Line> {
    vec![
        Line::Ask {
            number,
            at_ms: from,
            wish,
        },
        Line::Answered {
            number,
            at_ms: to,
            answer,
        },
    ]
}

fn start(attempt: u64, at_ms: u64) -> Mark {
    Mark::Start {
        attempt: AttemptId(attempt),
        task: task(),
        at_ms,
        host: "n1".to_owned(),
        pid: 1,
    }
}

fn end(attempt: u64, at_ms: u64, code: i32) -> Mark {
    Mark::End {
        attempt: AttemptId(attempt),
        at_ms,
        code,
    }
}

fn claims(evidence: &Evidence) -> Vec<Claim> {
    check(evidence).into_iter().map(|broken| broken.claim).collect()
}

#[test]
fn a_task_that_ended_as_told_is_right() {
    let right = story(
        PLAIN,
        State::Finished,
        2,
        vec![start(1, 30), start(2, 40), end(2, 50, 0)],
    );
    assert_eq!(claims(&right), []);
    let failed = story(PLAIN, State::Exited { code: 3 }, 1, vec![start(1, 30), end(1, 50, 3)]);
    assert_eq!(claims(&failed), []);
    let lost = State::Failed {
        cause: "NodeLost".to_owned(),
    };
    let once = Shape {
        rerunnable: false,
        ..PLAIN
    };
    assert_eq!(claims(&story(once, lost.clone(), 1, vec![start(1, 30)])), []);
    assert_eq!(
        claims(&story(PLAIN, lost, 1, vec![start(1, 30)])),
        [Claim::RunsAgain],
        "it should have run again"
    );
    // An end that nobody saw before its node was lost, and a second attempt.
    let again = vec![start(1, 30), end(1, 40, 0), start(2, 50), end(2, 60, 0)];
    assert_eq!(claims(&story(PLAIN, State::Finished, 2, again)), []);
}

#[test]
fn an_end_that_never_was_is_found() {
    for state in [
        State::Finished,
        State::Exited { code: 3 },
        State::Live {
            word: "Queued".to_owned(),
        },
    ] {
        let wrong = story(PLAIN, state, 2, vec![start(1, 30), end(1, 40, 0), start(2, 50)]);
        assert_eq!(claims(&wrong), [Claim::EndedAsTold]);
    }
}

#[test]
fn a_job_that_was_lost_is_found() {
    let mut lost = story(PLAIN, State::Finished, 1, vec![start(1, 30), end(1, 40, 0)]);
    lost.told.clear();
    assert_eq!(claims(&lost), [Claim::EndedAsTold]);
}

#[test]
fn two_attempts_at_once_are_found() {
    let twice = Mark::Twice {
        attempt: AttemptId(2),
        at_ms: 35,
        host: "n2".to_owned(),
    };
    let wrong = story(
        PLAIN,
        State::Finished,
        2,
        vec![start(1, 30), start(2, 35), twice, end(2, 50, 0)],
    );
    assert_eq!(claims(&wrong), [Claim::NotTwiceAtOnce]);
}

#[test]
fn a_second_run_of_what_may_run_once_is_found() {
    let once = Shape {
        rerunnable: false,
        ..PLAIN
    };
    let marks = vec![start(1, 30), start(2, 40), end(2, 50, 0)];
    assert_eq!(claims(&story(once, State::Finished, 2, marks)), [Claim::OnceAtMost]);
}

#[test]
fn a_good_end_after_a_cancel_is_found() {
    let with_cancel = |ended| {
        let mut story = story(PLAIN, State::Finished, 1, vec![start(1, 30), end(1, ended, 0)]);
        let wish = Wish::CancelJob {
            job: JobId(1),
            force: false,
        };
        story.logs.push(asked(0, 100, wish, 110, Answer::Done));
        story
    };
    assert_eq!(claims(&with_cancel(120)), [Claim::CanceledStaysCanceled]);
    assert_eq!(claims(&with_cancel(105)), [], "it ended before the cancel was known");
    let mut requeued = with_cancel(120);
    let wish = Wish::RequeueTask { task: task() };
    requeued.logs.push(asked(0, 111, wish, 112, Answer::Done));
    assert_eq!(claims(&requeued), [], "somebody wanted it to run again");
}

#[test]
fn what_was_over_and_is_not_any_more_is_found() {
    let told_before = |state: State, marks| {
        let mut story = story(PLAIN, State::Finished, 2, marks);
        let told = Told {
            state,
            attempt: Some(AttemptId(1)),
        };
        let answer = Answer::Told {
            tasks: vec![(task(), told)],
        };
        story.logs.push(asked(0, 60, Wish::Look { job: JobId(1) }, 61, answer));
        story
    };
    let again = vec![start(1, 30), end(1, 40, 0), start(2, 70), end(2, 80, 0)];
    assert_eq!(claims(&told_before(State::Finished, again)), [Claim::OverIsOver]);
    let other = vec![start(2, 30), end(2, 40, 0)];
    assert_eq!(claims(&told_before(State::Canceled, other)), [Claim::OverIsOver]);
}

#[test]
fn one_submission_that_became_two_jobs_is_found() {
    let mut marks = vec![start(1, 30), end(1, 40, 0)];
    marks.push(Mark::Start {
        attempt: AttemptId(2),
        task: TaskId::new(JobId(2), TaskNumber(1)),
        at_ms: 50,
        host: "n1".to_owned(),
        pid: 2,
    });
    assert_eq!(claims(&story(PLAIN, State::Finished, 1, marks)), [Claim::OneJob]);
}

#[test]
fn a_refused_submission_that_runs_is_found() {
    let mut refused = story(PLAIN, State::Finished, 1, vec![start(1, 30), end(1, 40, 0)]);
    let wish = Wish::Submit {
        key: KEY.to_owned(),
        shape: PLAIN,
    };
    let no = Answer::Refused {
        code: "Invalid".to_owned(),
        what: String::new(),
    };
    refused.logs = vec![asked(0, 10, wish, 20, no)];
    assert_eq!(claims(&refused), [Claim::RefusedChangesNothing]);
}

#[test]
fn a_gang_in_parts_is_found() {
    let gang = Shape {
        kind: Kind::Gang { nodes: 2 },
        ..PLAIN
    };
    let rank = |host: &str, from, to| {
        let start = Mark::Start {
            attempt: AttemptId(1),
            task: task(),
            at_ms: from,
            host: host.to_owned(),
            pid: 1,
        };
        vec![start, end(1, to, 0)]
    };
    let with = |ranks: [Vec<Mark>; 2]| {
        let mut story = story(gang, State::Finished, 1, vec![start(1, 30), end(1, 90, 0)]);
        for (number, marks) in (0..).zip(ranks) {
            story.traces.insert(format!("{KEY}.1.0.rank{number}"), marks);
        }
        claims(&story)
    };
    assert_eq!(with([rank("n1", 40, 60), rank("n2", 50, 70)]), []);
    assert_eq!(
        with([rank("n1", 40, 60), rank("n2", 61, 70)]),
        [Claim::GangWhole],
        "one after the other"
    );
    assert_eq!(
        with([rank("n1", 40, 60), rank("n1", 50, 70)]),
        [Claim::GangWhole],
        "on one node"
    );
    assert_eq!(
        with([rank("n1", 40, 60), Vec::new()]),
        [Claim::GangWhole],
        "one was never there"
    );
}

#[test]
fn steps_of_a_sweep_have_traces_of_their_own() {
    let sweep = Shape {
        kind: Kind::Sweep { steps: 2 },
        rerunnable: false,
        ..PLAIN
    };
    let mut story = story(sweep, State::Finished, 1, Vec::new());
    story.told.clear();
    story.traces.clear();
    for step in [1, 2] {
        let id = TaskId {
            step: Some(Step(step)),
            ..task()
        };
        // Of a packed element the attempt is not told.
        story.told.insert(
            id,
            Told {
                state: State::Finished,
                attempt: None,
            },
        );
        story.traces.insert(
            format!("{KEY}.1.{step}"),
            vec![start(u64::from(step), 30), end(u64::from(step), 40, 0)],
        );
    }
    assert_eq!(claims(&story), []);
    story.traces.remove(&format!("{KEY}.1.2"));
    assert_eq!(claims(&story), [Claim::EndedAsTold]);
}
