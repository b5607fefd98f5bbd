//! From the times of round trips to the figures of a pair. Pure.

/// Bytes of [`PairFigures::encode`].
pub const FIGURES_BYTES: usize = 48;

/// What was measured between two ranks. Latencies are half a round trip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairFigures {
    /// The smallest, in microseconds.
    pub min_us: f64,
    /// The middle one, in microseconds.
    pub median_us: f64,
    /// The arithmetic mean, in microseconds.
    pub mean_us: f64,
    /// 99 of 100 are not above it, in microseconds.
    pub p99_us: f64,
    /// The largest, in microseconds.
    pub max_us: f64,
    /// What one reading of the clock cost the measuring rank, in microseconds. It is part of each round trip once.
    pub clock_us: f64,
}

impl PairFigures {
    /// The figures of these round trips, in nanoseconds; `None` when there are none. Sorts them.
    #[must_use]
    pub fn of_round_trips(round_trips_ns: &mut [u64], clock_us: f64) -> Option<Self> {
        round_trips_ns.sort_unstable();
        let (first, last) = (round_trips_ns.first()?, round_trips_ns.last()?);
        let total: f64 = round_trips_ns.iter().map(|ns| half_us(*ns)).sum();
        Some(Self {
            min_us: half_us(*first),
            median_us: median_of(round_trips_ns, |ns| half_us(*ns))?,
            mean_us: total / count(round_trips_ns.len()),
            p99_us: half_us(round_trips_ns[nearest_rank(round_trips_ns.len(), 99)]),
            max_us: half_us(*last),
            clock_us,
        })
    }

    /// Throughput in MB/s of 10^6 bytes, at the median latency.
    #[must_use]
    pub fn megabytes_per_second(&self, size_bytes: usize) -> f64 {
        // Bytes per microsecond are megabytes per second.
        count(size_bytes) / self.median_us
    }

    /// The figures as bytes, for the rank that reports.
    #[must_use]
    pub fn encode(&self) -> [u8; FIGURES_BYTES] {
        let figures = [
            self.min_us,
            self.median_us,
            self.mean_us,
            self.p99_us,
            self.max_us,
            self.clock_us,
        ];
        let mut bytes = [0; FIGURES_BYTES];
        for (place, figure) in bytes.chunks_exact_mut(8).zip(figures) {
            place.copy_from_slice(&figure.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` when it is something else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; FIGURES_BYTES] = bytes.try_into().ok()?;
        let mut figures = bytes
            .chunks_exact(8)
            .filter_map(|part| part.try_into().ok().map(f64::from_le_bytes));
        Some(Self {
            min_us: figures.next()?,
            median_us: figures.next()?,
            mean_us: figures.next()?,
            p99_us: figures.next()?,
            max_us: figures.next()?,
            clock_us: figures.next()?,
        })
    }
}

/// The middle of sorted values, or the mean of the two middle ones.
pub fn median_of<T>(sorted: &[T], value: impl Fn(&T) -> f64) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(value(upper));
    }
    Some(f64::midpoint(value(&sorted[sorted.len() / 2 - 1]), value(upper)))
}

/// The index of a percentile by the nearest-rank rule, for at least one value.
fn nearest_rank(values: usize, percent: usize) -> usize {
    (values * percent).div_ceil(100).saturating_sub(1)
}

fn half_us(round_trip_ns: u64) -> f64 {
    count(round_trip_ns) / 2000.0
}

/// Counts and times here are far below 2^53, where a float is still exact.
fn count<T: TryInto<u64>>(value: T) -> f64 {
    let value = value.try_into().unwrap_or(u64::MAX);
    #[expect(clippy::cast_precision_loss, reason = "figures are printed with a few digits")]
    let float = value as f64;
    float
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_hundred_round_trips() {
        let mut times: Vec<u64> = (1..=100).rev().map(|number| number * 2000).collect();
        let figures = PairFigures::of_round_trips(&mut times, 0.03).unwrap();
        let expected = PairFigures {
            min_us: 1.0,
            median_us: 50.5,
            mean_us: 50.5,
            p99_us: 99.0,
            max_us: 100.0,
            clock_us: 0.03,
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn one_round_trip_is_all_figures_and_none_is_nothing() {
        let one = PairFigures::of_round_trips(&mut [3000], 0.0).unwrap();
        assert_eq!(
            (one.min_us, one.median_us, one.mean_us, one.p99_us, one.max_us),
            (1.5, 1.5, 1.5, 1.5, 1.5)
        );
        assert_eq!(PairFigures::of_round_trips(&mut [], 0.0), None);
    }

    #[test]
    fn throughput_is_size_by_latency() {
        let figures = PairFigures::of_round_trips(&mut [4_000_000], 0.0).unwrap();
        assert_eq!(figures.megabytes_per_second(4_000_000), 2000.0);
    }

    #[test]
    fn figures_survive_the_wire_and_nonsense_is_refused() {
        let figures = PairFigures::of_round_trips(&mut [1000, 2000, 7000], 0.02).unwrap();
        assert_eq!(PairFigures::decode(&figures.encode()), Some(figures));
        assert_eq!(PairFigures::decode(&figures.encode()[1..]), None);
    }
}
