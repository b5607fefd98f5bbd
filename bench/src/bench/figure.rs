//! Figures and their report: a line each on standard output, all of them as JSON.

use serde::Serialize;

/// One measured figure beside what it is compared with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// For example `store.commit`.
    pub(crate) name: &'static str,
    /// Median of the rounds.
    pub(crate) value: f64,
    /// Of both values.
    pub(crate) unit: &'static str,
    /// What it is compared with.
    pub(crate) peer: &'static str,
    /// The peer's median of the same rounds.
    pub(crate) peer_value: f64,
    /// Ours divided by the peer's.
    pub(crate) ratio: f64,
}

impl Figure {
    /// From the samples of both, taken alternately.
    pub(crate) fn of(
        name: &'static str,
        unit: &'static str,
        ours: &mut [f64],
        peer: &'static str,
        peers: &mut [f64],
    ) -> Self {
        let (value, peer_value) = (median(ours), median(peers));
        Self {
            name,
            value,
            unit,
            peer,
            peer_value,
            ratio: value / peer_value,
        }
    }
}

/// The middle of the samples; 0 when there are none.
pub(crate) fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}

/// All figures of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    figures: Vec<Figure>,
}

/// What the figures were measured on.
#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    load: String,
}

impl Report {
    /// Prints the heading and notes the machine.
    #[expect(clippy::print_stdout, reason = "the report is the product")]
    pub(crate) fn begin() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or("unknown");
        let machine = Machine {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: processor.trim_start_matches([' ', '\t', ':']).to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").trim().to_owned(),
        };
        println!(
            "# {} cores, {}, Linux {}, load {}",
            machine.cores, machine.processor, machine.kernel, machine.load
        );
        println!("{:<28}{:>12} {:<9}{:>7}  to", "figure", "value", "unit", "ratio");
        Self {
            machine,
            figures: Vec::new(),
        }
    }

    /// Prints and keeps a figure.
    #[expect(clippy::print_stdout, reason = "the report is the product")]
    pub(crate) fn add(&mut self, figure: Figure) {
        let Figure {
            name,
            value,
            unit,
            peer,
            peer_value,
            ratio,
        } = &figure;
        println!("{name:<28}{value:>12.1} {unit:<9}{ratio:>7.2}  {peer} ({peer_value:.1} {unit})");
        self.figures.push(figure);
    }

    /// Everything as JSON.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }
}
