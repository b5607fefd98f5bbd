//! What is done to a cluster, one fault at a time or several at once, each for some cycles, and how it is made good again.
//!
//! A node's daemons are never stopped for longer than its lease together with a cut: a task whose keeper cannot run and
//! whose node is given up would go on, which no scheduler can see from elsewhere.

use std::fmt;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::ground::{Ground, Role};
use super::relay::Weather;
use crate::sim::rng::Rng;

/// Of a cut that outlasts the lost timeout of 38 s.
const FOR_GOOD_MS: u64 = 44_000;

/// A fault. Hosts are numbered as in [`Ground`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// kill -9.
    Kill { host: usize, role: Role },
    /// kill -9 of agent and spawner, as when both are upgraded badly.
    KillBoth { host: usize },
    /// kill -9 of a client.
    KillClient,
    /// SIGSTOP, later SIGCONT.
    Stop { host: usize, role: Role },
    /// No byte fits on the disk of its daemons.
    Fill { host: usize },
    /// Packets of a node are dropped in one direction or both.
    Cut { host: usize, sides: Sides },
    /// So many of a hundred packets are lost.
    Lose { host: usize, percent: u64 },
    /// It sends slowly.
    Slow { host: usize, kbit: u32 },
    /// Packets between it and the head node are late, doubled and out of order.
    Mangle { host: usize, weather: Weather },
}

/// Directions of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    In,
    Out,
    Both,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |host: &usize| {
            if *host == 0 {
                "head".to_owned()
            } else {
                format!("n{host}")
            }
        };
        match self {
            Self::Kill { host, role } => write!(f, "kill -9 {role:?} of {}", name(host)),
            Self::KillBoth { host } => write!(f, "kill -9 agent and spawner of {}", name(host)),
            Self::KillClient => f.write_str("kill -9 a client"),
            Self::Stop { host, role } => write!(f, "stop {role:?} of {}", name(host)),
            Self::Fill { host } => write!(f, "disk of {} full", name(host)),
            Self::Cut { host, sides } => write!(f, "{} cut off ({sides:?})", name(host)),
            Self::Lose { host, percent } => write!(f, "{} loses {percent} % of packets", name(host)),
            Self::Slow { host, kbit } => write!(f, "{} sends {kbit} kbit/s", name(host)),
            Self::Mangle { host, weather } => write!(f, "{} has {weather:?}", name(host)),
        }
    }
}

/// A fault that goes on.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) fault: Fault,
    /// The run's clock at which it is made good.
    pub(super) until_ms: u64,
    stopped: Vec<Pid>,
}

/// Chooses the next fault and how long it lasts, in milliseconds. A link has one fault at a time.
pub(super) fn choose(rng: &mut Rng, nodes: usize, active: &[Active], left_ms: u64) -> Option<(Fault, u64)> {
    let host = usize::try_from(rng.within(1, nodes as u64)).unwrap_or(1);
    let short = rng.within(200, 4000);
    let (fault, lasts_ms) = match rng.within(1, 100) {
        1..=12 => (
            Fault::Kill {
                host: 0,
                role: Role::Head,
            },
            short,
        ),
        13..=20 => (
            Fault::Kill {
                host,
                role: Role::Agent,
            },
            short,
        ),
        21..=28 => (
            Fault::Kill {
                host,
                role: Role::Spawner,
            },
            short,
        ),
        29..=32 => (Fault::KillBoth { host }, short),
        33..=38 => (
            Fault::Kill {
                host,
                role: Role::Proxy,
            },
            0,
        ),
        39..=44 => (Fault::KillClient, short),
        45..=49 => (
            Fault::Stop {
                host: 0,
                role: Role::Head,
            },
            short,
        ),
        50..=55 => (
            Fault::Stop {
                host,
                role: Role::Agent,
            },
            rng.within(200, 9000),
        ),
        56..=59 => (
            Fault::Stop {
                host,
                role: Role::Spawner,
            },
            short,
        ),
        60..=61 => (
            Fault::Stop {
                host,
                role: Role::Proxy,
            },
            short,
        ),
        62..=65 => (Fault::Fill { host: 0 }, short),
        66..=71 => (Fault::Fill { host }, rng.within(200, 8000)),
        72..=80 => (
            Fault::Cut {
                host,
                sides: sides(rng),
            },
            rng.within(200, 12_000),
        ),
        81..=83 => (
            Fault::Cut {
                host,
                sides: Sides::Both,
            },
            FOR_GOOD_MS,
        ),
        84..=89 => (
            Fault::Lose {
                host,
                percent: rng.within(10, 60),
            },
            rng.within(2000, 10_000),
        ),
        90..=93 => (
            Fault::Slow {
                host,
                kbit: rng.count(32, 512),
            },
            rng.within(2000, 10_000),
        ),
        _ => (
            Fault::Mangle {
                host,
                weather: weather(rng),
            },
            rng.within(2000, 12_000),
        ),
    };
    let taken = active.iter().any(|other| other.fault.place() == fault.place());
    (!taken && (lasts_ms <= 12_000 || lasts_ms <= left_ms)).then_some((fault, lasts_ms))
}

