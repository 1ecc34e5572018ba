use super::*;
use cert_authority::{algorithm::DigestAlgorithm, crypto::digest};
use proptest::prelude::*;

use crate::messagelog::frame::{Frame, FrameHead};

fn message() -> MessageRecord {
    let server = |code| ServerId::parse_encoded(code).ok();
    let client: ClientId = ClientId::parse_encoded("DEMO/GOV/1001/p%2Fq").unwrap();
    let service = ServiceId::new(client.member().clone().into(), "get", Some("v1")).unwrap();
    let mut record =
        MessageRecord::new(Role::Provider, "id", "rid", client, service, Bytes::from_static(b"<s/>"));
    record.user_id = Some("EE1".into());
    record.own_server = server("DEMO/GOV/1001/ss1");
    record.peer_server = server("DEMO/GOV/2002/ss2");
    record.request = Some(0);
    record.began = Some(UnixTime::from_millis(-1));
    record.hash_chain = Some(Bytes::from_static(b"<c/>"));
    record.ocsp_responses = vec![Bytes::from_static(b"1"), Bytes::from_static(b"22")];
    let plain = digest(DigestAlgorithm::Sha512, b"x");
    let mut stored = Part::new("text/xml", 1, plain);
    stored.stored = Some(Stored { ciphertext: [4; 32], length: 34, key: "k".into(), place: Place::File });
    record.parts = vec![Part::new("", 0, plain), stored];
    record.circumstances.purpose = Some("P1".into());
    record.circumstances.jurisdiction = Some(digest(DigestAlgorithm::Sha256, b"fr"));
    record
}

fn all() -> Vec<Record> {
    let plain = digest(DigestAlgorithm::Sha512, b"x");
    vec![
        Record::Request(message()),
        Record::Response(MessageRecord { role: Role::Consumer, parts: vec![], ..message() }),
        Record::Outcome(OutcomeRecord {
            request: 7,
            message_id: "id".into(),
            outcome: Outcome::Fault,
            fault_code: Some("server.x".into()),
            fault_text: None,
            status: Some(500),
        }),
        Record::Timestamp(TimestampRecord {
            token: Bytes::from_static(b"token"),
            time: UnixTime::from_secs(5),
            authority: "TSA".into(),
            covered: vec![(1, plain), (9, plain)],
            chain_result: Some(Bytes::from_static(b"<r/>")),
        }),
        Record::Checkpoint(CheckpointRecord {
            size: 3,
            root: [8; 32],
            note: Bytes::from_static(b"note"),
            cosignatures: vec![Bytes::from_static(b"w")],
            token: None,
        }),
        Record::Configuration(ConfigurationRecord {
            scope: "global".into(),
            instance: Some("DEMO".into()),
            digest: plain,
            expires: Some(UnixTime::from_secs(9)),
            note: None,
        }),
        Record::Access(AccessRecord {
            who: "auditor".into(),
            role: None,
            action: "show".into(),
            query: "id".into(),
            reason: Some("complaint 7".into()),
            records: vec![1, u64::MAX],
            bodies: true,
        }),
        Record::Archive(ArchiveRecord {
            file: "mlog-1.zip".into(),
            group: Some("DEMO/GOV/1001".into()),
            begun: Some(7),
            previous: Some(("mlog-0.zip".into(), plain)),
            digest: plain,
            hash: digest(DigestAlgorithm::Sha256, b"zip"),
            length: 1 << 20,
            complete_below: 3,
            records: vec![3, 5],
        }),
    ]
}

#[test]
fn every_kind_of_record_is_read_as_it_was_written() {
    for record in all() {
        let bytes = record.encode();
        let read = Record::decode(record.kind(), &bytes.clone().into()).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.encode(), bytes, "one content has one encoding");
        assert_eq!(Kind::from_code(record.kind().code()), Some(record.kind()));
    }
}

