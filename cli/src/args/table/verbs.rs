//! The table of commands.

use crate::args::UsageError;

/// What a command is about. Each but `Cluster` is also a program name: `job` is `muster job`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    /// `job`
    Job,
    /// `task`
    Task,
    /// `node`
    Node,
    /// `nodegroup`
    NodeGroup,
    /// `pool`
    Pool,
    /// The cluster itself: `muster up`.
    Cluster,
}

impl Noun {
    /// Those that are program names too.
    pub const LINKED: [Self; 5] = [Self::Job, Self::Task, Self::Node, Self::NodeGroup, Self::Pool];

    /// The word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Task => "task",
            Self::Node => "node",
            Self::NodeGroup => "nodegroup",
            Self::Pool => "pool",
            Self::Cluster => "muster",
        }
    }

    /// For the overview.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Job => "submit programs and see how they do",
            Self::Task => "the parts of a job, with their output",
            Self::Node => "compute nodes: what they do, on and off",
            Self::NodeGroup => "named sets of nodes",
            Self::Pool => "like nodes under one name",
            Self::Cluster => "the cluster itself",
        }
    }

    pub(in crate::args) fn linked(word: &str) -> Option<Self> {
        Self::LINKED
            .into_iter()
            .find(|noun| noun.as_str().eq_ignore_ascii_case(word))
    }
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described in the table below")]
pub enum Verb {
    JobSubmit,
    JobList,
    JobView,
    JobWait,
    JobCancel,
    JobWhy,
    TaskList,
    TaskView,
    NodeList,
    NodeView,
    NodeOnline,
    NodeOffline,
    GroupList,
    GroupAdd,
    GroupRemove,
    PoolList,
    PoolView,
    Up,
    Down,
    Env,
    Status,
    Token,
}

impl Verb {
    /// Its row.
    #[must_use]
    pub fn spec(self) -> &'static VerbSpec {
        // Proved by the test that finds every verb.
        VERBS.iter().find(|spec| spec.verb == self).unwrap_or(&VERBS[0])
    }

    pub(in crate::args) fn named(noun: Noun, word: &str) -> Option<Self> {
        let is_named = |spec: &&VerbSpec| {
            spec.noun == noun
                && (spec.name.eq_ignore_ascii_case(word)
                    || spec.also.iter().any(|name| name.eq_ignore_ascii_case(word)))
        };
        VERBS.iter().find(is_named).map(|spec| spec.verb)
    }
}

/// What words that are no options mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// The first one begins a program; it and all after it are the program's.
    Command,
    /// Each stands for itself; options may follow.
    Words,
}

/// A command's row.
#[derive(Debug)]
pub struct VerbSpec {
    /// Which.
    pub verb: Verb,
    /// What it is about.
    pub noun: Noun,
    /// The word.
    pub name: &'static str,
    /// Older or other words for it.
    pub also: &'static [&'static str],
    /// The words it takes, as help writes them.
    pub words: &'static str,
    /// Fewest and most words.
    pub count: (usize, usize),
    /// What is missing when there are too few.
    pub needs: &'static str,
    /// What its words mean.
    pub tail: Tail,
    /// One line.
    pub about: &'static str,
    /// Command lines to copy.
    pub examples: &'static [&'static str],
}

impl VerbSpec {
    /// `job submit`
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.noun.as_str(), self.name)
    }

    /// `job submit [OPTIONS] PROGRAM [ARGUMENTS]`
    #[must_use]
    pub fn usage(&self) -> String {
        let words = if self.words.is_empty() {
            String::new()
        } else {
            format!(" {}", self.words)
        };
        format!("{} [OPTIONS]{words}", self.title())
    }

    pub(in crate::args) fn check_words(&self, words: &[String]) -> Result<(), UsageError> {
        if words.len() < self.count.0 {
            return Err(UsageError::MissingWord {
                place: self.title(),
                needs: self.needs,
                usage: self.usage(),
            });
        }
        match words.get(self.count.1) {
            Some(word) => Err(UsageError::ExtraWord {
                place: self.title(),
                word: word.clone(),
                usage: self.usage(),
            }),
            None => Ok(()),
        }
    }
}

const fn verb(verb: Verb, noun: Noun, name: &'static str, about: &'static str) -> VerbSpec {
    VerbSpec {
        verb,
        noun,
        name,
        also: &[],
        words: "",
        count: (0, 0),
        needs: "",
        tail: Tail::Words,
        about,
        examples: &[],
    }
}

impl VerbSpec {
    const fn also(mut self, names: &'static [&'static str]) -> Self {
        self.also = names;
        self
    }

    const fn takes(mut self, words: &'static str, least: usize, most: usize, needs: &'static str) -> Self {
        self.words = words;
        self.count = (least, most);
        self.needs = needs;
        self
    }

    const fn command(mut self) -> Self {
        self.tail = Tail::Command;
        self
    }

    const fn examples(mut self, lines: &'static [&'static str]) -> Self {
        self.examples = lines;
        self
    }
}

const ANY: usize = usize::MAX;

