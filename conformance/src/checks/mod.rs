//! The properties: each is a function over a history that says whether the history has it.

mod attempts;
mod conversations;
mod deliveries;
mod effects;
mod reach;
mod requests;
#[cfg(test)]
mod tests;

use crate::history::{History, Violation};

/// A promise that every transport keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// Every acknowledged publish is handled or dead-lettered by every registered node or group.
    P1,
    /// Nothing is handled that was not published, payload and headers intact.
    P2,
    /// Duplicates are at most the messages in flight at each fault plus those of expired leases.
    P3,
    /// Without a kill a handler takes effect once per message within the window.
    P4a,
    /// A kill between effect and mark adds at most one run.
    P4b,
    /// No acknowledgement precedes the effect.
    P5,
    /// Attempts are exact without a crash.
    P6,
    /// A dead letter is complete, and its replay takes effect once.
    P7,
    /// Delays lie between the one that is asked for and that with its jitter.
    P8,
    /// Shutdown loses no acknowledgement and gives back what was not started, within its limit.
    P9,
    /// Fan-out reaches exactly the registered nodes; the members of a group share the set.
    P10,
    /// One reply or one typed error by the deadline, none to the wrong caller, late ones counted.
    P11,
    /// A command runs on one node unless its outcome was unknown.
    P12,
    /// Membership converges within a heartbeat of a change, and within the time-out of a silent death, whatever clocks show.
    P13,
    /// Memory stays bounded with a handler that never returns.
    P14,
    /// A poison message, a panic, a slow message harm only themselves.
    P15,
    /// Two versions of a message type read each other.
    P16,
    /// Correlation and trace are unbroken through emission, retry, dead letter and replay.
    P17,
    /// What a failed handler emitted never leaves, what a successful one emitted does.
    P18,
}

impl Property {
    /// All of them, in order.
    pub const ALL: [Self; 19] = [
        Self::P1,
        Self::P2,
        Self::P3,
        Self::P4a,
        Self::P4b,
        Self::P5,
        Self::P6,
        Self::P7,
        Self::P8,
        Self::P9,
        Self::P10,
        Self::P11,
        Self::P12,
        Self::P13,
        Self::P14,
        Self::P15,
        Self::P16,
        Self::P17,
        Self::P18,
    ];

    /// Whether a history has it.
    pub(crate) fn check(self, history: &History) -> Result<(), Violation> {
        match self {
            Self::P1 => deliveries::property_1(history),
            Self::P2 => deliveries::property_2(history),
            Self::P3 => deliveries::property_3(history),
            Self::P4a => effects::property_4a(history),
            Self::P4b => effects::property_4b(history),
            Self::P5 => effects::property_5(history),
            Self::P6 => attempts::property_6(history),
            Self::P7 => attempts::property_7(history),
            Self::P8 => attempts::property_8(history),
            Self::P9 => reach::property_9(history),
            Self::P10 => reach::property_10(history),
            Self::P11 => requests::property_11(history),
            Self::P12 => requests::property_12(history),
            Self::P13 => requests::property_13(history),
            Self::P14 => reach::property_14(history),
            Self::P15 => reach::property_15(history),
            Self::P16 => conversations::property_16(history),
            Self::P17 => conversations::property_17(history),
            Self::P18 => conversations::property_18(history),
        }
    }
}
