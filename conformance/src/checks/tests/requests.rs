//! Replies that are missing, doubled, late or for somebody else; commands on two nodes; a wrong picture of the cluster.

use super::*;
use crate::messages::EXECUTE;

fn asked() -> Hand {
    let asker = Hand::default().joined("asker", &[]).joined("node1", &[&EXECUTE.spec]);
    asker.add("asker", What::Asked { number: 1, deadline: Duration::from_secs(1), command: true })
}

fn answered(hand: Hand, result: Result<Number, (ErrorKind, Outcome)>) -> Hand {
    hand.add("asker", What::Answered { number: 1, result })
}

fn request() -> Run {
    run(&EXECUTE.spec, 1, 1)
}

#[test]
fn property_11_refuses_no_answer_a_second_one_and_one_for_somebody_else() {
    asked().breaks(Property::P11);
    answered(answered(asked(), Ok(1)), Ok(1)).breaks(Property::P11);
    answered(asked(), Ok(2)).breaks(Property::P11);
    Property::P11.check(&answered(asked(), Ok(1)).history).unwrap();
}

#[test]
fn property_11_refuses_an_answer_after_the_deadline_and_a_late_reply_that_is_not_counted() {
    answered(asked().wait(1_200), Ok(1)).breaks(Property::P11);
    let unknown = Err((ErrorKind::TimedOut, Outcome::Unknown));
    let late = || answered(asked(), unknown).effect("node1", request());
    let counted = |late_replies| What::Counted { late_replies, dropped: 0 };
    late().add("asker", counted(0)).breaks(Property::P11);
    Property::P11.check(&late().add("asker", counted(1)).history).unwrap();
}

#[test]
fn property_12_refuses_a_second_node_while_the_first_one_lives() {
    asked().effect("node1", request()).effect("node2", request()).breaks(Property::P12);
    let died = asked().effect("node1", request()).add("node1", What::Killed).effect("node2", request());
    Property::P12.check(&died.history).unwrap();
}

#[test]
fn property_12_refuses_a_command_that_ran_and_is_said_not_to_have_started() {
    let refused = Err((ErrorKind::Overloaded, Outcome::NotStarted));
    answered(asked().effect("node1", request()), refused).breaks(Property::P12);
}

fn view(nodes: &[&str]) -> What {
    What::View { online: nodes.iter().map(|node| (*node).to_owned()).collect::<BTreeSet<_>>() }
}

#[test]
fn property_13_refuses_a_picture_that_is_wrong_for_too_long() {
    let two = || Hand::default().joined("node1", &[]).joined("node2", &[]);
    // A node that came is known after a heartbeat.
    Property::P13.check(&two().wait(9_000).add("node1", view(&["node1"])).history).unwrap();
    two().wait(11_000).add("node1", view(&["node1"])).breaks(Property::P13);
    // One that left is forgotten after a heartbeat, one that died after the time-out.
    let left = What::Shutdown { took: Duration::ZERO, for_good: false, failed: None };
    two().add("node2", left).wait(11_000).add("node1", view(&["node1", "node2"])).breaks(Property::P13);
    let died = |millis| two().add("node2", What::Killed).wait(millis).add("node1", view(&["node1", "node2"]));
    Property::P13.check(&died(29_000).history).unwrap();
    died(31_000).breaks(Property::P13);
}
