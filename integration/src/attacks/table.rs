//! The rows, in the order of the threat model.

use super::{
    Make, access, admin, conf, doors, evidence, headers, http, limits, lines, multipart, path, quic,
    signature, soap, timing, tls, xml,
};
use crate::world::Wishes;

/// A row of the table.
pub struct Row {
    /// `T01` …
    pub id: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// How many cases it has. Written down, so that a table that shrinks fails.
    pub cases: usize,
    /// What makes them.
    pub make: Option<Make>,
    /// The settings of a world of its own, for a row that changes more than it can set right again.
    pub wishes: Option<fn() -> Wishes>,
    /// Tests that try what no world of the table can: `file::name`.
    pub elsewhere: &'static [&'static str],
    /// Why the row, or a part of it, is not tried at all.
    pub open: Option<&'static str>,
}

impl Row {
    const fn tried(id: &'static str, title: &'static str, cases: usize, make: Make) -> Self {
        Self { id, title, cases, make: Some(make), wishes: None, elsewhere: &[], open: None }
    }

    const fn elsewhere(id: &'static str, title: &'static str, tests: &'static [&'static str]) -> Self {
        Self { id, title, cases: 0, make: None, wishes: None, elsewhere: tests, open: None }
    }
}

/// All rows.
pub const ROWS: &[Row] = &[
    Row::tried("T01", "Stolen certificates", 6, |world| {
        Box::pin(async { tls::stolen_and_revoked(world).await.0 })
    }),
    Row::tried("T02", "Revoked certificates", 4, |world| {
        Box::pin(async { tls::stolen_and_revoked(world).await.1 })
    }),
    Row::tried("T03", "OCSP responses", 60, |world| Box::pin(tls::ocsp(world))),
    Row::tried("T04", "Unknown servers", 27, |world| Box::pin(tls::strangers(world))),
    Row::tried("T05", "Clients of others", 20, |world| Box::pin(tls::clients(world))),
    Row::tried("T06", "Signers", 28, |world| Box::pin(signature::signers(world))),
    Row::tried("T07", "Impersonation", 60, |world| Box::pin(access::impersonation(world))),
    Row {
        wishes: Some(Wishes::default),
        elsewhere: &[
            "integration/tests/replays.rs::a_restart_forgets_no_request",
            "integration/tests/replays.rs::of_many_that_come_at_once_one_is_served",
            "integration/tests/replays.rs::a_request_is_forgotten_after_the_window",
            "integration/tests/replays.rs::replays_are_told_or_not_looked_for_as_configured",
        ],
        ..Row::tried("T08", "Replays", 8, |world| Box::pin(doors::replays(world)))
    },
    Row::tried("T09", "Answers to something else", 26, |world| Box::pin(tls::answers(world))),
    Row::tried("T10", "Signatures", 75, |world| Box::pin(signature::values(world))),
    Row::tried("T11", "Hash chains", 57, |world| Box::pin(signature::chains(world))),
    Row::tried("T12", "Signature wrapping", 277, |world| Box::pin(signature::wrapping(world))),
    Row::tried("T13", "XML", 460, |world| Box::pin(xml::cases(world))),
    Row {
        wishes: Some(doors::served_again),
        ..Row::tried("T14", "Multipart", 254, |world| Box::pin(multipart::cases(world)))
    },
    Row {
        wishes: Some(doors::served_again),
        ..Row::tried("T15", "Multipart smuggling", 93, |world| Box::pin(multipart::content_types(world)))
    },
    Row::tried("T16", "Characters", 391, |world| Box::pin(headers::cases(world))),
    Row::tried("T17", "Request smuggling", 364, |world| Box::pin(http::smuggling(world))),
    Row::tried("T18", "Paths", 185, |world| Box::pin(path::cases(world))),
    Row::tried("T19", "Rights", 88, |world| Box::pin(access::rights(world))),
    Row::tried("T20", "Sizes", 46, |world| Box::pin(limits::sizes(world))),
    Row {
        wishes: Some(limits::impatient),
        ..Row::tried("T21", "Slowness", 28, |world| Box::pin(limits::slowness(world)))
    },
    Row {
        elsewhere: &["gateway/src/evidence/asic/archive.rs::bombs_are_refused_before_they_are_unpacked"],
        ..Row::tried("T22", "Decompression bombs", 4, |world| Box::pin(limits::packed(world)))
    },
    Row::elsewhere(
        "T23",
        "Large bodies",
        &[
            "integration/tests/large_body.rs::a_gibibyte_passes_in_little_memory_and_leaves_whole_evidence",
            "gateway/tests/log_large_body.rs::memory_does_not_grow_with_a_body_of_64_mib",
            "gateway/src/messagelog/body/tests.rs::the_quota_bounds_what_is_in_flight_and_is_given_back",
        ],
    ),
    Row {
        wishes: Some(Wishes::default),
        ..Row::tried("T24", "Expired configuration", 8, |world| Box::pin(conf::expired(world)))
    },
    Row::tried("T25", "Rolled-back configuration", 6, |world| {
        Box::pin(async { conf::sources(world).await.0 })
    }),
    Row::tried("T26", "Lying sources", 44, |world| Box::pin(async { conf::sources(world).await.1 })),
    Row {
        elsewhere: &[
            "conf/tests/client.rs::a_federated_instance_is_followed_only_where_both_sides_agree_and_stays_in_its_bounds",
            "conf/tests/snapshot.rs::another_instance_cannot_take_over_a_server_of_ours",
            "conf/tests/snapshot.rs::an_authority_of_another_instance_cannot_name_our_members",
            "conf/tests/snapshot.rs::a_federated_instance_that_is_broken_or_expired_is_left_out_and_told",
            "conf/tests/client.rs::a_folder_or_an_anchor_of_another_instance_is_refused",
        ],
        ..Row::tried("T27", "Federation", 6, |world| Box::pin(conf::federation(world)))
    },
    Row {
        elsewhere: &[
            "gateway/tests/log_timestamps.rs::a_wrong_answer_of_an_authority_stamps_nothing_and_the_next_authority_is_asked",
            "gateway/tests/log_timestamps.rs::a_clock_that_differs_by_a_minute_is_put_up_with",
            "cert-authority/tests/timestamp.rs::a_token_with_two_signers_or_none_is_refused",
            "cert-authority/tests/timestamp.rs::only_an_approved_certificate_for_time_stamping_is_believed",
            "cert-authority/tests/timestamp.rs::no_altered_byte_changes_what_is_proven",
            "cert-authority/tests/timestamp.rs::a_refusal_and_garbage_are_no_token",
        ],
        ..Row::tried("T28", "Time-stamps", 9, |world| Box::pin(conf::stamps(world)))
    },
    Row {
        wishes: Some(doors::soon_without_stamps),
        ..Row::tried("T29", "No time-stamps for too long", 6, |world| Box::pin(doors::without_stamps(world)))
    },
    Row {
        wishes: Some(Wishes::default),
        ..Row::tried("T30", "Log tampering", 59, |world| Box::pin(evidence::log(world)))
    },
    Row::elsewhere(
        "T31",
        "Full and failing disks",
        &[
            "integration/tests/faults.rs::a_full_disk_refuses_exchanges_and_recovers_when_there_is_room",
            "integration/tests/faults.rs::without_room_for_evidence_nothing_is_forwarded",
            "gateway/tests/log_faults.rs::a_failed_sync_stops_the_log_for_good",
            "gateway/tests/log_faults.rs::no_step_on_a_full_disk_breaks_a_promise",
            "gateway/tests/log_faults.rs::no_step_that_fails_half_way_breaks_a_promise",
        ],
    ),
    Row {
        wishes: Some(Wishes::default),
        elsewhere: &[
            "cert-authority/src/clocks.rs::an_authority_is_believed_by_itself_and_a_server_only_with_another_that_says_the_same",
            "cert-authority/src/clocks.rs::a_clock_that_is_set_wrong_is_found_at_once_and_so_is_one_that_is_set_right",
            "cert-authority/src/clocks.rs::at_a_limit_all_is_well_and_a_second_beyond_it_is_not",
            "conf/src/client/plan.rs::a_clock_turned_back_does_not_stop_the_client",
        ],
        ..Row::tried("T32", "Clock jumps", 8, |world| Box::pin(doors::clocks(world)))
    },
    Row::elsewhere(
        "T33",
        "Key files",
        &[
            "gateway/tests/start_refused.rs::serve_ends_with_a_failure_when_a_key_or_the_pin_is_open_to_others",
            "gateway/tests/start_refused.rs::serve_ends_with_a_failure_when_a_key_is_a_link_or_another_key",
            "gateway/tests/start_refused.rs::serve_ends_with_a_failure_when_a_key_belongs_to_somebody_else",
            "cert-authority/tests/keys.rs::a_swapped_cut_or_foreign_key_file_is_refused",
        ],
    ),
    Row {
        open: Some(
            "tries of a PIN are not counted, memory is not locked: whoever can try has the encrypted keys",
        ),
        ..Row::elsewhere(
            "T34",
            "PIN",
            &[
                "gateway/tests/start_refused.rs::serve_ends_with_a_failure_without_its_pin_or_with_another",
                "cert-authority/tests/keys.rs::the_wrong_pin_opens_nothing",
                "cert-authority/tests/keys.rs::a_pin_file_is_read_without_its_line_end_and_only_when_closed",
            ],
        )
    },
    Row::elsewhere(
        "T35",
        "Addresses of services",
        &[
            "gateway/src/config/resolve/tests.rs::no_service_is_at_our_own_ports_or_at_a_link_local_address",
            "gateway/tests/transport_services.rs::a_name_that_leads_to_where_no_service_is_called_gets_not_a_byte",
            "gateway/tests/description_fetch.rs::a_redirection_is_not_followed",
            "gateway/tests/description_fetch.rs::an_answer_too_long_or_too_slow_is_given_up",
        ],
    ),
    Row {
        wishes: Some(admin::with_tokens),
        ..Row::tried("T36", "Administration", 76, |world| Box::pin(admin::cases(world)))
    },
    Row::tried("T37", "Handshakes", 46, |world| Box::pin(doors::handshakes(world))),
    Row {
        wishes: Some(quic::speaking),
        elsewhere: &[
            "integration/tests/quic.rs::strangers_are_refused_in_the_handshake_and_early_data_is_not_taken",
            "integration/tests/quic.rs::an_untrusted_peer_is_told_the_same_as_over_tcp",
            "integration/tests/quic.rs::a_peer_that_is_revoked_is_refused_within_the_interval_over_connections_that_were_open",
            "integration/tests/quic_flood.rs::a_flood_of_garbage_and_of_half_handshakes_keeps_nobody_out_and_takes_little_memory",
            "integration/tests/quic.rs::addresses_are_proven_first_when_too_many_are_not",
            "integration/tests/quic.rs::connections_beyond_the_limit_are_refused_and_those_below_are_served",
            "integration/tests/quic.rs::a_request_goes_by_tcp_after_quic_only_when_nobody_can_have_read_it",
        ],
        ..Row::tried("T38", "QUIC", 46, |world| Box::pin(quic::cases(world)))
    },
    Row {
        elsewhere: &[
            "cert-authority/tests/service.rs::questions_about_foreign_certificates_and_garbage_are_refused",
            "cert-authority/tests/service.rs::a_request_in_the_path_keeps_its_slashes",
            "cert-authority/tests/service.rs::openssl_believes_the_responder_and_sees_a_revocation_at_once",
            "cert-authority/tests/ocsp.rs::nonces_have_1_to_128_bytes",
        ],
        ..Row::tried("T39", "OCSP responders", 14, |world| Box::pin(doors::ocsp_port(world)))
    },
    Row::elsewhere(
        "T40",
        "Requests for certificates",
        &[
            "cert-authority/tests/issue.rs::a_request_without_a_valid_proof_of_possession_is_refused",
            "cert-authority/tests/issue.rs::a_request_for_a_short_key_is_refused",
            "cert-authority/tests/issue.rs::an_authority_refuses_what_its_policy_and_its_certificate_do_not_allow",
            "cert-authority/tests/service.rs::the_subject_and_hosts_are_what_the_operator_says",
            "cert-authority/tests/service.rs::the_commands_refuse_what_cannot_be",
        ],
    ),
    Row::tried("T41", "Containers", 168, |world| Box::pin(evidence::containers(world))),
    Row::tried("T42", "SOAP", 86, |world| Box::pin(soap::cases(world))),
    Row::tried("T43", "Log injection", 42, |world| Box::pin(lines::cases(world))),
    Row::tried("T44", "Descriptions and lists", 24, |world| Box::pin(access::metaservices(world))),
    Row::elsewhere(
        "T45",
        "Bodies at rest",
        &[
            "integration/tests/canary.rs::no_body_is_in_the_clear_in_any_file_line_trace_or_record_of_two_gateways",
            "gateway/src/messagelog/body/tests.rs::no_plain_text_and_no_name_is_in_the_directory_until_a_body_is_kept",
        ],
    ),
    Row::tried("T46", "Timing before authentication", 16, |world| Box::pin(timing::alike(world))),
];
