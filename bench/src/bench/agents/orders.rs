//! What a node without processes answers to orders. Pure: this is the one place that knows orders, so it is the one to
//! extend when the protocol grows.

use proto::control::{Order, Report};
use proto::ids::AttemptId;
use proto::model::task::AttemptOutcome;
use proto::units::Timestamp;

/// Reports that follow from orders, in their order. Each task starts and ends well in one moment, so a stop comes too late
/// and is not answered; a release always is.
pub(crate) fn reports_of(orders: Vec<Order>, at: Timestamp) -> Vec<Report> {
    let mut reports = Vec::with_capacity(orders.len() * 2);
    for order in orders {
        match order {
            Order::Start(start) => reports.extend(whole_life(start.attempt, at)),
            Order::Release { attempt } => reports.push(Report::Released { attempt }),
            Order::Stop { .. }
            | Order::Begin { .. }
            | Order::Restart { .. }
            | Order::ForgetJob { .. }
            | Order::Unknown => {}
        }
    }
    reports
}

fn whole_life(attempt: AttemptId, at: Timestamp) -> [Report; 2] {
    let outcome = AttemptOutcome::Exited { code: 0 };
    [Report::Started { attempt, at }, Report::Ended { attempt, outcome, at }]
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
        let reports = reports_of(vec![stop, Order::Release { attempt }], Timestamp(1));
        assert_eq!(reports, [Report::Released { attempt }]);
        assert_eq!(whole_life(attempt, Timestamp(1)).len(), 2);
    }
}
