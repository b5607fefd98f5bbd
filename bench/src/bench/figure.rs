//! Figures and their report: a line each on standard output, all of them as JSON.

use serde::Serialize;

/// One measured figure, and what it is compared with, if anything.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// For example `store.commit`.
    pub(crate) name: &'static str,
    /// Median of the rounds.
    pub(crate) value: f64,
    /// Of both values.
    pub(crate) unit: &'static str,
    /// None where there is nothing to compare with.
    #[serde(flatten)]
    pub(crate) compared: Option<Compared>,
}

/// What a figure is compared with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Compared {
    /// Its name.
    pub(crate) peer: &'static str,
    /// Its median of the same rounds.
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
        Self::alone(name, unit, median(ours)).beside(peer, median(peers))
    }

    /// A value that has to reach an aim, where no peer could be run beside it.
    pub(crate) fn with_aim(name: &'static str, unit: &'static str, value: f64, aim: f64) -> Self {
        Self::alone(name, unit, value).beside("the aim", aim)
    }

    /// A value by itself.
    pub(crate) const fn alone(name: &'static str, unit: &'static str, value: f64) -> Self {
        Self {
            name,
            value,
            unit,
            compared: None,
        }
    }

    fn beside(self, peer: &'static str, peer_value: f64) -> Self {
        let ratio = self.value / peer_value;
        Self {
            compared: Some(Compared {
                peer,
                peer_value,
                ratio,
            }),
            ..self
        }
    }
}

/// The smallest sample that so many percent of all samples do not exceed; 0 when there are none.
pub(crate) fn percentile(samples: &mut [f64], percent: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    let at = (samples.len() * percent).div_ceil(100).saturating_sub(1);
    samples.get(at).copied().unwrap_or(0.0)
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
            compared,
        } = &figure;
        match compared {
            Some(Compared {
                peer,
                peer_value,
                ratio,
            }) => println!("{name:<28}{value:>12.1} {unit:<9}{ratio:>7.2}  {peer} ({peer_value:.1} {unit})"),
            None => println!("{name:<28}{value:>12.1} {unit:<9}"),
        }
        self.figures.push(figure);
    }

    /// Everything as JSON.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_of_few_and_many() {
        assert_eq!((median(&mut []), percentile(&mut [], 99)), (0.0, 0.0));
        assert_eq!(percentile(&mut [3.0], 99), 3.0);
        let mut samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut samples, 99), 198.0);
        assert_eq!(median(&mut samples), 101.0);
    }
}