fn sides(rng: &mut Rng) -> Sides {
    match rng.within(1, 4) {
        1 => Sides::In,
        2 => Sides::Out,
        _ => Sides::Both,
    }
}

fn weather(rng: &mut Rng) -> Weather {
    Weather {
        delay_ms: rng.within(5, 400),
        lost_percent: rng.within(0, 20),
        twice_percent: rng.within(0, 40),
    }
}

impl Fault {
    /// What it takes: two faults of one place do not go on at once.
    const fn place(&self) -> (&'static str, usize) {
        match self {
            Self::KillClient => ("client", 0),
            Self::Kill { host, .. } | Self::KillBoth { host } | Self::Stop { host, .. } => ("daemons", *host),
            Self::Fill { host } => ("disk", *host),
            Self::Cut { host, .. } | Self::Lose { host, .. } => ("filter", *host),
            Self::Slow { host, .. } => ("queue", *host),
            Self::Mangle { host, .. } => ("weather", *host),
        }
    }

    /// Whether a daemon of this host is meant to be away.
    pub(super) const fn keeps_away(&self, other: usize) -> bool {
        match self {
            Self::Kill {
                host,
                role: Role::Agent | Role::Head,
            }
            | Self::KillBoth { host } => *host == other,
            _ => false,
        }
    }

    /// Whether a daemon of this host may end by itself meanwhile.
    pub(super) const fn excuses(&self, other: usize) -> bool {
        matches!(self, Self::Fill { host } if *host == other)
    }

    /// Does it. Clients are the caller's.
    ///
    /// # Errors
    /// When the ground does not obey.
    pub(super) fn begin(self, ground: &Ground, until_ms: u64) -> anyhow::Result<Active> {
        let mut stopped = Vec::new();
        match self {
            Self::Kill { host, role } => drop(ground.signal(host, role, Signal::SIGKILL)?),
            Self::KillBoth { host } => {
                // The agent first: it would start another spawner.
                ground.signal(host, Role::Agent, Signal::SIGKILL)?;
                ground.signal(host, Role::Spawner, Signal::SIGKILL)?;
            }
            Self::KillClient => {}
            Self::Stop { host, role } => stopped = ground.signal(host, role, Signal::SIGSTOP)?,
            Self::Fill { host } => ground.fill(host, true)?,
            Self::Cut { host, sides } => ground.filter(host, &cut(sides))?,
            Self::Lose { host, percent } => ground.filter(
                host,
                &[
                    format!("input numgen random mod 100 < {percent} drop"),
                    format!("output numgen random mod 100 < {percent} drop"),
                ],
            )?,
            Self::Slow { host, kbit } => ground.throttle(host, Some(kbit))?,
            Self::Mangle { host, weather } => ground.weather(host, weather)?,
        }
        Ok(Active {
            fault: self,
            until_ms,
            stopped,
        })
    }
}

fn cut(sides: Sides) -> Vec<String> {
    let (coming, going) = ("input iifname eth0 drop", "output oifname eth0 drop");
    let lines = match sides {
        Sides::In => vec![coming],
        Sides::Out => vec![going],
        Sides::Both => vec![coming, going],
    };
    lines.into_iter().map(str::to_owned).collect()
}

impl Active {
    /// Makes it good. What was killed is started again by whoever watches over the daemons.
    ///
    /// # Errors
    /// When the ground does not obey.
    pub(super) fn heal(&self, ground: &Ground) -> anyhow::Result<()> {
        match self.fault {
            Fault::Kill { .. } | Fault::KillBoth { .. } | Fault::KillClient => Ok(()),
            Fault::Stop { .. } => {
                for pid in &self.stopped {
                    // One that was killed meanwhile needs nothing.
                    let _ = nix::sys::signal::kill(*pid, Signal::SIGCONT);
                }
                Ok(())
            }
            Fault::Fill { host } => ground.fill(host, false),
            Fault::Cut { host, .. } | Fault::Lose { host, .. } => ground.filter(host, &[]),
            Fault::Slow { host, .. } => ground.throttle(host, None),
            Fault::Mangle { host, .. } => ground.weather(host, Weather::default()),
        }
    }
}
