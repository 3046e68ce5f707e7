//! What the macros' expansions name; not for people.

pub use inventory;

pub use crate::{
    checks::{Binder, extractor, grouped, message},
    extract::{Extractors, Receiver},
    handler::{HandlerOptions, HandlerRegistration, IntoReply, bind, identity_of},
    message::{Cloneable, IsCommand, IsEvent, IsQuery, IsRequest, Kind, MessageInfo, Place, Qos, Slot},
    registry::MessageRegistration,
};
