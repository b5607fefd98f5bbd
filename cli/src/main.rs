//! `muster`, and by the name it is called: `job`, `task`, `node`, `nodegroup`, `pool`, `clusrun`, `cluscfg`, `hpcfwutil`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cli::run(std::env::args_os()).code())
}
