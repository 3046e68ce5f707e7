//! The properties: each is a function over a history that says whether the history has it.

mod attempts;
mod conversations;
mod deliveries;
mod effects;
mod reach;
mod requests;
mod tests;

use crate::history::{History, Violation};

/// A promise that every transport keeps; the functions say which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    P1,
    P2,
    P3,
    P4a,
    P4b,
    P5,
    P6,
    P7,
    P8,
    P9,
    P10,
    P11,
    P12,
    P13,
    P14,
    P15,
    P16,
    P17,
    P18,
}

impl Property {
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
    pub fn check(self, history: &History) -> Result<(), Violation> {
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
