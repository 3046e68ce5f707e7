//! Runs that are missing or too many, delays that are too short or too long, dead letters that are not whole.

use super::*;
use crate::messages::SHARE;

/// A handler that gave a message up after so many runs.
fn given_up(runs: u32) -> Hand {
    let mut hand = Hand::default().joined("node1", &[&NOTE.spec]).published_as(1, false);
    for attempt in 1..=runs {
        hand = hand.failed("node1", run(&NOTE.spec, 1, attempt)).wait(100 * 4_u64.pow(attempt - 1));
    }
    hand.add("node1", What::Buried(letter(&NOTE.spec, 1, runs, "node1")))
}

#[test]
fn a_dead_letter_after_the_last_attempt_is_sound() {
    given_up(4).breaks_nothing();
}

#[test]
fn property_6_refuses_a_dead_letter_too_early_or_too_late() {
    given_up(3).breaks(Property::P6);
    given_up(5).breaks(Property::P6);
}

#[test]
fn property_6_refuses_a_run_that_is_left_out_or_repeated_or_counted_wrongly() {
    let first = || Hand::default().joined("node1", &[&NOTE.spec]).failed("node1", run(&NOTE.spec, 1, 1));
    first().failed("node1", run(&NOTE.spec, 1, 3)).breaks(Property::P6);
    first().failed("node1", run(&NOTE.spec, 1, 1)).breaks(Property::P6);
    let wrong = What::Buried(letter(&NOTE.spec, 1, 4, "node1"));
    first().add("node1", wrong).breaks(Property::P6);
    // A crash may add runs.
    let crashed = first().add("node1", What::Killed).failed("node1", run(&NOTE.spec, 1, 1));
    Property::P6.check(&crashed.history).unwrap();
}

#[test]
fn property_6_lets_who_cannot_know_of_a_run_repeat_it_when_its_sign_was_lost() {
    let members = || Hand::default().joined("node1", &[&SHARE.spec]).joined("node2", &[&SHARE.spec]);
    let lost = What::Fault(Fault::LoseAcknowledgements(1));
    let first = members().add("", lost).failed("node1", run(&SHARE.spec, 1, 1));
    Property::P6.check(&first.failed("node2", run(&SHARE.spec, 1, 1)).history).unwrap();
    let gone = What::Shutdown { took: Duration::ZERO, for_good: false, failed: None };
    let next_life = |hand: Hand| {
        let hand = hand.joined("node1", &[&NOTE.spec]).failed("node1", run(&NOTE.spec, 1, 1));
        let hand =
            hand.failed("node1", run(&NOTE.spec, 1, 2)).add("node1", gone.clone()).joined("node1", &[&NOTE.spec]);
        hand.failed("node1", run(&NOTE.spec, 1, 1)).failed("node1", run(&NOTE.spec, 1, 2))
    };
    let lost = What::Fault(Fault::LoseAcknowledgements(1));
    Property::P6.check(&next_life(Hand::default().add("", lost)).history).unwrap();
    // Nobody else has a reason to.
    next_life(Hand::default()).breaks(Property::P6);
    let sound = members().failed("node1", run(&SHARE.spec, 1, 1));
    sound.failed("node2", run(&SHARE.spec, 1, 1)).breaks(Property::P6);
}

#[test]
fn property_7_refuses_a_dead_letter_that_is_not_whole() {
    let whole = letter(&NOTE.spec, 1, 4, "node1");
    let elsewhere = Letter { node: "node2".into(), ..whole.clone() };
    let without_header = Letter { header: String::new(), ..whole.clone() };
    let of_nobody = Letter { handler: None, ..whole.clone() };
    let without_code = Letter { code: String::new(), ..whole };
    for dead in [elsewhere, without_header, of_nobody, without_code] {
        let hand = Hand::default().joined("node1", &[&NOTE.spec]).published(1).failed("node1", run(&NOTE.spec, 1, 1));
        hand.add("node1", What::Buried(dead)).breaks(Property::P7);
    }
}

#[test]
fn property_7_refuses_a_replay_without_an_effect_and_one_with_two() {
    let letter = letter(&NOTE.spec, 1, 4, "node1").id;
    let replayed = || given_up(4).add("node1", What::Replayed { letter });
    let once = || replayed().effect("node1", run(&NOTE.spec, 1, 1));
    Property::P7.check(&once().history).unwrap();
    replayed().breaks(Property::P7);
    once().effect("node1", run(&NOTE.spec, 1, 1)).breaks(Property::P7);
}

#[test]
fn property_7_refuses_a_list_that_is_not_what_was_buried() {
    given_up(4).add("node1", What::Listed(Vec::new())).breaks(Property::P7);
    let twice = vec![letter(&NOTE.spec, 1, 4, "node1"); 2];
    given_up(4).add("node1", What::Listed(twice)).breaks(Property::P7);
}

#[test]
fn property_8_refuses_a_delay_that_is_too_short_or_too_long() {
    let after = |millis| {
        let first = Hand::default().joined("node1", &[&NOTE.spec]).failed("node1", run(&NOTE.spec, 1, 1));
        first.wait(millis).failed("node1", run(&NOTE.spec, 1, 2))
    };
    after(90).breaks(Property::P8);
    after(170).breaks(Property::P8);
    for millis in [100, 149] {
        Property::P8.check(&after(millis).history).unwrap();
    }
}
