//! What lists show, from memory and from the store alike, and to whom.

use std::collections::BTreeSet;

use proto::client::{JobFilter, RefusalCode};
use proto::ids::{Step, SubmissionId, TaskNumber, UserName};
use proto::model::job::{JobKind, JobOutcome};
use proto::model::line::TaskLine;
use proto::model::owner::{Owner, Role};
use proto::model::sweep::Sweep;
use proto::model::task::TaskOutcome;
use proto::model::user::LoginToken;
use scheduler::Settings;

use super::*;
use crate::store::MemoryStore;

/// A view whose events are stored as the committer would.
struct Reader {
    view: View,
    writer: Cluster,
    store: Arc<MemoryStore>,
}

impl Reader {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        Self {
            view: View::new(Cluster::new(Settings::default()), Arc::clone(&store) as Arc<dyn Store>),
            writer: Cluster::new(Settings::default()),
            store,
        }
    }

    fn happens(&mut self, events: Vec<Event>) {
        for event in &events {
            self.writer.apply(event);
        }
        self.store.commit(&self.writer.take_changes()).expect("commits");
        self.view.apply(events, self.writer.sequence(), Timestamp(9));
    }

    fn job(&mut self, number: u64, owner: u32, spec: JobSpec, tasks: Vec<TaskSpec>) {
        self.happens(vec![Event::JobAdded {
            job: JobId(number),
            submission: SubmissionId(u128::from(number)),
            owner: who(owner, Role::User).owner,
            spec: Box::new(spec),
            tasks,
            at: Timestamp(number * 10),
            schedule: None,
        }]);
    }

    fn ends(&mut self, number: u64, tasks: &[TaskId]) {
        let at = Timestamp(100);
        let mut events: Vec<Event> = tasks
            .iter()
            .map(|task| Event::TaskEnded {
                task: *task,
                outcome: TaskOutcome::Canceled,
                at,
            })
            .collect();
        events.push(Event::JobEnded {
            job: JobId(number),
            outcome: JobOutcome::Finished,
            at,
        });
        self.happens(events);
    }

    fn jobs(&self, caller: &Caller, filter: &JobFilter) -> (Vec<u64>, bool) {
        match self.view.jobs(caller, filter, Now::default()).expect("lists") {
            Reply::Jobs { jobs, more, .. } => (jobs.iter().map(|job| job.id.0).collect(), more),
            other => panic!("{other:?}"),
        }
    }

    /// Lines with how many tasks each is of.
    fn lines(&self, job: u64, after: Option<TaskId>) -> Vec<(String, u32)> {
        let root = who(0, Role::Administrator);
        let Reply::TaskLines { lines, more: false, .. } =
            self.view.task_lines(&root, JobId(job), after).expect("lists")
        else {
            panic!("all lines");
        };
        let count = |line: &TaskLine| match line {
            TaskLine::Task(_) => 1,
            TaskLine::Sweep(sweep) => sweep.counts.total(),
        };
        lines.iter().map(|line| (line.id().to_string(), count(line))).collect()
    }

    fn tasks(&self, job: u64, after: Option<TaskId>, states: &[&str]) -> Vec<String> {
        let states: Vec<String> = states.iter().map(|&state| state.to_owned()).collect();
        let root = who(0, Role::Administrator);
        match self.view.tasks(&root, JobId(job), after, &states).expect("lists") {
            Reply::Tasks { tasks, .. } => tasks.iter().map(|task| task.id.to_string()).collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn who(uid: u32, role: Role) -> Caller {
    let owner = Owner {
        name: format!("u{uid}"),
        uid,
        gid: uid,
    };
    Caller { owner, role }
}

fn task() -> TaskSpec {
    TaskSpec::of_command(vec!["true".to_owned()])
}

fn id(job: u64, number: u32) -> TaskId {
    TaskId::new(JobId(job), TaskNumber(number))
}

#[test]
fn filters_choose_jobs_in_memory_and_in_the_store_alike() {
    let mut reader = Reader::new();
    let of_project = JobSpec {
        project: "fluid".to_owned(),
        ..JobSpec::default()
    };
    let admin = JobSpec {
        kind: JobKind::Admin,
        ..JobSpec::default()
    };
    reader.job(1, 7, of_project, vec![task()]);
    reader.job(2, 7, JobSpec::default(), vec![task()]);
    reader.job(3, 8, JobSpec::default(), vec![task()]);
    reader.job(4, 7, admin, vec![task()]);
    for ended in [false, true] {
        let seven = who(7, Role::User);
        let all = JobFilter {
            all_users: true,
            ended,
            ..JobFilter::default()
        };
        assert_eq!(reader.jobs(&seven, &all), (vec![2, 1], false), "their own, no commands");
        assert_eq!(reader.jobs(&who(9, Role::Operator), &all).0, [3, 2, 1]);
        let with = |change: &dyn Fn(&mut JobFilter)| {
            let mut filter = all.clone();
            change(&mut filter);
            reader.jobs(&seven, &filter)
        };
        assert_eq!(with(&|filter| filter.admin = true).0, [4, 2, 1]);
        assert_eq!(with(&|filter| filter.project = Some("fluid".to_owned())).0, [1]);
        assert_eq!(with(&|filter| filter.since = Some(Timestamp(20))).0, [2]);
        assert_eq!(with(&|filter| filter.limit = Some(1)), (vec![2], true));
        assert_eq!(
            with(&|filter| filter.limit = Some(2)),
            (vec![2, 1], false),
            "exactly all"
        );
        assert_eq!(
            with(&|filter| filter.states = vec!["queued".to_owned()]).0.len(),
            if ended { 1 } else { 2 }
        );
        if !ended {
            reader.ends(1, &[id(1, 1)]);
            assert_eq!(
                reader.jobs(&seven, &JobFilter::default()).0,
                [2],
                "what is over is not shown unasked"
            );
        }
    }
    let wrong = JobFilter {
        states: vec!["runing".to_owned()],
        ..JobFilter::default()
    };
    let refused = reader
        .view
        .jobs(&who(7, Role::User), &wrong, Now::default())
        .expect_err("no state");
    assert_eq!(refused.code, RefusalCode::Invalid);
    assert!(refused.remedy.contains("did you mean 'Running'"), "{refused}");
}

#[test]
fn tasks_page_through_sweeps_in_memory_and_in_the_store_alike() {
    let mut reader = Reader::new();
    let mut sweep = task();
    sweep.sweep = Some(Sweep::new(1, 3, 1).expect("a sweep"));
    reader.job(1, 7, JobSpec::default(), vec![task(), sweep, task()]);
    let all = ["1.1", "1.2.1", "1.2.2", "1.2.3", "1.3"];
    let step = TaskId {
        step: Some(Step(2)),
        ..id(1, 2)
    };
    for _ in 0..2 {
        assert_eq!(reader.tasks(1, None, &[]), all);
        assert_eq!(reader.tasks(1, Some(step), &[]), ["1.2.3", "1.3"]);
        assert_eq!(reader.tasks(1, Some(id(1, 3)), &[]), [""; 0]);
        // An array is one line, wherever in it the list before has ended.
        assert_eq!(
            reader.lines(1, None),
            [("1.1".to_owned(), 1), ("1.2".to_owned(), 3), ("1.3".to_owned(), 1)]
        );
        assert_eq!(reader.lines(1, Some(step)), [("1.3".to_owned(), 1)]);
        assert!(
            reader
                .view
                .tasks(&who(7, Role::User), JobId(1), Some(id(2, 1)), &[])
                .is_err()
        );
        let live: Vec<TaskId> = reader.writer.tasks_of(JobId(1)).map(|task| task.id).collect();
        if !live.is_empty() {
            assert_eq!(reader.tasks(1, None, &["failed", "QUEUED"]), all);
            reader.ends(1, &live);
            assert_eq!(reader.tasks(1, None, &["canceled"]), all);
        }
    }
    let named = |asked: &[TaskId]| reader.view.stages(&who(7, Role::User), JobId(1), asked);
    let told = |asked: &[TaskId]| named(asked).expect("is there").tasks.len();
    assert_eq!(
        (told(&[]), told(&[id(1, 2)]), told(&[step]), told(&[step, id(1, 1)])),
        (3, 1, 1, 2),
        "of elements that nobody touched the row of their array tells, unless they are asked for"
    );
    assert_eq!(told(&[step, id(1, 2)]), 2, "each once");
    let beyond = TaskId {
        step: Some(Step(4)),
        ..step
    };
    assert!(named(&[beyond]).is_err());
    assert!(
        named(&[id(1, 4)])
            .expect_err("no such task")
            .what
            .contains("1.1 to 1.3")
    );
    let live = reader.view.stages_of(JobId(1), &BTreeSet::from([step]));
    assert_eq!(live, None, "the job has left memory");
}

#[test]
fn hashes_of_tokens_stay_and_users_see_themselves() {
    let mut reader = Reader::new();
    for (uid, role) in [(7, Role::User), (8, Role::Operator)] {
        let name = UserName::new(&format!("u{uid}")).expect("a name");
        let offered = LoginToken {
            hash: "cd".repeat(32),
            expires_at: Timestamp(5),
        };
        reader.happens(vec![
            Event::UserAdded {
                name: name.clone(),
                uid,
                gid: uid,
                role,
                at: Timestamp(1),
            },
            Event::LoginOffered { name, token: offered },
        ]);
    }
    let seen = |caller: &Caller| match reader.view.users(caller) {
        Reply::Users { users } => users,
        other => panic!("{other:?}"),
    };
    assert_eq!(seen(&who(7, Role::User)).len(), 1);
    assert_eq!(seen(&who(9, Role::User)).len(), 0);
    let all = seen(&who(0, Role::Administrator));
    assert_eq!(all.len(), 2);
    for user in all {
        assert_eq!(user.login.expect("a token waits").hash, "");
    }
    assert_eq!(reader.view.role_of("u8", 8), Some(Role::Operator));
    assert_eq!(reader.view.role_of("u8", 1008), None, "another account of that name");
    assert_eq!(reader.view.role_of("u9", 9), None);
}

fn ready<F: Future>(future: F) -> bool {
    std::pin::pin!(future)
        .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
        .is_ready()
}

#[test]
fn a_watcher_is_woken_by_its_own_job_and_by_changed_rights() {
    let mut reader = Reader::new();
    reader.job(1, 1000, JobSpec::default(), vec![task()]);
    reader.job(2, 1000, JobSpec::default(), vec![task()]);
    let (mut first, mut other) = (reader.view.watch(JobId(1)), reader.view.watch(JobId(2)));
    assert!(!ready(first.news()), "nothing yet");

    reader.job(3, 1001, JobSpec::default(), vec![task()]);
    assert!(!ready(first.news()) && !ready(other.news()), "somebody else's job");

    reader.ends(1, &[id(1, 1)]);
    assert!(ready(first.news()) && ready(first.over()));
    assert!(!ready(other.news()) && !ready(other.over()));
    first.look();
    assert!(!ready(first.news()), "seen");

    reader.happens(vec![Event::UserAdded {
        name: UserName::new("eve").expect("a name"),
        uid: 1002,
        gid: 1002,
        role: Role::User,
        at: Timestamp(1),
    }]);
    assert!(ready(first.news()) && ready(other.news()), "each looks at their rights");
    assert!(!ready(other.over()));
}

#[test]
fn nothing_is_kept_of_jobs_that_nobody_watches() {
    let reader = Reader::new();
    let (one, two) = (reader.view.watch(JobId(1)), reader.view.watch(JobId(1)));
    let _other = reader.view.watch(JobId(2));
    drop(one);
    assert_eq!(reader.view.watchers.count(), 2);
    drop(two);
    assert_eq!(reader.view.watchers.count(), 1);
}

#[test]
fn tasks_that_are_read_in_parts_are_whole_and_in_order() {
    let mut reader = Reader::new();
    let mut sweep = task();
    sweep.sweep = Sweep::new(1, 600, 1).ok();
    let mut tasks = vec![task(); 300];
    tasks.push(sweep);
    tasks.extend(vec![task(); 300]);
    reader.job(1, 1000, JobSpec::default(), tasks);
    let seen = reader.tasks(1, None, &[]);
    assert_eq!(seen.len(), 1200);
    assert_eq!((seen[299].as_str(), seen[300].as_str()), ("1.300", "1.301.1"));
    assert_eq!((seen[899].as_str(), seen[900].as_str()), ("1.301.600", "1.302"));
    assert_eq!(seen[1199], "1.601");
    let lines = reader.lines(1, None);
    assert_eq!(lines.len(), 601);
    assert_eq!((lines[300].1, lines[600].0.as_str()), (600, "1.601"));
}

#[test]
fn a_list_that_is_read_in_parts_is_whole_and_in_order() {
    let mut reader = Reader::new();
    for number in 1..=700 {
        reader.job(number, 1000, JobSpec::default(), vec![task()]);
    }
    let all: Vec<u64> = (1..=700).rev().collect();
    let caller = who(1000, Role::User);
    assert_eq!(reader.jobs(&caller, &JobFilter::default()), (all, false));
    let some = JobFilter {
        limit: Some(300),
        ..JobFilter::default()
    };
    assert_eq!(reader.jobs(&caller, &some), ((401..=700).rev().collect(), true));
}
