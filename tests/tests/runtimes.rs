//! The behaviour suite on every runtime.

macro_rules! suite {
    ($($behaviour:ident)*) => {
        suite!(@on blocking Blocking $($behaviour)*);
        suite!(@on async_std AsyncStd $($behaviour)*);
        suite!(@on smol Smol $($behaviour)*);
    };
    (@on $module:ident $runtime:ident $($behaviour:ident)*) => {
        mod $module {
            use tallac_tests::{conformance, puppet::Runtime};
            $(
                #[test]
                fn $behaviour() {
                    conformance::$behaviour(Runtime::$runtime);
                }
            )*
        }
    };
}

suite! {
    frames_go_both_ways
    somebody_who_connects_is_announced
    failed_connections_say_why
    host_names_are_resolved
    strangers_are_cut_off
    grants_are_honoured
    closing_flushes
    aborting_is_prompt
    attempts_can_be_given_up
    the_end_of_the_other_side_is_noticed
    bad_frames_end_a_connection
    the_web_port_passes_bytes
    a_web_client_that_leaves_is_noticed
    disk_and_jobs_come_back
    a_panic_ends_the_run
    strangers_are_few
    deadlines_are_kept
    stopping_flushes
    stopping_is_prompt
    many_connections_at_once
}
