//! `catga tap`.
use crate::{
    arguments::TapOptions,
    output::{Output, Stop},
};
use catga::transport::Nats;
pub(crate) async fn run(_: &Nats, _: &str, _: TapOptions, _: &mut Output) -> Result<(), Stop> {
    Ok(())
}
