//! Checked commands: what `args` read, with every value in a type that cannot be wrong.
//!
//! What needs the cluster to be judged (does that group exist?) is left to the head node.

use std::path::PathBuf;

use proto::client::JobFilter;
use proto::ids::{GroupName, JobId, NodeName, PoolName, SubmissionId, TaskId};
use proto::model::job::{Env, JobSpec};
use proto::model::node::AdminState;
use proto::model::task::{Request as Needs, TaskSpec};
use proto::units::Millis;

use crate::args::table::{Key, Verb};
use crate::args::{Options, UsageError};
use crate::render::Form;
use crate::value::{self, ValueError};

/// The words for states of jobs that a filter may name: ours, and HPC Pack's for all of them.
const JOB_STATES: &[&str] = &[
    "Queued",
    "Running",
    "Canceling",
    "Finished",
    "Failed",
    "Canceled",
    "All",
];

const NODE_STATES: &[(&str, AdminState)] = &[
    ("Online", AdminState::Online),
    ("Draining", AdminState::Draining),
    ("Offline", AdminState::Offline),
];

/// A name for people: longer ones break every table.
const LONGEST_NAME: usize = 128;

/// A checked command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "one for each row of the table of commands, which describes them"
)]
pub enum Command {
    JobSubmit(Box<Submission>),
    JobList(JobFilter),
    JobView(JobId),
    JobWait(JobId),
    JobCancel {
        job: JobId,
        force: bool,
        message: String,
    },
    JobWhy(JobId),
    TaskList(JobId),
    TaskView {
        task: TaskId,
        all: bool,
    },
    NodeList {
        group: Option<GroupName>,
        states: Vec<AdminState>,
    },
    NodeView(NodeName),
    NodeSwitch {
        nodes: Vec<NodeName>,
        admin: AdminState,
    },
    GroupList,
    GroupAdd {
        group: GroupName,
        nodes: Vec<NodeName>,
    },
    GroupRemove {
        group: GroupName,
        nodes: Vec<NodeName>,
    },
    PoolList,
    PoolView(PoolName),
    Up(UpRequest),
    Down {
        purge: bool,
    },
    Env,
    Status,
    Token {
        pool: PoolName,
        groups: Vec<GroupName>,
        uses: u32,
        lifetime: Millis,
    },
}

/// A job with its one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Given by the user; none means a new one.
    pub id: Option<SubmissionId>,
    /// The job.
    pub job: JobSpec,
    /// Its task.
    pub task: TaskSpec,
}

/// What `muster up` shall start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpRequest {
    /// How many compute nodes; none means as many as there were, else four.
    pub nodes: Option<u32>,
    /// Cores that each offers; none means all of the machine.
    pub cores_per_node: Option<u32>,
    /// Of the head node; none means the one it had, else a free one.
    pub port: Option<u16>,
    /// Throw away what was there.
    pub fresh: bool,
}

/// Options that say where the cluster is and how answers look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Globals {
    /// `--scheduler`
    pub scheduler: Option<String>,
    /// `--socket`
    pub socket: Option<PathBuf>,
    /// `--state`, where the cluster is meant.
    pub state: Option<PathBuf>,
    /// `--output`
    pub form: Form,
}

impl Globals {
    /// Reads them.
    ///
    /// # Errors
    /// A form of output that there is none of.
    pub fn of(options: &Options) -> Result<Self, UsageError> {
        let form = options.read(Key::Output, |text| value::word(text, &["table", "json", "quiet"]))?;
        let format = options.read(Key::Format, |text| value::word(text, &["list", "table"]))?;
        Ok(Self {
            scheduler: options.text(Key::Scheduler).map(str::to_owned),
            socket: options.text(Key::Socket).map(PathBuf::from),
            state: options.text(Key::State).map(PathBuf::from),
            form: match (form, format) {
                (Some("json"), _) => Form::Json,
                (Some("quiet"), _) => Form::Quiet,
                (_, Some("list")) => Form::List,
                _ => Form::Table,
            },
        })
    }
}

