//! Telling a client what happens.

use proto::client::Reply;
use proto::ids::Sequence;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::Door;
use super::line::Line;
use super::pace::Pace;
use crate::view::Page;

impl Door {
    /// One answer, or, with `follow`, one at once and one for all that came since, for ever. The first may be empty; it
    /// says that whatever happens from now on will be told.
    pub(super) async fn events<W, R>(
        &self,
        line: &mut Line<W, R>,
        after: Option<Sequence>,
        follow: bool,
    ) -> anyhow::Result<()>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        let mut changes = self.view.changes();
        let first = self.read(&line.who, move |view, who| {
            Ok(match after {
                Some(after) => view.events(who, after, follow),
                None if follow => view.events(who, view.sequence(), follow),
                None => view.newest_events(who),
            })
        });
        let mut page = match first.await {
            Ok(page) => page,
            Err(refusal) => return line.tell(&Reply::Refused(refusal)).await,
        };
        let mut pace = Pace::new(Instant::now());
        loop {
            let Page {
                events,
                mut last,
                missed,
                ..
            } = page;
            if !follow {
                return line.tell(&Reply::Events { events, missed }).await;
            }
            line.stream(&Reply::Events { events, missed }).await?;
            let pause = pace.told(Instant::now());
            // A timer of no time takes some.
            tokio::select! {
                biased;
                () = std::future::ready(()), if pause.is_zero() => {}
                () = tokio::time::sleep(pause) => {}
                left = line.left() => left?,
            }
            page = loop {
                if let Err(refusal) = line.check(&self.view) {
                    return line.tell(&Reply::Refused(refusal)).await;
                }
                let page = self.view.events(&line.who, last, true);
                if !page.events.is_empty() || page.missed {
                    break page;
                }
                // What this caller may not see is behind them all the same.
                last = page.last;
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return Ok(()) },
                    left = line.left() => left?,
                }
            };
        }
    }
}
