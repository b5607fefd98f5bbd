//! The table of commands: one file of rows for each noun.

mod access;
mod cluscfg;
mod cluster;
mod group;
mod job;
mod limit;
mod node;
mod pool;
mod schedule;
mod service;
mod task;

use crate::args::UsageError;

/// What a command is about. Those that HPC Pack has as programs are program names too: `job` is `muster job`.
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
    /// `muster jobschedule`
    Schedule,
    /// `muster limit`
    Limit,
    /// `muster user`
    User,
    /// `cluscfg`
    ClusCfg,
    /// `muster service`
    Service,
    /// The cluster itself: `muster up`.
    Cluster,
}

impl Noun {
    /// Those that stand after `muster`.
    pub const KINDS: [Self; 10] = [
        Self::Job,
        Self::Task,
        Self::Node,
        Self::NodeGroup,
        Self::Pool,
        Self::Schedule,
        Self::Limit,
        Self::User,
        Self::ClusCfg,
        Self::Service,
    ];

    /// Those that are program names too.
    pub const LINKED: [Self; 6] = [
        Self::Job,
        Self::Task,
        Self::Node,
        Self::NodeGroup,
        Self::Pool,
        Self::ClusCfg,
    ];

    /// The word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Task => "task",
            Self::Node => "node",
            Self::NodeGroup => "nodegroup",
            Self::Pool => "pool",
            Self::Schedule => "jobschedule",
            Self::Limit => "limit",
            Self::User => "user",
            Self::ClusCfg => "cluscfg",
            Self::Service => "service",
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
            Self::Schedule => "jobs that are made again and again",
            Self::Limit => "how much one user may have at a time",
            Self::User => "who may do what, and from where",
            Self::ClusCfg => "variables and parameters of the whole cluster",
            Self::Service => "the head node as a service of the system",
            Self::Cluster => "the cluster itself",
        }
    }

    pub(in crate::args) fn linked(word: &str) -> Option<Self> {
        Self::LINKED
            .into_iter()
            .find(|noun| noun.as_str().eq_ignore_ascii_case(word))
    }

    pub(in crate::args) fn named(word: &str) -> Option<Self> {
        let is_named = |noun: &Self| {
            let mut names = std::iter::once(noun.as_str()).chain(noun.also().iter().copied());
            names.any(|name| name.eq_ignore_ascii_case(word))
        };
        Self::KINDS.into_iter().find(is_named)
    }

    /// Other words for it.
    const fn also(self) -> &'static [&'static str] {
        match self {
            Self::Schedule => &["job-schedule", "schedule"],
            Self::Limit => &["limits"],
            _ => &[],
        }
    }

    /// As it is typed: `job`, `muster user`.
    #[must_use]
    pub fn typed(self) -> String {
        if self == Self::Cluster || Self::LINKED.contains(&self) {
            self.as_str().to_owned()
        } else {
            format!("muster {}", self.as_str())
        }
    }
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described in the table below")]
pub enum Verb {
    JobSubmit,
    JobNew,
    JobAdd,
    JobList,
    JobView,
    JobListTasks,
    JobWait,
    JobWatch,
    JobCancel,
    JobRequeue,
    JobFinish,
    JobModify,
    JobClone,
    JobWhy,
    JobDisable,
    JobEnable,
    JobTerminate,
    JobDelete,
    TaskList,
    TaskView,
    TaskTail,
    TaskAttach,
    TaskCancel,
    TaskRequeue,
    TaskFinish,
    TaskAdd,
    TaskReactivate,
    TaskWhy,
    NodeList,
    NodeView,
    NodeOnline,
    NodeOffline,
    NodeReboot,
    NodeReimage,
    NodeWatch,
    GroupList,
    GroupAdd,
    GroupRemove,
    PoolList,
    PoolView,
    PoolCreate,
    PoolSet,
    PoolResize,
    PoolDelete,
    ScheduleAdd,
    ScheduleList,
    ScheduleView,
    ScheduleModify,
    ScheduleDisable,
    ScheduleEnable,
    ScheduleTerminate,
    ScheduleDelete,
    LimitList,
    LimitSet,
    LimitClear,
    Up,
    Down,
    Env,
    Status,
    Token,
    NodeJoinCommand,
    NodeDrain,
    NodeRemove,
    Login,
    Logout,
    WhoAmI,
    UserAdd,
    UserList,
    UserRemove,
    UserToken,
    UserRevoke,
    CfgListEnvs,
    CfgSetEnvs,
    CfgListParams,
    CfgSetParams,
    ServiceInstall,
    ServiceUninstall,
    ClusRun,
    Events,
    Doctor,
    Backup,
    Restore,
    Dump,
    Check,
    Compact,
    Firewall,
    Completions,
    Complete,
    Man,
}

impl Verb {
    /// Commands of the cluster that are program names too.
    pub const LINKED: [Self; 2] = [Self::ClusRun, Self::Firewall];

    /// The command that a program is called by.
    pub(in crate::args) fn linked(program: &str) -> Option<Self> {
        Self::LINKED
            .into_iter()
            .find(|verb| verb.spec().name.eq_ignore_ascii_case(program))
    }

    /// For shells, not for people: help does not tell of it.
    #[must_use]
    pub fn is_hidden(self) -> bool {
        self == Self::Complete
    }

    /// Its row.
    #[must_use]
    pub fn spec(self) -> &'static VerbSpec {
        // Proved by the test that finds every verb.
        verbs().find(|spec| spec.verb == self).unwrap_or(&job::VERBS[0])
    }

    pub(in crate::args) fn named(noun: Noun, word: &str) -> Option<Self> {
        let is_named = |spec: &&VerbSpec| {
            spec.noun == noun
                && (spec.name.eq_ignore_ascii_case(word)
                    || spec.also.iter().any(|name| name.eq_ignore_ascii_case(word)))
        };
        verbs().find(is_named).map(|spec| spec.verb)
    }
}

/// What words that are no options mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// The first one begins a program; it and all after it are the program's.
    Command,
    /// The first one stands for itself; the next begins a program, as with [`Tail::Command`].
    IdAndCommand,
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
        if Verb::LINKED.contains(&self.verb) {
            return self.name.to_owned();
        }
        format!("{} {}", self.noun.typed(), self.name)
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

    const fn id_and_command(mut self) -> Self {
        self.tail = Tail::IdAndCommand;
        self
    }

    const fn examples(mut self, lines: &'static [&'static str]) -> Self {
        self.examples = lines;
        self
    }
}

/// Any number.
const ANY: usize = usize::MAX;

/// All commands, in the order of help.
pub fn verbs() -> impl Iterator<Item = &'static VerbSpec> {
    [
        job::VERBS,
        task::VERBS,
        node::VERBS,
        group::VERBS,
        pool::VERBS,
        schedule::VERBS,
        limit::VERBS,
        access::VERBS,
        cluscfg::VERBS,
        service::VERBS,
        cluster::VERBS,
    ]
    .into_iter()
    .flatten()
}

/// HPC Pack's commands that are not built.
pub const NOT_YET_VERBS: &[(Noun, &str)] = &[(Noun::Node, "listcores")];

/// Programs and kinds that are not built.
pub const NOT_YET_PROGRAMS: &[&str] = &["jobtemplate"];
