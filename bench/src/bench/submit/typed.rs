//! A client process for each submission, as a user's script does it: one after the other, and two at once, beside the
//! machine's own limit for starting `/bin/true` likewise. The head node has no nodes.

use std::process::Stdio;
use std::thread;
use std::time::Instant;

use anyhow::{bail, ensure};

use crate::bare_head::BareHead;
use crate::figure::Figure;
use crate::tasks::processes_per_second;

/// Submissions per round and way.
const SUBMITS: u32 = 200;

/// Submissions per second that are aimed at.
const AIM: f64 = 350.0;

/// Measures.
pub(crate) fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let head = BareHead::start()?;
    let (mut alone, mut paired, mut limit) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        limit.push(processes_per_second(SUBMITS, 2)?);
        alone.push(rate(&head, 1)?);
        paired.push(rate(&head, 2)?);
    }
    let mut aim = vec![AIM; rounds];
    Ok(vec![
        Figure::of("submit.process", "/s", &mut alone, "the aim", &mut aim),
        Figure::of("submit.process_2_at_once", "/s", &mut paired, "the aim", &mut aim),
        Figure::of(
            "submit.process_2_at_once",
            "/s",
            &mut paired,
            "starting true, 2 at once",
            &mut limit,
        ),
    ])
}

fn rate(head: &BareHead, at_once: u32) -> anyhow::Result<f64> {
    let start = Instant::now();
    thread::scope(|scope| {
        let users: Vec<_> = (0..at_once)
            .map(|_| scope.spawn(|| (0..SUBMITS / at_once).try_for_each(|_| type_once(head))))
            .collect();
        users.into_iter().try_for_each(|user| match user.join() {
            Ok(result) => result,
            Err(_) => bail!("a submitting thread panicked"),
        })
    })?;
    Ok(f64::from(SUBMITS) / start.elapsed().as_secs_f64())
}

fn type_once(head: &BareHead) -> anyhow::Result<()> {
    let mut command = head.command()?;
    let status = command.args(["job", "submit", "true"]).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "job submit ended with {status}");
    Ok(())
}
