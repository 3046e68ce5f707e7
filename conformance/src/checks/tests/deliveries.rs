//! Losses, inventions, duplicates, and signs that come too early.

use super::*;

/// What every history here begins with, and should have more of.
fn stored() -> Hand {
    Hand::default().joined("node1", &[&NOTE.spec]).published(1)
}

fn handled() -> Hand {
    stored().delivered("node1", 1, &[1]).effect("node1", run(&NOTE.spec, 1, 1)).settled("node1", 1, Acknowledge)
}

#[test]
fn a_history_without_faults_is_sound() {
    handled().at_rest().breaks_nothing();
}

#[test]
fn property_1_misses_what_was_stored_and_never_handled() {
    stored().at_rest().breaks(Property::P1);
    // One of two nodes is not enough.
    let two = Hand::default().joined("node1", &[&NOTE.spec]).joined("node2", &[&NOTE.spec]).published(1);
    two.effect("node1", run(&NOTE.spec, 1, 1)).at_rest().breaks(Property::P1);
}

#[test]
fn property_1_takes_a_dead_letter_for_an_end_and_asks_nothing_of_nodes_that_are_gone() {
    let away = Hand::default().joined("node1", &[&NOTE.spec]).joined("node2", &[&NOTE.spec]).published(1);
    let away = away.add("node2", What::Killed).add("node1", What::Buried(letter(&NOTE.spec, 1, 4, "node1"))).at_rest();
    Property::P1.check(&away.history).unwrap();
}

#[test]
fn property_2_refuses_what_nobody_sent_and_what_is_not_intact() {
    Hand::default().effect("node1", run(&NOTE.spec, 1, 1)).breaks(Property::P2);
    stored().effect("node1", Run { text: "another".into(), ..run(&NOTE.spec, 1, 1) }).breaks(Property::P2);
    stored().effect("node1", Run { header: String::new(), ..run(&NOTE.spec, 1, 1) }).breaks(Property::P2);
    let id = MessageId::from_u128(1);
    let other = handled().published(2).effect("node1", Run { id, ..run(&NOTE.spec, 2, 1) });
    other.breaks(Property::P2);
}

#[test]
fn property_2_refuses_what_its_publisher_was_told_did_not_start() {
    let refused = stored().add("node1", What::Published { number: 1, outcome: Err(Outcome::NotStarted) });
    refused.effect("node1", run(&NOTE.spec, 1, 1)).breaks(Property::P2);
}

#[test]
fn property_3_asks_for_a_reason_for_each_duplicate() {
    handled().delivered("node1", 1, &[1]).breaks(Property::P3);
    stored().delivered("node1", 1, &[1]).wait(100).delivered("node1", 1, &[1]).breaks(Property::P3);
    // The same message twice in the store.
    handled().delivered("node1", 2, &[1]).breaks(Property::P3);
}

#[test]
fn property_3_takes_a_kill_an_expired_lease_and_a_lost_sign_for_a_reason() {
    let delivered = || stored().delivered("node1", 1, &[1]);
    let expired = delivered().wait(3_000).delivered("node1", 1, &[1]);
    let killed = delivered().add("node1", What::Killed).delivered("node1", 1, &[1]);
    let given_back = delivered().settled("node1", 1, Settlement::GiveBack(Duration::ZERO)).delivered("node1", 1, &[1]);
    let lost = Hand::default().add("", What::Fault(Fault::LoseAcknowledgements(1))).delivered("node1", 1, &[1]);
    let lost = lost.settled("node1", 1, Acknowledge).delivered("node1", 1, &[1]);
    for hand in [expired, killed, given_back, lost] {
        Property::P3.check(&hand.history).unwrap();
    }
    // One kill excuses what was in flight at it, once.
    let twice = delivered().add("node1", What::Killed).delivered("node1", 1, &[1]).delivered("node1", 1, &[1]);
    twice.breaks(Property::P3);
}

#[test]
fn property_3_takes_a_lease_for_expired_whose_last_sign_came_too_late() {
    let late = Pace { late: Duration::from_secs(1), ..Pace::default() };
    let slow = || Hand::default().add("", What::Began(Capabilities::NONE, late)).joined("node1", &[&NOTE.spec]);
    let again = |hand: Hand| hand.settled("node1", 1, Acknowledge).wait(500).delivered("node1", 1, &[1]);
    let expired = again(slow().published(1).delivered("node1", 1, &[1]).wait(2_000));
    Property::P3.check(&expired.history).unwrap();
    let leased = slow().published(1).delivered("node1", 1, &[1]).wait(2_000);
    again(leased.settled("node1", 1, Settlement::Progress)).breaks(Property::P3);
    again(slow().published(1).delivered("node1", 1, &[1])).breaks(Property::P3);
}

#[test]
fn property_4a_refuses_a_second_effect_without_a_kill() {
    handled().effect("node1", run(&NOTE.spec, 1, 1)).breaks(Property::P4a);
    let killed = handled().add("node1", What::Killed).effect("node1", run(&NOTE.spec, 1, 1));
    Property::P4a.check(&killed.history).unwrap();
    // Nor does it matter who emitted the message, and that another node was cut off.
    let echo = || Run { emitted_by: Some((1, 1)), ..run(&HEAR.spec, 2, 1) };
    let cut = handled().add("node2", What::Fault(Fault::Cut)).effect("node1", echo());
    Property::P4a.check(&cut.history).unwrap();
    cut.effect("node1", echo()).breaks(Property::P4a);
}

#[test]
fn property_4b_allows_one_more_run_for_a_kill_and_no_second_one() {
    let once = || handled().add("node1", What::Killed).effect("node1", run(&NOTE.spec, 1, 1));
    Property::P4b.check(&once().history).unwrap();
    once().effect("node1", run(&NOTE.spec, 1, 1)).breaks(Property::P4b);
}

#[test]
fn property_5_refuses_an_acknowledgement_before_the_effect() {
    let early = stored().delivered("node1", 1, &[1]).settled("node1", 1, Acknowledge);
    early.effect("node1", run(&NOTE.spec, 1, 1)).breaks(Property::P5);
    // The effect of one message is not that of another one in the same delivery.
    let half = stored().published(2).delivered("node1", 1, &[1, 2]).effect("node1", run(&NOTE.spec, 1, 1));
    half.settled("node1", 1, Acknowledge).breaks(Property::P5);
}

#[test]
fn property_5_takes_a_message_that_is_stored_again_for_one_that_is_safe() {
    let retry = Some((NOTE.spec.name.to_owned(), 2));
    let again = What::StoredFor { durable: "n.node1".into(), parcel: Parcel { retry, ..parcel(1) } };
    let hand = stored().delivered("node1", 1, &[1]).failed("node1", run(&NOTE.spec, 1, 1)).add("node1", again);
    Property::P5.check(&hand.settled("node1", 1, Acknowledge).history).unwrap();
}
