//! Service tasks: an instance on whatever their job may hold, new ones as there is room, until the job is finished or
//! canceled (HPC Pack's type Service).
//!
//! A service is a sweep without an end: each instance is a step, and one that ends by itself, however it ends, has ended
//! well and makes room for the next. So nothing has to be started anew, and a service neither ends its job nor fails it.
//! Only one that cannot be started has failed, and takes those that were not tried yet with it: nothing else would slow them
//! down.

use std::borrow::Cow;

use proto::model::sweep::Sweep;
use proto::model::task::{TaskKind, TaskSpec};

/// The tasks as they are stored: a service has a sweep.
pub(super) fn with_instances(tasks: &[TaskSpec]) -> Cow<'_, [TaskSpec]> {
    let lacks = |task: &TaskSpec| task.kind == TaskKind::Service && task.sweep.is_none();
    if !tasks.iter().any(lacks) {
        return Cow::Borrowed(tasks);
    }
    let mut tasks = tasks.to_vec();
    for task in tasks.iter_mut().filter(|task| lacks(task)) {
        task.sweep = Some(Sweep::endless());
    }
    Cow::Owned(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_get_instances() {
        let plain = TaskSpec::of_command(vec!["true".to_owned()]);
        assert!(matches!(with_instances(std::slice::from_ref(&plain)), Cow::Borrowed(_)));
        let mut service = plain.clone();
        service.kind = TaskKind::Service;
        let mut three = service.clone();
        three.sweep = Some(Sweep::new(1, 3, 1).expect("a sweep"));
        let stored = with_instances(&[plain, service, three.clone()]).into_owned();
        assert_eq!(stored[0].sweep, None);
        assert_eq!(stored[1].sweep, Some(Sweep::endless()));
        assert_eq!(stored[2], three);
    }
}
