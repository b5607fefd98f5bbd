//! Checks of the whole tree. Whole-program behaviour is shown by `./dev show`, which `./dev test` runs too.

mod hosts;
mod inventory;
mod sim;
mod tidy;
