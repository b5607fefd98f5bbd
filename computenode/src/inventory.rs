//! What a node found on itself: cores, sockets, memory, GPUs, control groups, system, addresses; and what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, Pid, access};
use proto::ids::ResourceName;
use proto::model::node::Inventory;
use sysinfo::{MemoryRefreshKind, Networks, RefreshKind, System};

use crate::labels::Labels;

/// The resource that is counted by itself.
const GPU: &str = "gpu";

/// Takes stock. `cores` is the wanted number; none means all that this process may use. `labels` are the settings'.
#[must_use]
pub fn take(cores: Option<u32>, labels: &Labels) -> Inventory {
    let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(refresh);
    let core_ids = core_ids(cores, &usable_cores());
    Inventory {
        cores: u32::try_from(core_ids.len()).unwrap_or(u32::MAX),
        sockets: sockets(Path::new("/sys/devices/system/cpu"), &core_ids),
        cgroups: own_control_group().is_some_and(|group| is_writable(&group)),
        core_ids,
        memory_bytes: memory_limit(&system).unwrap_or_else(|| system.total_memory()),
        hostname: System::host_name().unwrap_or_default(),
        os: System::long_os_version().unwrap_or_default(),
        kernel: System::kernel_version().unwrap_or_default(),
        arch: std::env::consts::ARCH.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        addresses: addresses(),
        resources: resources(labels, Path::new("/dev")),
        tags: labels.tags.clone(),
        domain: labels.domain.clone(),
    }
}

/// What the settings name, and the GPUs where they name none.
fn resources(labels: &Labels, devices: &Path) -> BTreeMap<ResourceName, u32> {
    let mut all = labels.resources.clone();
    if let (Ok(name), found @ 1..) = (ResourceName::new(GPU), gpus(devices)) {
        all.entry(name).or_insert(found);
    }
    // A settings file says 0 for what is there and not for tasks.
    all.retain(|_, count| *count > 0);
    all
}

/// NVIDIA's devices, `nvidia0` and on; beside them lie others of the driver, such as `nvidiactl`.
fn gpus(devices: &Path) -> u32 {
    let entries = std::fs::read_dir(devices).into_iter().flatten().flatten();
    let is_gpu = |name: &str| {
        name.strip_prefix("nvidia")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
    };
    let found = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_gpu));
    u32::try_from(found.count()).unwrap_or(u32::MAX)
}

/// A container or service may have less than the machine.
fn memory_limit(system: &System) -> Option<u64> {
    let limit = system.cgroup_limits()?.total_memory;
    (limit > 0).then_some(limit.min(system.total_memory()))
}

/// The cores that this process may run on, as the kernel counts them.
fn usable_cores() -> Vec<u32> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else {
        return vec![0];
    };
    let usable = (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false));
    usable.filter_map(|core| u32::try_from(core).ok()).collect()
}

/// So many cores. A node that offers more than there are (several nodes on one machine) names some twice.
fn core_ids(wanted: Option<u32>, usable: &[u32]) -> Vec<u32> {
    let count = wanted
        .map_or(usable.len(), |wanted| usize::try_from(wanted).unwrap_or(usize::MAX))
        .max(1);
    match usable {
        [] => vec![0; count],
        _ => usable.iter().copied().cycle().take(count).collect(),
    }
}

/// The processor sockets that these cores lie on; a system that does not tell has one.
fn sockets(cpus: &Path, cores: &[u32]) -> u32 {
    let socket = |core: &u32| {
        let path = cpus.join(format!("cpu{core}/topology/physical_package_id"));
        // Some virtual machines say -1, which is as good as nothing.
        std::fs::read_to_string(path).ok()?.trim().parse::<u32>().ok()
    };
    let all: BTreeSet<u32> = cores.iter().filter_map(socket).collect();
    u32::try_from(all.len()).unwrap_or(u32::MAX).max(1)
}

/// The folder of the control group (version 2) that this process is in.
fn own_control_group() -> Option<PathBuf> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(path))
}

/// Whether groups can be made there: it is of version 2, and neither its mode nor a read-only mount is against it.
fn is_writable(group: &Path) -> bool {
    let second = statfs(group).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC);
    second && access(group, AccessFlags::W_OK).is_ok()
}

fn addresses() -> Vec<IpAddr> {
    let networks = Networks::new_with_refreshed_list();
    let all = networks.values().flat_map(|network| network.ip_networks());
    let mut addresses: Vec<IpAddr> = all
        .map(|network| network.addr)
        .filter(|address| !address.is_loopback())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cores_and_memory() {
        let found = take(None, &Labels::default());
        assert!(
            found.cores >= 1 && found.core_ids.len() == found.cores as usize,
            "{found:?}"
        );
        assert!(found.memory_bytes > 0 && !found.kernel.is_empty(), "{found:?}");
    }

    #[test]
    fn sockets_are_those_of_the_usable_cores_and_at_least_one() {
        let folder = tempfile::tempdir().expect("a folder");
        for (core, socket) in [(0, "0\n"), (1, "0\n"), (2, "1\n"), (3, "-1\n")] {
            let topology = folder.path().join(format!("cpu{core}/topology"));
            std::fs::create_dir_all(&topology).expect("makes it");
            std::fs::write(topology.join("physical_package_id"), socket).expect("writes");
        }
        let found = |cores: &[u32]| sockets(folder.path(), cores);
        assert_eq!([found(&[0, 1]), found(&[0, 2]), found(&[3]), found(&[9])], [1, 2, 1, 1]);
        assert!(take(None, &Labels::default()).sockets >= 1);
    }

    #[test]
    fn a_folder_that_is_no_control_group_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!is_writable(folder.path()) && !is_writable(Path::new("/no/such")));
    }

    #[test]
    fn gpus_are_counted_unless_the_settings_say_how_many() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "nvidia0",
            "nvidia1",
            "nvidia10",
            "nvidiactl",
            "nvidia-uvm",
            "nvidia",
            "sda1",
        ] {
            std::fs::write(folder.path().join(name), "").expect("writes");
        }
        let name = |text: &str| ResourceName::new(text).expect("a name");
        let found = |settings: &[(&str, u32)]| {
            let labels = Labels {
                resources: settings.iter().map(|(text, count)| (name(text), *count)).collect(),
                ..Labels::default()
            };
            resources(&labels, folder.path())
        };
        assert_eq!(found(&[]), BTreeMap::from([(name("gpu"), 3)]));
        assert_eq!(
            found(&[("licence", 5), ("GPU", 1)]),
            BTreeMap::from([(name("gpu"), 1), (name("licence"), 5)])
        );
        assert_eq!(found(&[("gpu", 0)]), BTreeMap::new());
    }

    #[test]
    fn a_wanted_number_of_cores_is_offered() {
        assert_eq!(core_ids(Some(1), &[2, 3]), [2]);
        assert_eq!(core_ids(Some(3), &[2, 3]), [2, 3, 2]);
        assert_eq!(core_ids(None, &[2, 3]), [2, 3]);
        assert_eq!(core_ids(Some(2), &[]), [0, 0]);
    }
}
