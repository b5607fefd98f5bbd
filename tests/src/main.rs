//! `./dev show`: runs a demonstration for real and prints PASS, or FAIL and why.

use std::process::ExitCode;

use tests::torture::{client, task};
use tests::{init, probe, show};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            show::list();
            ExitCode::SUCCESS
        }
        // None installs hundreds of megabytes yet, so --full adds nothing.
        ["--all"] | ["--all", "--full"] => show::run_all(),
        [init::HOLD] => init::hold(),
        [init::HOST, name, folder, programs] => init::host(name, folder, programs),
        [client::CLIENT, words @ ..] => client::run(words),
        [task::TASK | task::RANK | task::LITTER, ..] => task::run(&words),
        [probe::PROBE, words @ ..] => probe::run(words),
        ["--soak", "sim"] => show::soak(),
        ["--soak", "torture", words @ ..] => show::soak_torture(words),
        [name, words @ ..] => show::run_one(name, words),
    }
}
