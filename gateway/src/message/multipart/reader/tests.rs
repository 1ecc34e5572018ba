//! The reader, fed whole and in pieces, with good and with hostile bodies.

use proptest::prelude::*;

use super::*;
use crate::message::multipart::{Boundary, Writer};

const TYPE: &str = "multipart/mixed; boundary=b";

/// One part: media type and content.
type Part = (String, Vec<u8>);

fn read_pieces<'a>(
    content_type: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Part>, MultipartError> {
    let mut reader = Reader::new(content_type, Limits::default())?;
    let mut parts: Vec<Part> = Vec::new();
    let mut ended = 0;
    for piece in pieces {
        reader.push(Bytes::copy_from_slice(piece));
        loop {
            match reader.pull()? {
                Event::NeedMore | Event::End => break,
                Event::PartHead(head) => parts.push((head.media_type().to_owned(), Vec::new())),
                Event::Data(data) => {
                    assert!(!data.is_empty());
                    parts.last_mut().unwrap().1.extend_from_slice(&data);
                }
                Event::PartEnd => ended += 1,
            }
        }
    }
    reader.finish()?;
    assert_eq!(ended, parts.len());
    Ok(parts)
}

fn read(body: &str) -> Result<Vec<Part>, MultipartError> {
    let whole = read_pieces(TYPE, [body.as_bytes()]);
    let bytewise = read_pieces(TYPE, body.as_bytes().chunks(1));
    assert_eq!(whole, bytewise, "{body:?}");
    whole
}

fn part(media_type: &str, content: &str) -> Part {
    (media_type.to_owned(), content.as_bytes().to_vec())
}

#[test]
fn parts_are_read() {
    assert_eq!(
        read(
            "--b\r\ncontent-type: a/b\r\n\r\none\r\n--b\r\nCONTENT-TYPE:C/D; x=y\r\nx: 1\r\n\r\n\r\n--b--\r\n"
        ),
        Ok(vec![part("a/b", "one"), part("c/d", "")])
    );
}

#[test]
fn what_looks_like_a_delimiter_within_a_line_is_content() {
    let content = "--b\r\n -x\n--b\n\r--b\r\r\n-\r\n--a\r\n--";
    let body = format!("--b\r\ncontent-type: a/b\r\n\r\n{content}\r\n--b--");
    assert_eq!(read(&body), Ok(vec![part("a/b", content)]));
}

#[test]
fn text_around_the_parts_is_ignored_and_blanks_after_a_boundary_too() {
    assert_eq!(
        read("hello\r\n--b \t\r\ncontent-type: a/b\r\n\r\nx\r\n--b--\r\nbye\r\n--b\r\n"),
        Ok(vec![part("a/b", "x")])
    );
}

#[test]
fn a_head_may_be_empty() {
    assert_eq!(read("--b\r\n\r\nx\r\n--b--"), Ok(vec![part("", "x")]));
}

#[test]
fn a_body_cut_anywhere_is_refused() {
    let body = "--b\r\ncontent-type: a/b\r\n\r\none\r\n--b--";
    for length in 0..body.len() {
        assert_eq!(read(&body[..length]), Err(MultipartError::Truncated), "{:?}", &body[..length]);
    }
}

#[test]
fn line_ends_other_than_crlf_do_not_delimit() {
    let lf = "--b\ncontent-type: a/b\n\nx\n--b--\n";
    assert_eq!(read(lf), Err(MultipartError::Delimiter));
    let lf_later = "--b\r\ncontent-type: a/b\r\n\r\nx\n--b--\n";
    assert_eq!(read(lf_later), Err(MultipartError::Truncated));
}

#[test]
fn a_longer_boundary_is_refused() {
    for line in ["--bc", "--b -", "--b-", "--b-x", "--b\rx"] {
        let body = format!("--b\r\ncontent-type: a/b\r\n\r\nx\r\n{line}\r\n\r\ny\r\n--b--");
        assert_eq!(read(&body), Err(MultipartError::Delimiter), "{line}");
    }
}

#[test]
fn malformed_part_heads_are_refused() {
    for (head, error) in [
        ("content-type: a/b\r\n c/d", MultipartError::Header("a folded line")),
        ("content-type: a/b\r\ncontent-type: a/b", MultipartError::Header("Content-Type given twice")),
        ("content-type a/b", MultipartError::Header("a line without colon")),
        ("content type: a/b", MultipartError::Header("a name")),
        (": a/b", MultipartError::Header("a name")),
        ("content-type: a/b\nx: y", MultipartError::Header("a control character")),
        ("content-type: a/b\0", MultipartError::Header("a control character")),
        ("content-type: a", MultipartError::ContentType("no media type")),
        ("content-type: a/b; c=d; c=d", MultipartError::ContentType("a parameter given twice")),
    ] {
        assert_eq!(read(&format!("--b\r\n{head}\r\n\r\nx\r\n--b--")), Err(error), "{head:?}");
    }
    let not_utf8 = b"--b\r\nx: \xff\r\n\r\nx\r\n--b--".as_slice();
    assert_eq!(read_pieces(TYPE, [not_utf8]), Err(MultipartError::Header("not UTF-8")));
}

