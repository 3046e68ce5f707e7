//! Transports that are broken on purpose: thin layers around one that is not, each of which breaks certain promises.
//! The suite must reject each for those, and for no other.

mod acknowledges_first;
mod content;
mod deduplicates_first;
mod doubles_in_groups;
mod loses_after_ok;
mod requests;
mod timing;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use catga::transport::{Delivery, Transport};
use tokio::sync::mpsc;

/// The way to further consumers, by durable and node.
type Ways = Mutex<BTreeMap<(Arc<str>, Arc<str>), mpsc::Sender<Delivery>>>;

/// Turns a transport into one that is broken.
pub type Breakage = fn(Arc<dyn Transport>) -> Arc<dyn Transport>;
