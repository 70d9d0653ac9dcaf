//! One file per subcommand.

pub(crate) mod bench;
pub(crate) mod ci;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod figures;
pub(crate) mod forward;
pub(crate) mod setup;
pub(crate) mod test;
pub(crate) mod tidy;
pub(crate) mod together;

use std::ffi::OsString;

use lexopt::Parser;

/// For commands without options.
///
/// # Errors
///
/// Names the first argument.
pub(crate) fn no_options(args: Vec<OsString>) -> Result<(), lexopt::Error> {
    match Parser::from_args(args).next()? {
        Some(arg) => Err(arg.unexpected()),
        None => Ok(()),
    }
}