/// All commands.
pub const VERBS: &[VerbSpec] = &[
    verb(Verb::JobSubmit, Noun::Job, "submit", "run a program on the cluster")
        .takes("PROGRAM [ARGUMENTS]", 1, ANY, "a command, the program to run")
        .command()
        .examples(&[
            "job submit hostname",
            "job submit /nodegroup:azurenodes /numnodes:4 mpiexec -c 1 -affinity mpipingpong -p 1:100000 -op -s nul",
            "job submit --num-cores 8 --runtime 1:30 --env OMP_NUM_THREADS=8 --workdir $PWD ./solver --steps 100",
        ]),
    verb(Verb::JobList, Noun::Job, "list", "your jobs that are not over").examples(&[
        "job list",
        "job list --all",
        "job list /state:Failed /user:alice -o json",
    ]),
    verb(Verb::JobView, Noun::Job, "view", "one job")
        .takes("JOB", 1, 1, "a job id")
        .examples(&["job view 12"]),
    verb(
        Verb::JobWait,
        Noun::Job,
        "wait",
        "wait until a job is over; the exit code says how it went",
    )
    .takes("JOB", 1, 1, "a job id")
    .examples(&["job wait 12 && echo it went well"]),
    verb(
        Verb::JobCancel,
        Noun::Job,
        "cancel",
        "end a job; its programs are asked to, and killed after 15 s",
    )
    .takes("JOB", 1, 1, "a job id")
    .examples(&["job cancel 12", "job cancel 12 --force --message \"wrong input\""]),
    verb(Verb::JobWhy, Noun::Job, "why", "why a job waits")
        .takes("JOB", 1, 1, "a job id")
        .examples(&["job why 12"]),
    verb(Verb::TaskList, Noun::Task, "list", "the tasks of a job")
        .takes("JOB", 1, 1, "a job id")
        .examples(&["task list 12"]),
    verb(Verb::TaskView, Noun::Task, "view", "one task and the end of its output")
        .takes("JOB.TASK", 1, 1, "a task id, for example 12.1")
        .examples(&["task view 12.1", "task view 12.1 --all"]),
    verb(Verb::NodeList, Noun::Node, "list", "all nodes").examples(&["node list", "node list /group:azurenodes"]),
    verb(Verb::NodeView, Noun::Node, "view", "one node")
        .takes("NODE", 1, 1, "a node")
        .examples(&["node view node1"]),
    verb(Verb::NodeOnline, Noun::Node, "online", "let nodes take work")
        .also(&["resume"])
        .takes("NODE...", 0, ANY, "a node")
        .examples(&["node online node1 node2", "node online n[1-16]", "node online --all"]),
    verb(
        Verb::NodeOffline,
        Noun::Node,
        "offline",
        "let nodes finish what they run and take no more",
    )
    .also(&["pause"])
    .takes("NODE...", 0, ANY, "a node")
    .examples(&["node offline node1", "node offline --all"]),
    verb(Verb::GroupList, Noun::NodeGroup, "list", "all groups with their nodes").examples(&["nodegroup list"]),
    verb(
        Verb::GroupAdd,
        Noun::NodeGroup,
        "add",
        "put nodes into a group; makes the group if it is new",
    )
    .takes("GROUP [NODE...]", 1, ANY, "a group")
    .examples(&["nodegroup add bigmem node1 node2", "nodegroup add bigmem n[1-16]"]),
    verb(
        Verb::GroupRemove,
        Noun::NodeGroup,
        "remove",
        "take nodes out of a group; without nodes, the group away",
    )
    .takes("GROUP [NODE...]", 1, ANY, "a group")
    .examples(&["nodegroup remove bigmem node1", "nodegroup remove bigmem"]),
    verb(Verb::PoolList, Noun::Pool, "list", "all pools").examples(&["pool list"]),
    verb(Verb::PoolView, Noun::Pool, "view", "one pool")
        .takes("POOL", 1, 1, "a pool")
        .examples(&["pool view local"]),
    verb(
        Verb::Up,
        Noun::Cluster,
        "up",
        "start a head node and compute nodes on this machine",
    )
    .examples(&["muster up", "muster up --nodes 2 --state /tmp/try"]),
    verb(Verb::Down, Noun::Cluster, "down", "stop what 'muster up' started")
        .examples(&["muster down", "muster down --purge"]),
    verb(
        Verb::Env,
        Noun::Cluster,
        "env",
        "print the shell commands that put job, task, mpiexec, ... into PATH",
    )
    .examples(&["eval \"$(muster env)\"", "muster env | source    # fish"]),
    verb(Verb::Status, Noun::Cluster, "status", "the head node and its counts").examples(&["muster status"]),
    verb(
        Verb::Token,
        Noun::Cluster,
        "token",
        "make a token with which nodes join",
    )
    .examples(&["muster token --pool lab --groups ComputeNodes --uses 16 --lifetime 1h"]),
];

/// HPC Pack's commands that are not built.
pub const NOT_YET_VERBS: &[(Noun, &str)] = &[
    (Noun::Job, "new"),
    (Noun::Job, "add"),
    (Noun::Job, "modify"),
    (Noun::Job, "requeue"),
    (Noun::Job, "finish"),
    (Noun::Job, "clone"),
    (Noun::Job, "listtasks"),
    (Noun::Task, "cancel"),
    (Noun::Task, "requeue"),
    (Noun::Task, "finish"),
    (Noun::Node, "listcores"),
];

/// Programs and kinds that are not built.
pub const NOT_YET_PROGRAMS: &[&str] = &["clusrun", "cluscfg", "jobtemplate", "schedule", "login"];
