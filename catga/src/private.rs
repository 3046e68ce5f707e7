//! What the macros' expansions name; not for people.

pub use inventory;

pub use crate::{
    checks::{Binder, extractor, message, message_of_method},
    extract::{Extractors, Receiver},
    handler::{HandlerOptions, HandlerRegistration, IntoReply, bind, identity_of},
    message::{AsCommand, AsEvent, AsQuery, Cloneable, Kind, MessageInfo, Place, Qos, Slot},
    registry::MessageRegistration,
};
