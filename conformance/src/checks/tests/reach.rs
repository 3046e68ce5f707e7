//! Nodes that leave badly, events that go astray, memory that fills up, messages that harm others.

use super::*;
use crate::messages::{GOSSIP, SHARE};

fn shutdown(seconds: u64) -> What {
    What::Shutdown { took: Duration::from_secs(seconds), for_good: false, failed: None }
}

#[test]
fn property_9_refuses_a_shutdown_that_takes_too_long() {
    Hand::default().joined("node1", &[]).add("node1", shutdown(11)).breaks(Property::P9);
    Property::P9.check(&Hand::default().joined("node1", &[]).add("node1", shutdown(10)).history).unwrap();
}

#[test]
fn property_9_refuses_a_delivery_that_is_left_open_and_work_that_is_done_again() {
    let open = || Hand::default().joined("node1", &[&NOTE.spec]).delivered("node1", 1, &[1]);
    open().add("node1", shutdown(1)).breaks(Property::P9);
    let given_back = open().settled("node1", 1, Settlement::GiveBack(Duration::ZERO)).add("node1", shutdown(1));
    Property::P9.check(&given_back.history).unwrap();
    let done = open().effect("node1", run(&NOTE.spec, 1, 1)).settled("node1", 1, Acknowledge).add("node1", shutdown(1));
    done.joined("node1", &[&NOTE.spec]).effect("node1", run(&NOTE.spec, 1, 1)).breaks(Property::P9);
}

#[test]
fn property_10_refuses_an_effect_where_nobody_was_registered() {
    let late = Hand::default().joined("node1", &[&NOTE.spec]).published(1).joined("node2", &[&NOTE.spec]);
    late.effect("node2", run(&NOTE.spec, 1, 1)).breaks(Property::P10);
}

#[test]
fn property_10_refuses_two_members_of_a_group_for_one_message() {
    let group = Hand::default().joined("node1", &[&SHARE.spec]).joined("node2", &[&SHARE.spec]).published(1);
    let both = group.effect("node1", run(&SHARE.spec, 1, 1)).effect("node2", run(&SHARE.spec, 1, 1));
    both.breaks(Property::P10);
}

#[test]
fn property_10_refuses_a_rumour_that_misses_a_node_or_reaches_it_twice() {
    let message = GOSSIP.spec.message;
    let rumour = What::Publishing { number: 1, message, reliable: false, healthy: true, note: None };
    let spread = || Hand::default().joined("node1", &[&GOSSIP.spec]).add("node1", rumour.clone());
    spread().breaks(Property::P10);
    let twice = spread().effect("node1", run(&GOSSIP.spec, 1, 1)).effect("node1", run(&GOSSIP.spec, 1, 1));
    twice.breaks(Property::P10);
    let counted = spread().add("node1", What::Counted { late_replies: 0, dropped: 1 });
    Property::P10.check(&counted.history).unwrap();
}

#[test]
fn property_14_refuses_more_messages_or_runs_than_the_limits_say() {
    let numbers: Vec<_> = (0..11).collect();
    Hand::default().joined("node1", &[&NOTE.spec]).delivered("node1", 1, &numbers).breaks(Property::P14);
    let started = |number| What::Started(run(&NOTE.spec, number, 1));
    let three = Hand::default().joined("node1", &[&NOTE.spec]).add("node1", started(1)).add("node1", started(2));
    three.add("node1", started(3)).breaks(Property::P14);
}

#[test]
fn property_15_refuses_a_healthy_message_that_waits_fails_or_is_lost() {
    let sent = || Hand::default().joined("node1", &[&NOTE.spec]).published(1);
    sent().wait(2_000).effect("node1", run(&NOTE.spec, 1, 1)).breaks(Property::P15);
    sent().effect("node1", run(&NOTE.spec, 1, 2)).breaks(Property::P15);
    sent().breaks(Property::P15);
}