/// Checks a command. `here` is the directory of the caller, for advice only.
///
/// # Errors
/// The first value that cannot be read, and what to type instead.
pub fn checked(verb: Verb, options: &Options, words: &[String], here: Option<&str>) -> Result<Command, UsageError> {
    let job = || id_of::<JobId>(verb, words);
    Ok(match verb {
        Verb::JobSubmit => Command::JobSubmit(Box::new(submission(options, words, here)?)),
        Verb::JobList => Command::JobList(job_filter(options)?),
        Verb::JobView => Command::JobView(job()?),
        Verb::JobWait => Command::JobWait(job()?),
        Verb::JobCancel => Command::JobCancel {
            job: job()?,
            force: options.flag(Key::Force)?,
            message: options
                .read(Key::Message, |text| value::short_text(text, 128))?
                .unwrap_or_default(),
        },
        Verb::JobWhy => Command::JobWhy(job()?),
        Verb::TaskList => Command::TaskList(job()?),
        Verb::TaskView => Command::TaskView {
            task: id_of(verb, words)?,
            all: options.flag(Key::All)?,
        },
        Verb::NodeList => Command::NodeList {
            group: options.read(Key::Group, GroupName::new)?,
            states: options.read(Key::NodeState, node_states)?.unwrap_or_default(),
        },
        Verb::NodeView => Command::NodeView(id_of(verb, words)?),
        Verb::NodeOnline => Command::NodeSwitch {
            nodes: switched(verb, options, words)?,
            admin: AdminState::Online,
        },
        // HPC Pack's offline lets tasks finish: the node drains first.
        Verb::NodeOffline => Command::NodeSwitch {
            nodes: switched(verb, options, words)?,
            admin: AdminState::Draining,
        },
        Verb::GroupList => Command::GroupList,
        Verb::GroupAdd => Command::GroupAdd {
            group: id_of(verb, words)?,
            nodes: node_words(verb, &words[1..])?,
        },
        Verb::GroupRemove => Command::GroupRemove {
            group: id_of(verb, words)?,
            nodes: node_words(verb, &words[1..])?,
        },
        Verb::PoolList => Command::PoolList,
        Verb::PoolView => Command::PoolView(id_of(verb, words)?),
        Verb::Up => Command::Up(up(options)?),
        Verb::Down => Command::Down {
            purge: options.flag(Key::Purge)?,
        },
        Verb::Env => Command::Env,
        Verb::Status => Command::Status,
        Verb::Token => token(options)?,
    })
}

/// The first word; the table has seen to it that there is one.
fn id_of<T>(verb: Verb, words: &[String]) -> Result<T, UsageError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let word = words.first().map_or("", String::as_str);
    word.parse().map_err(|error: T::Err| UsageError::BadWord {
        wrong: error.to_string(),
        usage: verb.spec().usage(),
    })
}

fn node_words(verb: Verb, words: &[String]) -> Result<Vec<NodeName>, UsageError> {
    let mut nodes = Vec::new();
    for word in words {
        let wrong = |error: ValueError| UsageError::BadWord {
            wrong: error.to_string(),
            usage: verb.spec().usage(),
        };
        nodes.extend(value::nodes(word).map_err(wrong)?);
    }
    Ok(nodes)
}

/// Nodes to switch: the head takes no names for all of them.
fn switched(verb: Verb, options: &Options, words: &[String]) -> Result<Vec<NodeName>, UsageError> {
    let all = options.flag(Key::All)?;
    match (all, words.first()) {
        (true, None) => Ok(Vec::new()),
        (false, Some(_)) => node_words(verb, words),
        (true, Some(word)) => Err(UsageError::Conflict {
            first: "--all".to_owned(),
            second: format!("'{word}'"),
        }),
        (false, None) => Err(UsageError::MissingWord {
            place: verb.spec().title(),
            needs: "a node, or --all",
            usage: verb.spec().usage(),
        }),
    }
}

fn job_filter(options: &Options) -> Result<JobFilter, UsageError> {
    let all = options.flag(Key::All)?;
    let states = options
        .read(Key::JobState, |text| value::words_of(text, JOB_STATES))?
        .unwrap_or_default();
    let every = states.iter().any(|state| state == "All");
    Ok(JobFilter {
        all_users: all,
        ended: all || !states.is_empty(),
        user: options.text(Key::User).map(str::to_owned),
        states: if every { Vec::new() } else { states },
        name: options.text(Key::JobName).map(str::to_owned),
    })
}

fn node_states(text: &str) -> Result<Vec<AdminState>, ValueError> {
    let words: Vec<&'static str> = NODE_STATES.iter().map(|(word, _)| *word).collect();
    let given = value::words_of(text, &words)?;
    let named = NODE_STATES
        .iter()
        .filter(|(word, _)| given.iter().any(|given| given == word));
    Ok(named.map(|(_, state)| *state).collect())
}

