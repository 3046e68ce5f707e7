//! The properties: each is a function over a history that says whether the history has it.

mod deliveries;
mod effects;

use crate::history::{History, Violation};

/// A promise that every transport keeps, by the number that it has in the documentation of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    P1,
    P2,
    P3,
    P4a,
    P4b,
    P5,
}

impl Property {
    pub const ALL: [Self; 6] = [Self::P1, Self::P2, Self::P3, Self::P4a, Self::P4b, Self::P5];

    /// Whether a history has it.
    pub fn check(self, history: &History) -> Result<(), Violation> {
        match self {
            Self::P1 => deliveries::property_1(history),
            Self::P2 => deliveries::property_2(history),
            Self::P3 => deliveries::property_3(history),
            Self::P4a => effects::property_4a(history),
            Self::P4b => effects::property_4b(history),
            Self::P5 => effects::property_5(history),
        }
    }
}