#[test]
fn at_its_limits_a_body_is_read() {
    let Limits { part_head, parts, around, .. } = Limits::default();
    // With the line end before it, without the empty line behind it.
    let head =
        |length: usize| format!("--b\r\nx: {}\r\n\r\nx\r\n--b--", "a".repeat(length - "\r\nx: ".len()));
    assert_eq!(read(&head(part_head)).map(|parts| parts.len()), Ok(1));
    assert_eq!(read(&head(part_head + 1)), Err(MultipartError::TooLong("a part's head is")));
    let many = |count| "--b\r\n\r\nx\r\n".repeat(count) + "--b--";
    assert_eq!(read(&many(parts)).map(|parts| parts.len()), Ok(parts));
    assert_eq!(read(&many(parts + 1)), Err(MultipartError::TooManyParts));
    let epilogue = |length| format!("--b\r\n\r\nx\r\n--b--{}", "a".repeat(length));
    assert_eq!(read(&epilogue(around)).map(|parts| parts.len()), Ok(1));
    assert_eq!(read(&epilogue(around + 1)), Err(MultipartError::TooLong("the text around the parts is")));
}

#[test]
fn limits_hold() {
    let long_head = format!("--b\r\nx: {}\r\n\r\nx\r\n--b--", "a".repeat(8 * 1024));
    assert_eq!(read(&long_head), Err(MultipartError::TooLong("a part's head is")));
    let endless_head = format!("--b\r\nx: {}", "a".repeat(9 * 1024));
    assert_eq!(read(&endless_head), Err(MultipartError::TooLong("a part's head is")));
    let around = format!("{}\r\n--b\r\n\r\nx\r\n--b--", "a".repeat(8 * 1024));
    assert_eq!(read(&around), Err(MultipartError::TooLong("the text around the parts is")));
    let epilogue = format!("--b\r\n\r\nx\r\n--b--{}", "a".repeat(8 * 1024 + 1));
    assert_eq!(read(&epilogue), Err(MultipartError::TooLong("the text around the parts is")));
    let many = "--b\r\n\r\nx\r\n".repeat(33) + "--b--";
    assert_eq!(read(&many), Err(MultipartError::TooManyParts));
    let blanks = format!("--b{}\r\n\r\nx\r\n--b--", " ".repeat(1000));
    assert_eq!(read(&blanks), Err(MultipartError::Delimiter));
}

#[test]
fn another_type_is_refused() {
    assert_eq!(
        read_pieces("text/plain", []).unwrap_err(),
        MultipartError::OtherType("text/plain".to_owned())
    );
    let related = Reader::of_type("multipart/related", "multipart/related; boundary=b", Limits::default());
    assert!(related.is_ok());
}

#[test]
fn a_large_body_is_handed_on_without_a_copy() {
    let mut reader = Reader::new(TYPE, Limits::default()).unwrap();
    reader.push(Bytes::from_static(b"--b\r\n\r\n"));
    assert!(matches!(reader.pull(), Ok(Event::PartHead(_))));
    let piece = Bytes::from(vec![b'x'; 100_000]);
    for _ in 0..3 {
        reader.push(piece.clone());
        let Ok(Event::Data(data)) = reader.pull() else { panic!("no data") };
        assert_eq!((data.as_ptr(), data.len()), (piece.as_ptr(), piece.len()));
        assert_eq!(reader.pull(), Ok(Event::NeedMore));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_in_any_pieces(
        contents in prop::collection::vec(prop::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'x'), any::<u8>()], 0..400), 0..6),
        random in any::<[u8; 30]>(),
        cuts in prop::collection::vec(1_usize..300, 1..40),
    ) {
        let mut writer = Writer::new(Boundary::from_random(random));
        let content_type = Boundary::from_random(random).content_type();
        let mut body = BytesMut::new();
        for content in &contents {
            writer.part("a/b", content, &mut body);
        }
        body.extend(writer.end());
        let mut pieces = Vec::new();
        let mut rest = body.as_ref();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            pieces.push(piece);
            rest = after;
        }
        let expected: Vec<Part> = contents.into_iter().map(|content| ("a/b".to_owned(), content)).collect();
        // A body without parts has no first delimiter, only a closing one.
        prop_assert_eq!(read_pieces(&content_type, pieces), Ok(expected.clone()));
        prop_assert_eq!(read_pieces(&content_type, [body.as_ref()]), Ok(expected));
    }

    #[test]
    fn any_bytes_give_the_same_result_whole_and_bytewise(
        body in prop::collection::vec(
            prop_oneof![Just("--b"), Just("\r\n"), Just("\r"), Just("\n"), Just("--"), Just("a: b"), Just(" "),
                Just("x"), Just("content-type: a/b")], 0..40),
    ) {
        let body = body.concat();
        // The whole and the bytewise reading are compared in there.
        let _ = read(&body);
    }
}
