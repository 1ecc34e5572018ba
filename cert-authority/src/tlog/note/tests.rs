use super::*;

/// The key of the example in C2SP signed-note.
const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn key() -> VerifierKey {
    KEY.parse().unwrap()
}

#[test]
fn the_example_of_the_specification_holds() {
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    assert_eq!(note.verify([&key()]).unwrap().len(), 1);
    assert_eq!((note.to_string().as_str(), key().to_string().as_str()), (NOTE, KEY));
    assert_eq!(
        (key().name(), key().id(), key().kind()),
        ("example.com/foo", 0x530d_903a, SignatureType::Ed25519)
    );
}

#[test]
fn the_key_of_go_s_checksum_database_is_read() {
    // A fact that every Go program carries.
    let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    let key: VerifierKey = text.parse().unwrap();
    assert_eq!((key.name(), key.to_string().as_str()), ("sum.golang.org", text));
}

#[test]
fn a_changed_note_is_refused_and_one_by_strangers_is_unsigned() {
    let changed = NOTE.replace("example message", "exemple message");
    let changed = Note::parse(changed.as_bytes()).unwrap();
    assert_eq!(changed.verify([&key()]), Err(NoteError::BadSignature("example.com/foo".to_owned())));
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    let other: VerifierKey =
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8".parse().unwrap();
    assert_eq!(note.verify([&other]), Err(NoteError::Unsigned));
    assert_eq!(note.verify([&other, &key()]).unwrap().len(), 1);
    assert_eq!(note.verify([]), Err(NoteError::Unsigned));
    // The same name with another id is a stranger too.
    let renamed = VerifierKey::new("example.com/foo", SignatureType::Cosignature, key().public).unwrap();
    assert_eq!(note.verify([&renamed]), Err(NoteError::Unsigned));
}

#[test]
fn a_false_signature_beside_a_right_one_spoils_the_note_and_a_second_one_by_the_same_key_is_passed_over() {
    let right = Note::parse(NOTE.as_bytes()).unwrap();
    let mut bytes = right.signatures[0].bytes.clone();
    bytes[9] ^= 1;
    let mut wrong = right.signatures[0].clone();
    wrong.bytes = bytes;
    let note = |signatures| Note::new(right.text(), signatures).unwrap();
    assert!(note(vec![wrong.clone(), right.signatures[0].clone()]).verify([&key()]).is_err());
    assert!(note(vec![right.signatures[0].clone(), wrong]).verify([&key()]).is_ok());
}

#[test]
fn text_with_empty_lines_is_split_at_the_last_one() {
    let line = NOTE.lines().last().unwrap();
    let note = Note::parse(format!("one\n\n\ntwo\n\n{line}\n{line}\n").as_bytes()).unwrap();
    assert_eq!((note.text(), note.signatures().len()), ("one\n\n\ntwo\n", 2));
    assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note));
}

#[test]
fn sixteen_signatures_are_read_and_too_many_are_not() {
    let line = NOTE.lines().last().unwrap();
    let with = |count| Note::parse(format!("text\n\n{}", format!("{line}\n").repeat(count)).as_bytes());
    assert_eq!(with(16).unwrap().signatures().len(), 16);
    assert!(with(MOST_SIGNATURES).is_ok());
    assert!(matches!(with(MOST_SIGNATURES + 1), Err(NoteError::Malformed(_))));
}

#[test]
fn what_is_no_note_is_refused() {
    let line = NOTE.lines().last().unwrap();
    for bad in [
        String::new(),
        "text\n".to_owned(),
        "text\n\n".to_owned(),
        format!("text\n{line}\n"),
        format!("text\n\n{line}"),
        format!("text\n\n{line}\n\n"),
        format!("text\n\n{line}\nmore\n"),
        format!("\n\n{}", line.trim_start_matches('\u{2014}')),
        format!("te\txt\n\n{line}\n"),
        format!("text\r\n\r\n{line}\r\n"),
        format!("text\n\n{line}\r\n"),
        format!("text\n\n{} \n", line),
        "text\n\n\u{2014} name AAAAAA==\n".to_owned(),
        "text\n\n\u{2014} name AAAA\n".to_owned(),
        "text\n\n\u{2014} name !!!!\n".to_owned(),
        "text\n\n\u{2014} name\n".to_owned(),
        "text\n\n- name AAAAAAAA\n".to_owned(),
        format!("{}\n\n{line}\n", "x".repeat(LONGEST)),
    ] {
        assert!(matches!(Note::parse(bad.as_bytes()), Err(NoteError::Malformed(_))), "{bad:.60?}");
    }
    for bad in ["\u{2014} na+me AAAAAAAA", "\u{2014}  AAAAAAAA", "\u{2014} na\u{3000}me AAAAAAAA"] {
        assert!(Note::parse(format!("text\n\n{bad}\n").as_bytes()).is_err(), "{bad}");
    }
    assert!(Note::parse(b"te\xffxt\n\n").is_err());
}

#[test]
fn verifier_keys_that_contradict_themselves_are_refused() {
    for bad in [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U0=",
        "example.com/foo+530d903a+!!!!",
    ] {
        assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
    }
}

#[test]
fn cosignatures_state_a_time_and_others_do_not() {
    let signature = |bytes: Vec<u8>| Signature { name: "w".into(), id: 1, bytes };
    let stamped = [1_679_315_147_u64.to_be_bytes().as_slice(), &[7; 64]].concat();
    assert_eq!(signature(stamped).timestamped(), Some((1_679_315_147, [7; 64].as_slice())));
    assert_eq!(signature(vec![1; 7]).timestamped(), None);
    assert_eq!(signature(vec![0; 72]).timestamped(), None, "a cosignature without a time");
    assert_eq!(signature(vec![0xff; 72]).timestamped(), None, "beyond 2^63");
}
