//! The same on the newest server, which everything else runs on too, and on older ones that catga takes.

use xtask::nats::{Server, ServerOptions};

use crate::{basics, faults, foreign};

fn server(version: &str) -> Server {
    Server::start(&ServerOptions { version: Some(version.to_owned()), ..ServerOptions::default() }).unwrap()
}

/// One test for each version.
macro_rules! on_every_version {
    ($($file:ident::$case:ident),* $(,)?) => {
        $(mod $case {
            #[tokio::test(flavor = "multi_thread")]
            async fn on_2_15() {
                super::$file::$case(super::server("2.15.1")).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_2_12() {
                super::$file::$case(super::server("2.12.8")).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_2_10() {
                super::$file::$case(super::server("2.10.26")).await;
            }
        })*
    };
}

on_every_version! {
    basics::a_whole_application_works,
    basics::a_failed_run_is_repeated_and_then_a_dead_letter,
    basics::a_dead_letter_is_listed_replayed_and_gone,
    basics::a_node_that_comes_back_gets_what_it_missed,
    basics::what_is_larger_than_the_server_carries_is_refused,
    faults::a_consumer_that_is_deleted_is_made_anew_behind_what_is_done,
    faults::a_stream_that_is_deleted_is_made_anew,
    faults::a_server_that_is_killed_loses_nothing_that_was_stored,
    foreign::events_of_other_programs_are_handled_in_every_form,
    foreign::a_lone_event_is_a_cloud_event_that_every_program_reads,
    foreign::other_programs_ask_and_are_answered,
    foreign::an_answer_never_becomes_a_command_to_the_server,
}
