//! Transports that bring requests, replies and announcements to the wrong place.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use catga::transport::{Reply, Transport};

use super::rejects;
use crate::{
    bench::hooked::{Hooked, Hooks},
    checks::Property,
};

/// Gives callers the replies of each other.
struct SwapsReplies;

impl Hooks for SwapsReplies {
    fn replying(&self, _: &str, _: &str, batch: &mut Vec<Reply>) {
        if let [first, second, ..] = &mut batch[..] {
            std::mem::swap(&mut first.token, &mut second.token);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_swaps_replies_is_rejected_for_those_that_reach_the_wrong_caller() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, SwapsReplies);
    rejects(breakage, &[Property::P11]).await;
}

/// Brings each request for one node to a second one as well.
struct DoublesRequests;

impl Hooks for DoublesRequests {
    fn also_to(&self, to: &str) -> Option<&'static str> {
        (to == "node1").then_some("node2")
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_brings_a_command_to_two_nodes_is_rejected_for_the_second_run() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, DoublesRequests);
    rejects(breakage, &[Property::P12]).await;
}

/// Carries only the first words of a node about itself.
#[derive(Default)]
struct FallsSilent(Mutex<BTreeMap<String, u32>>);

impl Hooks for FallsSilent {
    fn announcing(&self, node: &str, _: &mut Bytes) -> bool {
        let mut said = self.0.lock().unwrap();
        let said = said.entry(node.to_owned()).or_default();
        *said += 1;
        *said <= 4
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_loses_heartbeats_is_rejected_for_the_wrong_picture_of_the_cluster() {
    let breakage = |transport: Arc<dyn Transport>| Hooked::around(transport, FallsSilent::default());
    rejects(breakage, &[Property::P13]).await;
}
