//! The Big List of Naughty Strings, wherever text of others goes: each string comes back as it was, or is refused.

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use conf::identifier::{ClientId, MemberId, decode_segment, encode_segment};
    use gateway::fault::{Fault, Leaf, soap as fault_soap};
    use gateway::message::rest::{PathRules, RestRequest};
    use naughty_strings::BLNS;

    /// Strings; how many of them an identifier, the user of a message, and a segment of a path can be.
    const COUNTS: (usize, usize, usize, usize) = (515, 513, 510, 267);

    fn headers(client: &str, user: &str) -> Vec<(Bytes, Bytes)> {
        [("X-Road-Client", client), ("X-Road-UserId", user)]
            .map(|(name, value)| (name.into(), Bytes::copy_from_slice(value.as_bytes())))
            .into()
    }

    #[test]
    fn every_string_comes_back_as_it_was_or_is_refused() {
        let (mut identifiers, mut users, mut paths) = (0, 0, 0);
        for string in BLNS {
            assert_eq!(decode_segment(&encode_segment(string)).as_deref(), Ok(*string), "{string:?}");
            // As the code of a member, in a header of a client, and in the part that is signed.
            if let Ok(member) = MemberId::new("EE", "GOV", *string) {
                let client = member.subsystem(*string).unwrap();
                assert_eq!(client.to_string().parse::<ClientId>().as_ref(), Ok(&client));
                let sent = headers(&client.encoded(), "EE1");
                let target = "/r1/EE/GOV/2002/registry/records";
                let made = RestRequest::from_client(
                    "GET",
                    target,
                    &sent,
                    "r",
                    || "i".to_owned(),
                    PathRules::default(),
                );
                if let Ok(made) = made {
                    assert_eq!(made.header.client, client);
                    assert_eq!(RestRequest::parse(made.part().clone()).as_ref(), Ok(&made));
                    identifiers += 1;
                }
            }
            // As whom the client acts for, unescaped.
            let target = format!("/r1/EE/GOV/2002/registry/records/{}", encode_segment(string));
            let sent = headers("EE/GOV/1001/portal", string);
            let plain = "/r1/EE/GOV/2002/registry/records";
            if let Ok(made) =
                RestRequest::from_client("GET", plain, &sent, "r", || "i".to_owned(), PathRules::default())
            {
                assert!(!string.contains(['\r', '\n']));
                assert_eq!(RestRequest::parse(made.part().clone()).as_ref(), Ok(&made));
                users += 1;
            }
            // As a segment of the path.
            let sent = headers("EE/GOV/1001/portal", "EE1");
            if let Ok(made) =
                RestRequest::from_client("GET", &target, &sent, "r", || "i".to_owned(), PathRules::default())
            {
                assert_eq!(made.service_path.decided(), format!("/{string}"), "{string:?}");
                assert!(!string.contains(['/', '\\', '\0']));
                paths += 1;
            }
            // As the text of a fault.
            let fault = Fault::new(Leaf::BadRequest, *string);
            let told = fault_soap::parse(&fault_soap::render(&fault)).unwrap();
            let held: String = string.chars().filter(|c| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')).collect();
            assert_eq!(
                told.text.replace('\r', "\n"),
                held.replace("\r\n", "\n").replace('\r', "\n"),
                "{string:?}"
            );
        }
        println!(
            "{} strings: {identifiers} as identifiers, {users} as users, {paths} as segments",
            BLNS.len()
        );
        assert_eq!((BLNS.len(), identifiers, users, paths), COUNTS);
    }
}