fn submission(options: &Options, words: &[String], here: Option<&str>) -> Result<Submission, UsageError> {
    let needs = needs(options)?;
    let name = |key| options.read(key, |text| value::short_text(text, LONGEST_NAME));
    let runtime_limit = options.read(Key::RunTime, value::run_time)?.flatten();
    let job = JobSpec {
        name: name(Key::JobName)?.unwrap_or_default(),
        priority: options.read(Key::Priority, value::priority)?.unwrap_or_default(),
        pool: options.read(Key::Pool, PoolName::new)?,
        node_groups: options.read(Key::NodeGroup, value::groups)?.unwrap_or_default(),
        requested_nodes: options.read(Key::RequestedNodes, value::nodes)?.unwrap_or_default(),
        exclusive: options.flag(Key::Exclusive)?,
        runtime_limit,
        env: env(options, Key::JobEnv)?,
    };
    let mut task = TaskSpec::of_command(words.to_vec());
    task.name = name(Key::TaskName)?.unwrap_or_default();
    task.request = needs;
    if options.one(Key::Rerunnable).is_some() {
        task.rerunnable = options.flag(Key::Rerunnable)?;
    }
    // The job's limit is the head node's to keep; the node keeps the task's, also while the head node is away.
    task.runtime_limit = runtime_limit;
    task.workdir = options.read(Key::WorkDir, |text| value::workdir(text, here))?;
    task.stdout = options.text(Key::StdOut).map(str::to_owned);
    task.stderr = options.text(Key::StdErr).map(str::to_owned);
    task.env = env(options, Key::Env)?;
    let id = options.read(Key::SubmissionId, |text| text.parse().map_err(|_| ValueError::Hex))?;
    Ok(Submission { id, job, task })
}

fn needs(options: &Options) -> Result<Needs, UsageError> {
    let nodes = options.read(Key::NumNodes, value::amount)?;
    let cores = options.read(Key::NumCores, value::amount)?;
    match (nodes, cores) {
        (Some(_), Some(_)) => {
            let spelled = |key| options.one(key).map(|given| given.spelled.clone()).unwrap_or_default();
            Err(UsageError::Conflict {
                first: spelled(Key::NumNodes),
                second: spelled(Key::NumCores),
            })
        }
        (Some(count), None) => Ok(Needs::Nodes { count }),
        (None, Some(count)) => Ok(Needs::Cores { count }),
        (None, None) => Ok(Needs::default()),
    }
}

fn env(options: &Options, key: Key) -> Result<Env, UsageError> {
    let mut env = Env::new();
    for given in options.all(key) {
        value::variables(given.text(), &mut env).map_err(|error| given.refuse(error.to_string()))?;
    }
    Ok(env)
}

fn up(options: &Options) -> Result<UpRequest, UsageError> {
    let port = options.read(Key::Port, |text| value::number(text, 1, u32::from(u16::MAX)))?;
    Ok(UpRequest {
        nodes: options.read(Key::Nodes, |text| value::number(text, 1, crate::local::MOST_NODES))?,
        cores_per_node: options.read(Key::CoresPerNode, |text| value::number(text, 1, 65_536))?,
        port: port.and_then(|port| u16::try_from(port).ok()),
        fresh: options.flag(Key::Fresh)?,
    })
}

