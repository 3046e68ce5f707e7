//! Faults that tests put into the broker: what it drops, doubles or delays.

#[cfg(feature = "testing")]
pub(crate) use self::rules::{Action, Rule};

/// What kind of traffic passes the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), expect(unreachable_pub, reason = "named by tests that inject faults"))]
pub enum Traffic {
    /// An event of QoS 0 on its way to a node.
    Event,
    /// A reliable event on its way to the store.
    Store,
    /// The store's word that an event is stored, on its way back.
    StoreConfirmation,
    /// A delivery of reliable events on its way to a node.
    Delivery,
    /// The acknowledgement of a delivery, on its way back.
    Acknowledgement,
    /// A request on its way to a node.
    Request,
    /// A reply on its way back.
    Reply,
    /// What a node announces about itself.
    Announcement,
}

/// What happens to one piece of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "only tests inject faults"))]
pub(super) enum Fate {
    Pass,
    Lose,
    Double,
    Delay(std::time::Duration),
}

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Faults {
    #[cfg(feature = "testing")]
    rules: Vec<Rule>,
}

impl Faults {
    #[cfg(feature = "testing")]
    pub(super) fn inject(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    #[cfg(feature = "testing")]
    pub(super) fn heal(&mut self) {
        self.rules.clear();
    }

    /// Whether no fault is in force: the usual case, which costs one look.
    pub(super) fn none(&self) -> bool {
        #[cfg(feature = "testing")]
        return self.rules.is_empty();
        #[cfg(not(feature = "testing"))]
        true
    }

    /// Decides over one piece of traffic between the broker and a node, or from one node to another.
    #[cfg(feature = "testing")]
    pub(super) fn decide(&mut self, traffic: Traffic, name: &str, from: &str, to: &str) -> Fate {
        if self.none() {
            return Fate::Pass;
        }
        let fits = |rule: &Rule| rule.fits(traffic, name, from, to);
        // Nothing gets past a cut, whatever else would strike.
        let cut = self.rules.iter().position(|rule| rule.node.is_some() && fits(rule));
        let found = cut.or_else(|| self.rules.iter().position(fits));
        let Some(rule) = found.and_then(|index| self.rules.get_mut(index)) else { return Fate::Pass };
        rule.times = rule.times.saturating_sub(1);
        let fate = match rule.action {
            Action::Drop => Fate::Lose,
            Action::Duplicate => Fate::Double,
            Action::Delay(delay) => Fate::Delay(delay),
        };
        self.rules.retain(|rule| rule.times > 0);
        fate
    }

    #[cfg(not(feature = "testing"))]
    pub(super) fn decide(&mut self, _: Traffic, _: &str, _: &str, _: &str) -> Fate {
        Fate::Pass
    }
}

#[cfg(feature = "testing")]
mod rules {
    use std::time::Duration;

    use super::Traffic;

    /// What a rule does.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Action {
        Drop,
        Duplicate,
        Delay(Duration),
    }

    /// A fault and the traffic that it strikes; `None` strikes all.
    #[derive(Clone, Debug)]
    pub(crate) struct Rule {
        pub(crate) action: Action,
        pub(crate) traffic: Option<Traffic>,
        pub(crate) name: Option<String>,
        pub(crate) from: Option<String>,
        pub(crate) to: Option<String>,
        /// Either end, for a node that is cut off.
        pub(crate) node: Option<String>,
        /// How often it strikes.
        pub(crate) times: usize,
    }

    impl Rule {
        pub(super) fn fits(&self, traffic: Traffic, name: &str, from: &str, to: &str) -> bool {
            let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
            self.traffic.is_none_or(|wanted| wanted == traffic)
                && is(&self.name, name)
                && is(&self.from, from)
                && is(&self.to, to)
                && self.node.as_deref().is_none_or(|node| node == from || node == to)
        }
    }
}
