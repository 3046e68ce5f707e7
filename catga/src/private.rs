//! What the macros' expansions name; not for people.

pub use inventory;

pub use crate::{
    extract::{Extractors, Receiver},
    handler::{HandlerOptions, HandlerRegistration, IntoReply, bind, identity_of},
    message::{Kind, MessageInfo, Place, Qos, Slot},
    registry::MessageRegistration,
};
