//! Parametric sweeps: one task with an index, run once per value (HPC Pack's `/parametric`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Step;

/// The most steps of one sweep; HPC Pack has 100,000.
pub const MAX_STEPS: u32 = 10_000_000;

/// An index: from `first` to `last` by `increment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Shape", into = "Shape")]
pub struct Sweep {
    first: u32,
    last: u32,
    increment: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Shape {
    first: u32,
    last: u32,
    increment: u32,
}

/// Numbers that are no sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// The end is before the start.
    #[error("a sweep from {first} to {last} has no step")]
    Backwards {
        /// Start.
        first: u32,
        /// End.
        last: u32,
    },
    /// It would never end.
    #[error("a sweep needs an increment of at least 1")]
    NoIncrement,
    /// Too many.
    #[error("a sweep of {steps} steps is too long: {MAX_STEPS} are the most")]
    TooLong {
        /// How many there would be.
        steps: u64,
    },
}

impl Sweep {
    /// Checks and makes an index.
    ///
    /// # Errors
    /// When it has no step, or more than [`MAX_STEPS`].
    pub fn new(first: u32, last: u32, increment: u32) -> Result<Self, SweepError> {
        if increment == 0 {
            return Err(SweepError::NoIncrement);
        }
        if last < first {
            return Err(SweepError::Backwards { first, last });
        }
        let steps = u64::from((last - first) / increment) + 1;
        if steps > u64::from(MAX_STEPS) {
            return Err(SweepError::TooLong { steps });
        }
        Ok(Self { first, last, increment })
    }

    /// The value at an index; none behind the end.
    #[must_use]
    pub fn step(self, index: u32) -> Option<Step> {
        (index < self.count()).then(|| Step(self.first + index * self.increment))
    }

    /// Where a value is; none when it is not of this sweep.
    #[must_use]
    pub const fn index(self, step: Step) -> Option<u32> {
        if step.0 < self.first || step.0 > self.last || !(step.0 - self.first).is_multiple_of(self.increment) {
            return None;
        }
        Some((step.0 - self.first) / self.increment)
    }

    /// As many steps as there may be: for tasks that have no last one.
    #[must_use]
    pub const fn endless() -> Self {
        Self {
            first: 1,
            last: MAX_STEPS,
            increment: 1,
        }
    }

    /// The values, in order.
    pub fn steps(self) -> impl Iterator<Item = Step> {
        (0..self.count()).map(move |index| Step(self.first + index * self.increment))
    }

    /// How many values there are, at least 1.
    #[must_use]
    pub const fn count(self) -> u32 {
        (self.last - self.first) / self.increment + 1
    }
}

impl TryFrom<Shape> for Sweep {
    type Error = SweepError;
    fn try_from(shape: Shape) -> Result<Self, SweepError> {
        Self::new(shape.first, shape.last, shape.increment)
    }
}

impl From<Sweep> for Shape {
    fn from(sweep: Sweep) -> Self {
        let Sweep { first, last, increment } = sweep;
        Self { first, last, increment }
    }
}

impl fmt::Display for Sweep {
    /// As the option is written: `1-100`, `1-100:5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.increment {
            1 => f.pad(&format!("{}-{}", self.first, self.last)),
            by => f.pad(&format!("{}-{}:{by}", self.first, self.last)),
        }
    }
}

/// Puts the step where the stars are: `*` becomes `7`, `***` becomes `007`, `^*` is a star.
#[must_use]
pub fn fill_in(text: &str, step: Step) -> String {
    let mut filled = String::with_capacity(text.len() + 8);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '^' if rest.peek() == Some(&'*') => {
                rest.next();
                filled.push('*');
            }
            '*' => {
                let mut width = 1;
                while rest.next_if_eq(&'*').is_some() {
                    width += 1;
                }
                filled.push_str(&format!("{:0width$}", step.0));
            }
            other => filled.push(other),
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_become_steps() {
        let filled = |text| fill_in(text, Step(7));
        assert_eq!(filled("in*.dat"), "in7.dat");
        assert_eq!(filled("in***.dat *"), "in007.dat 7");
        assert_eq!(filled("2^*3 a^b ^^*"), "2*3 a^b ^*");
        assert_eq!(fill_in("**", Step(123)), "123");
    }

    #[test]
    fn steps_go_by_the_increment() {
        let sweep = Sweep::new(1, 10, 4).expect("a sweep");
        assert_eq!(sweep.steps().collect::<Vec<_>>(), [Step(1), Step(5), Step(9)]);
        assert_eq!((sweep.count(), sweep.to_string()), (3, "1-10:4".to_owned()));
        for (index, step) in (0..).zip(sweep.steps()) {
            assert_eq!((sweep.index(step), sweep.step(index)), (Some(index), Some(step)));
        }
        assert_eq!(
            (sweep.index(Step(2)), sweep.index(Step(13)), sweep.step(3)),
            (None, None, None)
        );
        assert_eq!(Sweep::new(0, 0, 1).expect("one step").count(), 1);
        assert_eq!(
            Sweep::new(1, 10_000_001, 1).unwrap_err().to_string(),
            "a sweep of 10000001 steps is too long: 10000000 are the most"
        );
        assert!(Sweep::new(2, 1, 1).is_err() && Sweep::new(1, 2, 0).is_err());
        assert_eq!(Sweep::new(0, u32::MAX, u32::MAX).expect("two").steps().count(), 2);
    }
}
