//! 64 submitters that each wait until their row is durable: a committer takes all rows that wait, as the head node's does,
//! and one flush serves them all. Beside it, 64 rows appended to a file at once and synced.

use std::fs::File;
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail};
use headnode::store::{SledStore, Store};
use proto::stored::Change;

use super::{micros, row};
use crate::figure::{Figure, percentile};
use crate::local;

/// Submitters at once.
const SUBMITTERS: u32 = 64;

/// Rows of each in one round.
const ROWS_EACH: u32 = 300;

/// What is aimed at.
const RATE_AIM: f64 = 40_000.0;
const P99_AIM_MS: f64 = 5.0;

/// A row, and where its submitter waits.
struct Wish {
    change: Change,
    durable: SyncSender<()>,
}

/// Measures.
pub(crate) fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let folder = local::folder()?;
    let store = SledStore::open(&folder.path().join("store"))?;
    let mut raw = File::create(folder.path().join("raw"))?;
    let (mut rates, mut waits) = (Vec::new(), Vec::new());
    let (mut raw_rates, mut raw_waits) = (Vec::new(), Vec::new());
    for round in 0..u32::try_from(rounds)? {
        let appended = append(&mut raw)?;
        raw_rates.push(appended.rate);
        raw_waits.extend(appended.waits_ms);
        let submitted = submit(&store, round * SUBMITTERS * ROWS_EACH)?;
        rates.push(submitted.rate);
        waits.extend(submitted.waits_ms);
    }
    let p99 = percentile(&mut waits, 99);
    let mut aim = vec![RATE_AIM; rounds];
    let append = "raw append of 64 + fdatasync";
    Ok(vec![
        Figure::of("store.submitters_64", "rows/s", &mut rates, "the aim", &mut aim),
        Figure::of("store.submitters_64", "rows/s", &mut rates, append, &mut raw_rates),
        Figure::with_aim("store.submitters_64_p99", "ms", p99, P99_AIM_MS),
        Figure::of(
            "store.submitters_64_p99",
            "ms",
            &mut [p99],
            append,
            &mut [percentile(&mut raw_waits, 99)],
        ),
    ])
}

/// Of one round.
struct Ran {
    /// Rows per second.
    rate: f64,
    /// How long each waited.
    waits_ms: Vec<f64>,
}

/// The same rows, 64 in one write, each write synced.
fn append(raw: &mut File) -> anyhow::Result<Ran> {
    let record = proto::stored::encode(&row(1))?.repeat(SUBMITTERS as usize);
    let start = Instant::now();
    let mut waits_ms = Vec::new();
    for _ in 0..ROWS_EACH {
        let write = Instant::now();
        raw.write_all(&record)?;
        raw.sync_data()?;
        waits_ms.push(micros(write) / 1e3);
    }
    Ok(Ran {
        rate: rate_since(start),
        waits_ms,
    })
}

fn submit(store: &SledStore, first: u32) -> anyhow::Result<Ran> {
    let (wishes, waiting) = sync_channel(SUBMITTERS as usize);
    let start = Instant::now();
    let waits_ms = thread::scope(|scope| {
        let committer = scope.spawn(move || commit_all(store, &waiting));
        let submitters: Vec<_> = (0..SUBMITTERS)
            .map(|number| {
                let wishes = wishes.clone();
                scope.spawn(move || wish_all(first + number * ROWS_EACH, &wishes))
            })
            .collect();
        drop(wishes);
        let mut waits_ms = Vec::new();
        for submitter in submitters {
            match submitter.join() {
                Ok(waits) => waits_ms.extend(waits?),
                Err(_) => bail!("a submitter panicked"),
            }
        }
        match committer.join() {
            Ok(result) => result.map(|()| waits_ms),
            Err(_) => bail!("the committer panicked"),
        }
    })?;
    Ok(Ran {
        rate: rate_since(start),
        waits_ms,
    })
}

fn rate_since(start: Instant) -> f64 {
    f64::from(SUBMITTERS * ROWS_EACH) * 1e6 / micros(start)
}

/// Takes all that waits, stores it, and tells.
fn commit_all(store: &SledStore, waiting: &Receiver<Wish>) -> anyhow::Result<()> {
    while let Ok(first) = waiting.recv() {
        let (changes, told): (Vec<_>, Vec<_>) = std::iter::once(first)
            .chain(waiting.try_iter())
            .map(|wish| (wish.change, wish.durable))
            .unzip();
        store.commit(&changes)?;
        for submitter in told {
            // One that has given up has its own reason.
            let _ = submitter.send(());
        }
    }
    Ok(())
}

fn wish_all(first: u32, wishes: &SyncSender<Wish>) -> anyhow::Result<Vec<f64>> {
    let (durable, told) = sync_channel(1);
    let mut waits_ms = Vec::new();
    for number in first..first + ROWS_EACH {
        let wish = Wish {
            change: Change::Put(row(number)),
            durable: durable.clone(),
        };
        let start = Instant::now();
        wishes.send(wish).ok().context("the committer is gone")?;
        told.recv().context("the committer is gone")?;
        waits_ms.push(micros(start) / 1e3);
    }
    Ok(waits_ms)
}