#[test]
fn no_record_is_read_from_fewer_bytes_than_it_has() {
    for record in all() {
        let bytes = record.encode();
        for cut in 0..bytes.len() {
            let read = Record::decode(record.kind(), &bytes[..cut].to_vec().into());
            assert_eq!(read, Err(Unreadable), "{:?} cut at {cut}", record.kind());
        }
    }
}

#[test]
fn fields_that_are_empty_today_are_in_the_bytes() {
    let bytes = Record::Request(message()).encode().into();
    // agreement (22), data class (24), policy decision (25), TLS group (26), TLS suite (27): each with length zero.
    let mut reader = Reader::new(&bytes);
    for tag in [22, 24, 25, 26, 27] {
        assert_eq!(reader.bytes(tag).unwrap().len(), 0, "{tag}");
    }
}

#[test]
fn a_record_of_an_unknown_role_or_service_is_refused() {
    for field in [1, 8] {
        let mut writer = Writer::default();
        for tag in 1..=27u64 {
            match tag {
                1 if field == 1 => writer.number(1, Some(9)),
                1 => writer.number(1, Some(1)),
                8 => writer.list(8, ["DEMO", "GOV"]),
                7 => writer.text(7, "DEMO/GOV/1001"),
                _ => writer.bytes(tag, &[]),
            };
        }
        assert_eq!(Record::decode(Kind::Request, &writer.finish().into()), Err(Unreadable));
    }
}

fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("not blank", |text| !text.chars().all(char::is_whitespace))
}

fn some_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

/// Text that is there is not empty: the empty one is written as none.
fn maybe_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(text())
}

prop_compose! {
    fn any_message()(
        ids in (text(), text(), maybe_text(), maybe_text()),
        parties in (text(), text(), text(), text(), maybe_text()),
        times in (prop::option::of(any::<i64>()), prop::option::of(0..i64::MAX), prop::option::of(any::<u64>())),
        evidence in (some_bytes(), prop::collection::vec(some_bytes(), 0..3)),
        parts in prop::collection::vec((".{0,20}", any::<u64>(), any::<[u8; 8]>(), prop::option::of(any::<[u8; 32]>())), 0..5),
        circumstances in (maybe_text(), maybe_text(), maybe_text()),
    ) -> MessageRecord {
        let member = MemberId::new(parties.0.clone(), parties.1, parties.2).unwrap();
        let client = member.subsystem(parties.3).unwrap();
        let service = ServiceId::new(member.clone().into(), "get", parties.4.as_deref()).unwrap();
        let mut record = MessageRecord::new(Role::Consumer, ids.0, ids.1, client, service, evidence.0);
        record.user_id = ids.2;
        record.issue = ids.3;
        record.own_server = ServerId::new(member, "ss1").ok();
        record.began = times.0.map(UnixTime::from_millis);
        record.signed_at = times.1.map(UnixTime::from_millis);
        record.request = times.2;
        record.ocsp_responses = evidence.1;
        record.parts = parts
            .into_iter()
            .map(|(media_type, length, content, stored)| {
                let mut part = Part::new(media_type, length, digest(DigestAlgorithm::Sha384, &content));
                part.stored = stored.map(|ciphertext| Stored { ciphertext, length, key: "k".into(), place: Place::Chunk });
                part
            })
            .collect();
        record.circumstances.purpose = circumstances.0;
        record.circumstances.agreement = circumstances.1;
        record.circumstances.tls_suite = circumstances.2;
        record
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_message_is_read_from_its_frame_as_it_was_written(
        message in any_message(), sequence in any::<u64>(), millis in any::<i64>(),
    ) {
        let record = Record::Response(message);
        let fields = record.encode();
        let head = FrameHead { kind: record.kind(), sequence, time: UnixTime::from_millis(millis) };
        let frame = Bytes::from([&head.encode()[..], &fields].concat());
        let read = Frame::decode(&frame).unwrap();
        prop_assert_eq!(&read.record, &record);
        prop_assert_eq!(read.head, head);
        prop_assert_eq!(read.record.encode(), fields);
    }
}
