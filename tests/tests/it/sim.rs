//! Seeds of the simulation that once found a fault; 2,000 others run in `./dev show sim`.

use tests::sim;

#[test]
fn seeds_that_found_a_fault_keep_all_promises() {
    for (seed, fault) in [
        (
            7,
            "memory that an element holds was forgotten by a restart while its nodes let go",
        ),
        (
            1465,
            "a preparation that ended well was taken for one that never may wait again",
        ),
    ] {
        if let Err(broken) = sim::run(seed) {
            panic!("{broken} (once: {fault})");
        }
    }
}

#[test]
fn a_seed_replays_a_whole_run() {
    let first = sim::run(42).expect("all promises are kept");
    assert_eq!(first, sim::run(42).expect("and again"));
    assert!(first.jobs > 0 && first.processes > 0 && first.faults > 0, "{first:?}");
}
