//! Every file format, from files made here: what loads, what is refused and how, and that nothing
//! panics.

mod formats;
mod fuzz;
mod images;
mod make;
mod malformed;
mod options;
