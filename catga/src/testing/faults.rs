//! Faults for a test to put between nodes.

use std::time::Duration;

pub use crate::transport::in_process::Traffic;
use crate::transport::in_process::{Action, Rule};

/// A fault: what happens to which traffic, and how often.
///
/// ```
/// use catga::testing::{Fault, Traffic};
///
/// let fault = Fault::drop(Traffic::Acknowledgement).from("node2").times(1);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault is put in force with `Harness::inject`"]
pub struct Fault(Rule);

impl Fault {
    fn new(action: Action, traffic: Option<Traffic>) -> Self {
        Self(Rule { action, traffic, name: None, from: None, to: None, node: None, times: usize::MAX })
    }

    /// The traffic vanishes.
    pub fn drop(traffic: Traffic) -> Self {
        Self::new(Action::Drop, Some(traffic))
    }

    /// The traffic arrives twice.
    ///
    /// # Panics
    ///
    /// If `traffic` can only be dropped: what goes to the store, its confirmation, or an acknowledgement.
    #[track_caller]
    pub fn duplicate(traffic: Traffic) -> Self {
        check_on_its_way(traffic);
        Self::new(Action::Duplicate, Some(traffic))
    }

    /// The traffic arrives later.
    ///
    /// # Panics
    ///
    /// As [`duplicate`](Self::duplicate).
    #[track_caller]
    pub fn delay(traffic: Traffic, delay: Duration) -> Self {
        check_on_its_way(traffic);
        Self::new(Action::Delay(delay), Some(traffic))
    }

    /// Nothing reaches this node and nothing leaves it; it goes on in the belief that it is alone.
    pub fn cut(node: impl Into<String>) -> Self {
        let mut fault = Self::new(Action::Drop, None);
        fault.0.node = Some(node.into());
        fault
    }

    /// Only for messages of this name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.0.name = Some(name.into());
        self
    }

    /// Only for what this node sends.
    pub fn from(mut self, node: impl Into<String>) -> Self {
        self.0.from = Some(node.into());
        self
    }

    /// Only for what goes to this node.
    pub fn to(mut self, node: impl Into<String>) -> Self {
        self.0.to = Some(node.into());
        self
    }

    /// Only so many times; a fault strikes until it is healed otherwise.
    pub fn times(mut self, times: usize) -> Self {
        self.0.times = times;
        self
    }

    pub(super) fn into_rule(self) -> Rule {
        self.0
    }
}

/// A test that puts a fault in force which cannot strike would show nothing.
#[track_caller]
fn check_on_its_way(traffic: Traffic) {
    let dropped_only = matches!(traffic, Traffic::Store | Traffic::StoreConfirmation | Traffic::Acknowledgement);
    assert!(!dropped_only, "`{traffic:?}` can only be dropped: it does not arrive twice or later");
}
