//! The tests that a transport's author generates: one for each scenario.

/// Makes a test of each scenario: how time passes, and an expression that makes a subject, which may wait.
///
/// ```
/// mod in_process {
///     catga_conformance::conformance_tests!(Virtual, catga_conformance::InProcessSubject::new());
/// }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($clock:ident, $subject:expr) => {
        $crate::conformance_tests! { @each $clock, $subject,
            events_in_batches_of_all_sizes_reach_every_node_and_group
            a_node_gets_what_is_published_between_its_coming_and_its_leaving
            the_members_of_a_group_share_the_work
            rumours_reach_every_node_once
            a_handler_that_never_returns_holds_a_bounded_number_of_messages
            a_handler_that_never_returns_has_what_it_cannot_take_dropped_and_counted
            lost_acknowledgements_lead_to_deliveries_that_are_recognised
            lost_and_doubled_deliveries_are_made_good
            a_store_that_stays_silent_leaves_the_outcome_unknown
            a_node_that_is_cut_off_gets_what_it_missed
            a_store_whose_word_is_lost_stores_once
            a_kill_between_effect_and_mark_adds_one_run
            what_a_killed_node_had_under_way_is_handled_when_it_is_back
            the_work_of_a_killed_member_goes_to_the_others
            handlers_that_fail_run_exactly_as_often_as_they_may
            a_group_counts_the_runs_of_all_its_members
            a_message_that_failed_and_whose_delivery_is_made_again_takes_effect_once
            dead_letters_are_complete_and_their_replay_takes_effect_once
            a_conversation_goes_on_through_retry_dead_letter_and_replay
            one_bad_message_harms_only_itself
            a_node_that_shuts_down_finishes_what_runs_and_gives_back_the_rest
            what_arrives_while_a_node_shuts_down_is_handled_elsewhere_or_later
            members_of_a_group_that_stop_leave_their_work_to_those_who_stay
            nodes_that_stop_together_leave_nothing_undone_that_they_have_time_for
            restarts_in_the_middle_keep_the_order_of_a_handler_that_runs_once_at_a_time
            restarts_between_runs_cost_none_and_add_none
            a_handler_that_never_returns_does_not_keep_a_node_from_leaving
            every_request_has_one_answer_by_its_deadline
            requests_that_come_twice_and_replies_that_are_lost_do_no_harm
            a_command_moves_on_only_from_a_node_that_died
            a_node_that_is_full_refuses_and_another_one_takes_over
            every_node_learns_who_comes_and_who_goes
            clocks_that_are_minutes_apart_change_nothing
            a_clock_that_is_set_back_hides_no_node
            two_versions_of_a_message_type_read_each_other
            what_is_stored_survives_a_restart_of_the_store
            the_store_ends_while_events_are_on_their_way
            connections_that_break_cost_nothing_that_was_stored
            a_network_that_falls_silent_loses_nothing
            requests_are_answered_while_connections_break
            nothing_is_lost_in_a_storm
        }
    };
    (@each $clock:ident, $subject:expr, $($scenario:ident)*) => {
        $(
            #[test]
            fn $scenario() {
                $crate::run(stringify!($scenario), $crate::Clock::$clock, async { $subject });
            }
        )*

        #[test]
        fn no_scenario_is_left_out() {
            let names: Vec<_> = $crate::scenarios().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, [$(stringify!($scenario)),*]);
        }
    };
}
