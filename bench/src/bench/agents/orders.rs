//! What a node without processes answers to orders. Pure: this is the one place that knows orders, so it is the one to
//! extend when the protocol grows.

use std::collections::VecDeque;

use proto::control::{Order, Report};
use proto::ids::AttemptId;
use proto::model::task::AttemptOutcome;
use proto::units::Timestamp;

/// A node where each task starts and ends well in one moment. What waits in its window begins when another ends, or when
/// the head node says so, as on a real one.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    window: VecDeque<AttemptId>,
}

impl Moments {
    /// Reports that follow from orders, in their order. A stop comes too late and is not answered; a release always is.
    pub(crate) fn reports_of(&mut self, orders: Vec<Order>, at: Timestamp) -> Vec<Report> {
        let mut reports = Vec::with_capacity(orders.len());
        for order in orders {
            match order {
                Order::Start(start) => self.start((start.attempt, start.ahead), at, &mut reports),
                Order::StartSteps { steps, .. } => {
                    for step in steps {
                        self.start((step.attempt, step.ahead), at, &mut reports);
                    }
                }
                Order::Advance { attempt } => {
                    if self.take(attempt) {
                        self.live(attempt, at, &mut reports);
                    }
                }
                Order::Recall { attempt } => {
                    self.take(attempt);
                    reports.push(Report::Returned { attempt });
                }
                Order::Release { attempt } => {
                    self.take(attempt);
                    reports.push(Report::Released { attempt });
                }
                Order::Stop { .. }
                | Order::Begin { .. }
                | Order::Restart { .. }
                | Order::ForgetJob { .. }
                | Order::Unknown => {}
            }
        }
        reports
    }

    fn start(&mut self, (attempt, ahead): (AttemptId, bool), at: Timestamp, reports: &mut Vec<Report>) {
        if ahead {
            self.window.push_back(attempt);
        } else {
            self.live(attempt, at, reports);
        }
    }

    fn take(&mut self, attempt: AttemptId) -> bool {
        let place = self.window.iter().position(|waits| *waits == attempt);
        place.and_then(|place| self.window.remove(place)).is_some()
    }

    /// A whole life, and those of all that get its slot after it.
    fn live(&mut self, first: AttemptId, at: Timestamp, reports: &mut Vec<Report>) {
        let mut next = Some(first);
        while let Some(attempt) = next {
            next = self.window.pop_front();
            reports.push(Report::Ended {
                attempt,
                outcome: AttemptOutcome::Exited { code: 0 },
                at,
                started_at: Some(at),
                then: next,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_answered_and_a_late_stop_is_not() {
        let attempt = AttemptId(7);
        let stop = Order::Stop {
            attempt,
            grace: proto::units::Millis(0),
        };
        let reports = Moments::default().reports_of(vec![stop, Order::Release { attempt }], Timestamp(1));
        assert_eq!(reports, [Report::Released { attempt }]);
    }

    #[test]
    fn a_slot_goes_through_the_whole_window() {
        let mut node = Moments::default();
        for attempt in [AttemptId(2), AttemptId(3)] {
            node.start((attempt, true), Timestamp(1), &mut Vec::new());
        }
        let reports = node.reports_of(vec![Order::Advance { attempt: AttemptId(3) }], Timestamp(1));
        let ends = reports.iter().map(|report| match report {
            Report::Ended { attempt, then, .. } => (*attempt, *then),
            other => panic!("{other:?}"),
        });
        let ends: Vec<_> = ends.collect();
        assert_eq!(ends, [(AttemptId(3), Some(AttemptId(2))), (AttemptId(2), None)]);
    }
}
