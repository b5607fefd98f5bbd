//! The program `muster-mpiexec`, also called `mpiexec`; with the one word `proxy` and a launch in its environment it is a
//! launch's proxy. The code is in the library of the same package.

use std::process::ExitCode;

fn main() -> ExitCode {
    mpi_launcher::main(std::env::args_os().skip(1))
}
