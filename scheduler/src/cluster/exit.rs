//! What follows from the end of a task: for the tasks that depend on it, and for its job (Azure Batch's exit conditions).
//!
//! A pure function of what is stored, because a restart has to find the same answer. Its place is here and not with the
//! decisions, because the counts of dependencies need it too.

use proto::model::exit::{DependencyAction, ExitConditions, ExitOptions, JobAction};
use proto::model::task::{AttemptOutcome, TaskOutcome, TaskSpec};

/// What follows, nothing left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Consequence {
    pub(crate) dependency: DependencyAction,
    /// Carried out only where the job asks for it.
    pub(crate) job: JobAction,
}

impl Consequence {
    const AFTER_SUCCESS: Self = Self {
        dependency: DependencyAction::Satisfy,
        job: JobAction::None,
    };
    const AFTER_FAILURE: Self = Self {
        dependency: DependencyAction::Block,
        job: JobAction::Terminate,
    };
    /// Somebody canceled it, or it could never run: no exit, so no condition of exits matches, and its job goes on.
    const AFTER_CANCEL: Self = Self {
        dependency: DependencyAction::Block,
        job: JobAction::None,
    };

    fn with(self, options: Option<ExitOptions>) -> Self {
        let options = options.unwrap_or_default();
        Self {
            dependency: options.dependency.unwrap_or(self.dependency),
            job: options.job.unwrap_or(self.job),
        }
    }
}

/// What follows from this end of a task, after all its retries. `code` is the exit code of its newest try, if that ended by
/// itself. The default rule is for failures only: for a success a rule has to name the code, as in Azure Batch.
pub(crate) fn options_of(spec: &TaskSpec, outcome: &TaskOutcome, code: Option<i32>) -> Consequence {
    let conditions = spec.exit_conditions.as_deref();
    match outcome {
        TaskOutcome::Canceled => Consequence::AFTER_CANCEL,
        TaskOutcome::Finished => {
            let named = conditions
                .zip(code)
                .and_then(|(conditions, code)| by_code(conditions, code));
            Consequence::AFTER_SUCCESS.with(named)
        }
        TaskOutcome::Failed { cause } => {
            Consequence::AFTER_FAILURE.with(conditions.and_then(|conditions| of_failure(conditions, cause)))
        }
    }
}

fn of_failure(conditions: &ExitConditions, cause: &AttemptOutcome) -> Option<ExitOptions> {
    let named = match cause {
        AttemptOutcome::Exited { code } => by_code(conditions, *code),
        AttemptOutcome::NotStarted { .. } => conditions.pre_processing_error,
        _ => None,
    };
    named.or(conditions.default)
}

/// The first rule that names the code.
fn by_code(conditions: &ExitConditions, code: i32) -> Option<ExitOptions> {
    let mut rules = conditions.codes.iter();
    let rule = rules.find(|rule| (rule.first..=rule.last).contains(&code));
    rule.map(|rule| rule.options)
}

#[cfg(test)]
mod tests {
    use proto::model::exit::ExitRule;
    use proto::units::Millis;

    use super::*;

    const fn options(dependency: Option<DependencyAction>, job: Option<JobAction>) -> ExitOptions {
        ExitOptions { dependency, job }
    }

    fn spec(conditions: Option<ExitConditions>) -> TaskSpec {
        let mut spec = TaskSpec::of_command(vec!["true".to_owned()]);
        spec.exit_conditions = conditions.map(Box::new);
        spec
    }

    fn failed(cause: AttemptOutcome) -> TaskOutcome {
        TaskOutcome::Failed { cause }
    }

    fn exit(code: i32) -> TaskOutcome {
        failed(AttemptOutcome::Exited { code })
    }

    fn not_started() -> TaskOutcome {
        let reason = String::new();
        failed(AttemptOutcome::NotStarted { reason })
    }

    #[test]
    fn without_conditions_the_defaults_hold() {
        let plain = spec(None);
        assert_eq!(
            options_of(&plain, &TaskOutcome::Finished, Some(0)),
            Consequence::AFTER_SUCCESS
        );
        assert_eq!(options_of(&plain, &exit(1), Some(1)), Consequence::AFTER_FAILURE);
        assert_eq!(options_of(&plain, &not_started(), None), Consequence::AFTER_FAILURE);
        let canceled = options_of(&plain, &TaskOutcome::Canceled, None);
        assert_eq!(
            (canceled.dependency, canceled.job),
            (DependencyAction::Block, JobAction::None)
        );
    }

    #[test]
    fn the_first_rule_that_names_the_code_counts_then_the_default() {
        let rule = |first, last, options| ExitRule { first, last, options };
        let satisfy = options(Some(DependencyAction::Satisfy), None);
        let disable = options(None, Some(JobAction::Disable));
        let conditions = ExitConditions {
            codes: vec![rule(3, 3, satisfy), rule(1, 9, disable), rule(0, 0, disable)],
            default: Some(options(Some(DependencyAction::Satisfy), Some(JobAction::None))),
            ..ExitConditions::default()
        };
        let spec = spec(Some(conditions));
        let of = |outcome: &TaskOutcome, code| {
            let consequence = options_of(&spec, outcome, code);
            (consequence.dependency, consequence.job)
        };
        // What the rule leaves open is the default of failures, not the default rule.
        assert_eq!(of(&exit(3), Some(3)), (DependencyAction::Satisfy, JobAction::Terminate));
        assert_eq!(of(&exit(4), Some(4)), (DependencyAction::Block, JobAction::Disable));
        assert_eq!(of(&exit(10), Some(10)), (DependencyAction::Satisfy, JobAction::None));
        assert_eq!(of(&not_started(), None), (DependencyAction::Satisfy, JobAction::None));
        let limit = Millis(1);
        assert_eq!(
            of(&failed(AttemptOutcome::TimedOut { limit }), None),
            (DependencyAction::Satisfy, JobAction::None)
        );
        // A success needs a rule of its own.
        assert_eq!(
            of(&TaskOutcome::Finished, Some(0)),
            (DependencyAction::Satisfy, JobAction::Disable)
        );
        assert_eq!(
            of(&TaskOutcome::Finished, None),
            (DependencyAction::Satisfy, JobAction::None)
        );
        assert_eq!(
            of(&TaskOutcome::Canceled, None),
            (DependencyAction::Block, JobAction::None)
        );
    }

    #[test]
    fn a_failed_start_has_a_rule_of_its_own() {
        let conditions = ExitConditions {
            pre_processing_error: Some(options(None, Some(JobAction::Disable))),
            default: Some(options(Some(DependencyAction::Satisfy), None)),
            ..ExitConditions::default()
        };
        let spec = spec(Some(conditions));
        let start = options_of(&spec, &not_started(), None);
        assert_eq!(
            (start.dependency, start.job),
            (DependencyAction::Block, JobAction::Disable)
        );
        let signal = failed(AttemptOutcome::Signaled { signal: 9 });
        assert_eq!(options_of(&spec, &signal, None).dependency, DependencyAction::Satisfy);
    }
}
