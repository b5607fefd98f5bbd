//! What stories say about the rules of single tasks: retries, what follows from ends, numbers to wait for, services.
//!
//! ```text
//! words of a job:   jobretries=2 actions parallel=3           (actions: it carries out the job actions of exit conditions)
//! words of a task:  retries=2|forever ranges=1-3,5 service
//!                   rules=3:satisfy,1..9:block:disable default=block:terminate pre=-:disable
//!                   memory=100 resource=gpu:1 coordination=WORD common=PATH:MODE keep=DAYS affinity=n1
//! > reactivate 1.2 1.3
//! ```

use proto::model::exit::{DependencyAction, ExitConditions, ExitOptions, ExitRule, JobAction, Retries};
use proto::model::job::JobSpec;
use proto::model::task::{CommonFile, TaskKind, TaskRange, TaskSpec};
use proto::units::Millis;
use scheduler::Input;

use crate::scenario::Words;

/// What `submit`, `new` and `add` say about it.
pub(crate) fn read(words: &Words<'_>, job: &mut JobSpec, task: &mut TaskSpec) {
    job.max_retries = words.value("jobretries").map(retries);
    job.perform_exit_actions = words.has("actions");
    job.max_parallel_tasks = words.value("parallel").map(number);
    task.max_retries = words.value("retries").map(retries);
    task.depends_on_ranges = list(words, "ranges").map(range).collect();
    if words.has("service") {
        task.kind = TaskKind::Service;
    }
    task.memory_mib = words.value("memory").map(|mib| u64::from(number(mib)));
    task.resources = list(words, "resource")
        .map(|pair| pair.split_once(':').expect("name:count"))
        .map(|(name, count)| (name.parse().expect("a resource name"), number(count)))
        .collect();
    if let Some(word) = words.value("coordination") {
        task.coordination = Some(vec![word.to_owned()]);
    }
    task.common_files = list(words, "common").map(common_file).collect();
    if let Some(days) = words.value("keep").filter(|_| !words.has("manager")) {
        task.retention = Some(Millis::from_seconds(u64::from(number(days)) * 24 * 3600));
    }
    task.affinity = words.value("affinity").map(|name| name.parse().expect("a node name"));
    let conditions = ExitConditions {
        codes: list(words, "rules").map(rule).collect(),
        pre_processing_error: words.value("pre").map(options),
        default: words.value("default").map(options),
        ..ExitConditions::default()
    };
    let any = conditions != ExitConditions::default();
    task.exit_conditions = any.then(|| Box::new(conditions));
}

/// `reactivate 1.2 1.3`.
pub(crate) fn reactivate(words: &Words<'_>) -> Input {
    let ids = words.rest(1).iter().filter(|word| !word.contains('='));
    Input::ReactivateTasks {
        caller: words.caller(),
        tasks: ids.map(|word| word.parse().expect("a task")).collect(),
    }
}

fn list<'a>(words: &Words<'a>, key: &str) -> impl Iterator<Item = &'a str> {
    words.value(key).into_iter().flat_map(|list| list.split(','))
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("'{text}' is no number"))
}

fn retries(text: &str) -> Retries {
    match text {
        "forever" => Retries::Unlimited,
        most => Retries::AtMost(number(most)),
    }
}

fn range(text: &str) -> TaskRange {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let task = |text: &str| proto::ids::TaskNumber(number(text));
    TaskRange {
        first: task(first),
        last: task(last),
    }
}

fn rule(text: &str) -> ExitRule {
    let (codes, then) = text.split_once(':').expect("codes:dependency:job");
    let (first, last) = codes.split_once("..").unwrap_or((codes, codes));
    let code = |text: &str| text.parse().expect("an exit code");
    ExitRule {
        first: code(first),
        last: code(last),
        options: options(then),
    }
}

/// `satisfy`, `block:disable`, `-:terminate`
fn options(text: &str) -> ExitOptions {
    let (dependency, job) = text.split_once(':').unwrap_or((text, "-"));
    ExitOptions {
        dependency: match dependency {
            "satisfy" => Some(DependencyAction::Satisfy),
            "block" => Some(DependencyAction::Block),
            _ => None,
        },
        job: match job {
            "none" => Some(JobAction::None),
            "disable" => Some(JobAction::Disable),
            "terminate" => Some(JobAction::Terminate),
            _ => None,
        },
    }
}

fn common_file(text: &str) -> CommonFile {
    let (path, mode) = text.split_once(':').expect("path:mode");
    CommonFile {
        path: path.to_owned(),
        text: "text".to_owned(),
        mode: u32::from_str_radix(mode, 8).expect("a mode"),
    }
}
