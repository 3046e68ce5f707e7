//! What the macros registered at link time; the only file that knows how.

use crate::{
    handler::HandlerRegistration,
    message::{MessageInfo, Place},
};

/// A message type as it was declared.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct MessageRegistration {
    pub message: MessageInfo,
    pub place: Place,
}

inventory::collect!(MessageRegistration);
inventory::collect!(HandlerRegistration);

/// Every message type that is linked into this process, by name.
pub(crate) fn messages() -> Vec<&'static MessageRegistration> {
    let mut found: Vec<_> = inventory::iter::<MessageRegistration>().collect();
    // Link order is not for people: sort.
    found.sort_by_key(|registration| (registration.message.name, registration.place));
    found
}

/// Every handler that is linked into this process, by name.
pub(crate) fn handlers() -> Vec<&'static HandlerRegistration> {
    let mut found: Vec<_> = inventory::iter::<HandlerRegistration>().collect();
    found.sort_by_key(|registration| (registration.name, registration.place));
    found
}
