//! What the program says to whoever started it.
//!
//! In: lines. Out: standard output and standard error, if anybody takes them. Who read may have gone, and a disk may be full:
//! `println!` and `eprintln!` panic then, and would take with them whatever was about to be done: a renewal, a stop in
//! good order. What counts is in the log.

use std::fmt::Display;
use std::io::Write as _;

/// A line of standard error.
pub fn line(text: impl Display) {
    let _nobody_takes_it = writeln!(std::io::stderr(), "{text}");
}

/// A line of standard output, of a program that goes on whether it is read or not.
pub fn word(text: impl Display) {
    let _nobody_takes_it = writeln!(std::io::stdout(), "{text}");
}
