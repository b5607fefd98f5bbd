//! What processes have used, read from `/proc`. Never counts their children.

use anyhow::{Context, ensure};

/// Ticks per second in `/proc/PID/stat`: USER_HZ, which the kernel keeps at 100 for every program that reads it.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time that processes have used so far, user and system, in microseconds.
///
/// # Errors
/// When one is gone.
pub(crate) fn processor_us(pids: &[i32]) -> anyhow::Result<f64> {
    let mut ticks = 0.0;
    for pid in pids {
        let stat = read(*pid, "stat")?;
        // proc(5): user time is field 14, system time field 15; the name in parentheses may hold anything.
        let fields: Vec<&str> = stat
            .rsplit_once(") ")
            .context("no name in /proc/PID/stat")?
            .1
            .split(' ')
            .collect();
        for at in [11, 12] {
            let field = fields.get(at).context("/proc/PID/stat is short")?;
            ticks += field.parse::<f64>().context("ticks")?;
        }
    }
    Ok(ticks / TICKS_PER_SECOND * 1e6)
}

/// Resident memory of processes together, in MiB.
///
/// # Errors
/// When one is gone.
pub(crate) fn resident_mib(pids: &[i32]) -> anyhow::Result<f64> {
    let mut kib = 0.0;
    for pid in pids {
        let status = read(*pid, "status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        kib += number.context("a process without memory")?.parse::<f64>()?;
    }
    Ok(kib / 1024.0)
}

/// Far above what any daemon of ours may need. A leak must end the measurement before it ends the machine.
const LEAK_MIB: f64 = 2_048.0;

/// Memory as [`resident_mib`] gives it, after so many tasks.
///
/// # Errors
/// When it is so much that going on is no use, or as there.
pub(crate) fn resident_mib_after(pids: &[i32], tasks: u64) -> anyhow::Result<f64> {
    let resident = resident_mib(pids)?;
    ensure!(
        resident < LEAK_MIB,
        "{resident:.0} MiB are in memory after {tasks} finished tasks: a leak; the measurement ends at {LEAK_MIB} MiB"
    );
    Ok(resident)
}

fn read(pid: i32, file: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("process {pid} is gone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let own = [i32::try_from(std::process::id()).expect("a pid")];
        assert!(resident_mib(&own).expect("is there") > 0.1);
        assert!(processor_us(&own).expect("is there") >= 0.0);
        assert!(processor_us(&[i32::MAX]).is_err());
    }
}