fn token(options: &Options) -> Result<Command, UsageError> {
    let pool = options.read(Key::Pool, PoolName::new)?;
    let missing = || UsageError::MissingWord {
        place: Verb::Token.spec().title(),
        needs: "--pool, the pool that the nodes join",
        usage: "muster token --pool POOL [--groups G1,G2] [--uses N] [--lifetime 1h]".to_owned(),
    };
    Ok(Command::Token {
        pool: pool.ok_or_else(missing)?,
        groups: options.read(Key::Groups, value::groups)?.unwrap_or_default(),
        uses: options
            .read(Key::Uses, |text| value::number(text, 1, 1_000_000))?
            .unwrap_or(1),
        lifetime: options
            .read(Key::Lifetime, value::span)?
            .unwrap_or(Millis::from_seconds(3600)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Invocation, parse};

    fn command(line: &str) -> Result<Command, UsageError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match parse(&words[0], &words[1..])? {
            Invocation::Do { verb, options, words } => {
                Globals::of(&options)?;
                checked(verb, &options, &words, Some("/home/a"))
            }
            other => panic!("{other:?}"),
        }
    }

    fn submitted(line: &str) -> Submission {
        match command(line) {
            Ok(Command::JobSubmit(submission)) => *submission,
            other => panic!("{other:?}"),
        }
    }

    fn refused(line: &str) -> String {
        command(line).expect_err(line).to_string()
    }

    #[test]
    fn a_submission_with_everything() {
        let given = submitted(
            "job submit /numnodes:2 /nodegroup:a,b --requested-nodes n[1-2] /exclusive /priority:Normal+10 /runtime:1:30 \
             /jobname:j /name:t /workdir:/w /stdout:o /stderr:e /env:A=1;B= --env C=3 /jobenv:D=4 /rerunnable:false \
             /pool:p --submission-id ff prog -x",
        );
        assert_eq!(given.id, Some(SubmissionId(255)));
        assert_eq!(given.job.node_groups.len(), 2);
        assert_eq!(given.job.requested_nodes.len(), 2);
        assert!(given.job.exclusive && !given.task.rerunnable);
        assert_eq!(given.job.priority.hpc(), 2010);
        assert_eq!(given.job.runtime_limit, Some(Millis::from_seconds(5400)));
        assert_eq!(given.job.pool, PoolName::new("p").ok());
        assert_eq!(given.task.request, Needs::Nodes { count: 2 });
        assert_eq!((given.job.name.as_str(), given.task.name.as_str()), ("j", "t"));
        assert_eq!(given.task.env.len(), 3);
        assert_eq!(given.task.env["B"], None);
        assert_eq!(given.job.env["D"].as_deref(), Some("4"));
        assert_eq!(given.task.command, ["prog", "-x"]);
        assert_eq!(given.task.workdir.as_deref(), Some("/w"));
    }

    #[test]
    fn a_submission_with_nothing() {
        let given = submitted("job submit hostname");
        assert_eq!(given.job, JobSpec::default());
        assert_eq!(given.task, TaskSpec::of_command(vec!["hostname".to_owned()]));
        assert!(!submitted("job submit /exclusive:false x").job.exclusive);
    }

    #[test]
    fn wrong_values_are_named_with_their_option() {
        assert_eq!(
            refused("job submit /numnodes:four x"),
            "/numnodes: 'four': use a whole number from 1 to 1000000"
        );
        assert_eq!(
            refused("job submit --num-nodes=2-4 x"),
            "--num-nodes: '2-4': a range is not supported yet; give one number"
        );
        assert_eq!(
            refused("job submit /workdir:run x"),
            "/workdir: 'run': it must be an absolute path: the nodes know nothing of this directory; write /home/a/run"
        );
        assert_eq!(
            refused("job submit /numnodes:1 /numcores:2 x"),
            "/numnodes and /numcores exclude each other; give one of them"
        );
        assert_eq!(
            refused("job submit /exclusive:maybe x"),
            "/exclusive: 'maybe': use true or false"
        );
        assert_eq!(
            refused("job view twelve"),
            "'twelve' is no job id: expected a whole number from 1; write job view [OPTIONS] JOB"
        );
        assert!(refused("task view 7").starts_with("'7' is no task id: expected JOB.TASK, for example 12.1"));
        assert!(refused("job list -o xml").contains("use table, json, quiet"));
        assert!(refused("job list /state:Faild").contains("did you mean 'Failed'?"));
        assert!(refused("node online").contains("a node, or --all"));
        assert!(refused("node offline --all n1").contains("exclude each other"));
    }

    #[test]
    fn filters() {
        let filter = |line| match command(line) {
            Ok(Command::JobList(filter)) => filter,
            other => panic!("{other:?}"),
        };
        assert_eq!(filter("job list"), JobFilter::default());
        assert_eq!(
            filter("job list /all"),
            JobFilter {
                all_users: true,
                ended: true,
                ..JobFilter::default()
            }
        );
        let failed = filter("job list /status:failed,queued");
        assert_eq!(
            (failed.ended, failed.states),
            (true, vec!["Failed".to_owned(), "Queued".to_owned()])
        );
        assert_eq!(
            filter("job list /state:all"),
            JobFilter {
                ended: true,
                ..JobFilter::default()
            }
        );
    }

    #[test]
    fn switches_and_groups() {
        let node = |name| NodeName::new(name).expect("a name");
        assert_eq!(
            command("node offline n[1-2] x"),
            Ok(Command::NodeSwitch {
                nodes: vec![node("n1"), node("n2"), node("x")],
                admin: AdminState::Draining
            })
        );
        assert_eq!(
            command("node online /all"),
            Ok(Command::NodeSwitch {
                nodes: vec![],
                admin: AdminState::Online
            })
        );
        let group = GroupName::new("g").expect("a name");
        assert_eq!(
            command("nodegroup add g n1"),
            Ok(Command::GroupAdd {
                group,
                nodes: vec![node("n1")]
            })
        );
    }

    #[test]
    fn tokens() {
        let pool = PoolName::new("lab").expect("a name");
        assert_eq!(
            command("muster token --pool lab"),
            Ok(Command::Token {
                pool,
                groups: vec![],
                uses: 1,
                lifetime: Millis::from_seconds(3600)
            })
        );
        assert!(refused("muster token").contains("--pool"));
    }
}
