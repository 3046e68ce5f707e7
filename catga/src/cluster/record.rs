//! What a node says about itself, and how that travels.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::fingerprint;

/// What a node says about itself. Unknown fields are passed over, so that versions understand each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) node: Arc<str>,
    pub(crate) incarnation: u64,
    #[serde(default)]
    pub(crate) endpoint: Option<Arc<str>>,
    /// Handlers that run or wait.
    #[serde(default)]
    pub(crate) load: u64,
    pub(crate) started_ms: u64,
    /// Stands for the list of request types: a heartbeat carries only this.
    pub(crate) requests_hash: u64,
    /// The request types that it handles; at join, and when somebody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<Vec<Arc<str>>>,
}

/// What nodes tell each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Announcement {
    /// A node has joined and wants to know the others.
    Joining(Record),
    /// A node is there.
    Here(Record),
    /// A node leaves.
    Leaving { node: Arc<str>, incarnation: u64 },
    /// A node that joined has a number that is not larger than one under which its id is known: its clock was set back, and it
    /// goes on behind that.
    Behind { node: Arc<str>, incarnation: u64 },
    /// Somebody wants to know the request types of a node.
    Who { node: Arc<str> },
}

impl Announcement {
    pub(crate) fn encode(&self) -> Bytes {
        // A record is plain data: its encoding cannot fail.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// A number that stands for a list of request types.
pub(crate) fn hash_of(requests: &[Arc<str>]) -> u64 {
    let parts: Vec<&[u8]> = requests.iter().map(|name| name.as_bytes()).collect();
    // The low half of the fingerprint: a change shows with all but certainty.
    fingerprint(&parts) as u64
}
