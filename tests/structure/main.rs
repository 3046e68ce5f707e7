//! What holds for the repository as a whole: the floors of the runtime, the shape of its files, the README.
#![allow(missing_docs)]

mod files;
mod floors;
mod foreign;
mod guarantees;
mod readme;
mod source;
