//! Names of the user's that a careless expansion would trip over.
#![forbid(unsafe_code)]
#![deny(missing_docs, warnings, unused_qualifications, unreachable_pub, rust_2018_idioms)]

#![allow(dead_code, non_camel_case_types, non_upper_case_globals, unused_macros)]

use catga::{Command, Context, handler};
use serde::{Deserialize, Serialize};

mod core {}
mod std {}
mod alloc {}
struct Option;
struct Some;
struct str;
struct usize;
struct u32;
enum Result {}
const message: () = ();
const states: () = ();
static bind: () = ();
macro_rules! concat {
    () => {};
}
macro_rules! env {
    () => {};
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[catga(frame = 8)]
struct Message;

struct Handler;

#[handler(attempts = 2, timeout = "1s")]
async fn handler(_: Message, _: Context) {}

#[handler(attempts = 2, timeout = "1s")]
impl Handler {
    async fn handler(&self, _: Message, _: Context) {}
}

fn main() {}
