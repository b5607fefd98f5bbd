//! Commands to requests.

use proto::ids::SubmissionId;

use super::*;

#[test]
fn ids_of_submissions_differ() {
    let (first, second) = (random_id().expect("an id"), random_id().expect("an id"));
    assert_ne!(first, second);
    assert_ne!(first, SubmissionId(0));
}
