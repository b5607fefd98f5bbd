//! Which cores each rank gets.
//!
//! The cores are those that the allocation names for this node (`CCP_COREIDS`), else those that this process may use. A
//! rank inherits the mask of the thread that spawns it, so the mask is set just before the spawn and put back after: no
//! code has to run between fork and exec. All spawns happen on one thread, and nothing else runs on it meanwhile.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The variable in which HPC Pack names the cores of a task on a node.
pub(crate) const CORE_IDS_VARIABLE: &str = "CCP_COREIDS";

/// This thread, in the calls below.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// The cores that ranks may be bound to: those named, as far as this process may use them, else all it may use.
pub(crate) fn usable_cores(named: Option<&str>) -> io::Result<Vec<usize>> {
    let mask = sched_getaffinity(THIS_THREAD)?;
    let allowed: Vec<usize> = (0..CpuSet::count())
        .filter(|core| mask.is_set(*core).unwrap_or(false))
        .collect();
    let mut wanted = named.map(core_ids).unwrap_or_default();
    wanted.retain(|core| allowed.contains(core));
    Ok(if wanted.is_empty() { allowed } else { wanted })
}

/// The cores of the rank with this local number: an equal part each, spread over all; with fewer cores than ranks, one
/// each, used in turn.
pub(crate) fn share(cores: &[usize], local: usize, ranks: usize) -> Vec<usize> {
    if cores.is_empty() || ranks == 0 {
        return Vec::new();
    }
    if ranks > cores.len() {
        return vec![cores[local % cores.len()]];
    }
    let edge = |n: usize| n * cores.len() / ranks;
    let local = local.min(ranks - 1);
    cores[edge(local)..edge(local + 1)].to_vec()
}

/// The thread's mask is another one while this lives.
#[derive(Debug)]
pub(crate) struct Binding {
    before: CpuSet,
}

impl Binding {
    /// Binds this thread, and what it spawns, to these cores.
    pub(crate) fn to(cores: &[usize]) -> io::Result<Self> {
        let before = sched_getaffinity(THIS_THREAD)?;
        let mut mask = CpuSet::new();
        for core in cores {
            mask.set(*core)?;
        }
        sched_setaffinity(THIS_THREAD, &mask)?;
        Ok(Self { before })
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        if let Err(error) = sched_setaffinity(THIS_THREAD, &self.before) {
            tracing::warn!(%error, "the proxy stays bound to the cores of a rank");
        }
    }
}

/// Numbers between spaces, commas or semicolons; words that are none are passed over.
fn core_ids(text: &str) -> Vec<usize> {
    text.split([' ', ',', ';'])
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_divided_and_spread() {
        let cores = [0, 1, 2, 3, 8, 9];
        assert_eq!(share(&cores, 0, 1), cores);
        assert_eq!(share(&cores, 1, 2), [3, 8, 9]);
        assert_eq!(
            (0..4).map(|l| share(&cores, l, 4)).collect::<Vec<_>>(),
            [vec![0], vec![1, 2], vec![3], vec![8, 9]]
        );
        assert_eq!(
            (0..4).map(|l| share(&[4, 5], l, 4)).collect::<Vec<_>>(),
            [[4], [5], [4], [5]]
        );
        assert_eq!(share(&[], 0, 4), [0; 0]);
    }

    #[test]
    fn named_cores_count_only_where_they_may_be_used() {
        let all = usable_cores(None).expect("a mask");
        let first = all[0];
        assert_eq!(usable_cores(Some(&format!("{first}, 99999"))).expect("a mask"), [first]);
        assert_eq!(usable_cores(Some("99999 x")).expect("a mask"), all);
    }

    #[test]
    fn a_binding_ends_with_its_life() {
        let all = usable_cores(None).expect("a mask");
        let last = all[all.len() - 1];
        let binding = Binding::to(&[last]).expect("bound");
        assert_eq!(usable_cores(None).expect("a mask"), [last]);
        drop(binding);
        assert_eq!(usable_cores(None).expect("a mask"), all);
    }
}
