//! Vectors of others that no registry carries: `integration/vectors/fetch.sh FOLDER` brings them, `PASSERELLE_VECTORS=FOLDER`
//! names them. Where they are not, the tests say so, with what came of them when they last ran.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use bytes::Bytes;
    use gateway::access::endpoint::{Endpoint, PathGlob};
    use gateway::evidence::canonical::{Method, canonicalize, canonicalize_document};
    use gateway::message::rest::{PathRules, RestRequest};

    /// The folder; says what was not run where there is none.
    fn vectors(name: &str, recorded: &str) -> Option<PathBuf> {
        #[expect(clippy::disallowed_methods, reason = "where the vectors lie is told by the environment")]
        let folder = std::env::var("PASSERELLE_VECTORS");
        if let Ok(folder) = folder {
            return Some(PathBuf::from(folder).join(name));
        }
        eprintln!("NOT RUN: {name}: PASSERELLE_VECTORS is not set. When it last ran: {recorded}");
        None
    }

    const TRAVERSALS: &str = "fuzzdb, path traversal: 530 lines, 433 refused, 97 served as plain names below what is allowed, 0 lead out of it";

    #[test]
    fn no_traversal_leads_out_of_what_is_allowed() {
        let Some(list) = vectors("traversal.txt", TRAVERSALS) else { return };
        let text = fs::read_to_string(list).unwrap();
        let allowed = Endpoint { verb: None, path: PathGlob::new("/public/**") };
        let (mut refused, mut denied, mut served) = (0, 0, 0);
        for line in text.lines() {
            let path = line.replace("{FILE}", "etc/passwd");
            let target = format!("/r1/EE/GOV/2002/registry/records/public{path}");
            let headers = [(Bytes::from("X-Road-Client"), Bytes::from("EE/GOV/1001/portal"))];
            let made = RestRequest::from_client(
                "GET",
                &target,
                &headers,
                "r",
                || "i".to_owned(),
                PathRules::default(),
            );
            let Ok(made) = made else {
                refused += 1;
                continue;
            };
            if !allowed.matches(made.verb, &made.service_path) {
                denied += 1;
                continue;
            }
            served += 1;
            // What the service gets, read as servers read paths: escapes once, slashes of both kinds.
            let decoded =
                percent_encoding::percent_decode_str(made.service_path.raw()).decode_utf8().unwrap();
            assert!(!decoded.split(['/', '\\']).any(|segment| segment == ".."), "{line}");
        }
        println!("{refused} refused, {denied} denied, {served} served as plain names below what is allowed");
        assert_eq!((refused, denied, served), (433, 0, 97));
    }

    const CANONICAL: &str = "libxml2, Canonical XML: 4 documents as expected, 4 refused for their DTD, 33 select single nodes, which no signature here does";

    #[test]
    fn documents_have_the_canonical_form_that_is_expected() {
        let Some(folder) = vectors("c14n", CANONICAL) else { return };
        let (mut same, mut refused, mut selecting) = (0, 0, 0);
        for (kind, method) in
            [("without-comments", Method::Inclusive), ("exc-without-comments", Method::Exclusive)]
        {
            let mut files: Vec<_> = fs::read_dir(folder.join("test/c14n").join(kind))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            files.sort();
            for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "xml")) {
                let stem = file.file_stem().unwrap();
                let xpath = fs::read_to_string(file.with_extension("xpath")).ok();
                // Sets of single nodes are not what signatures of messages are over.
                if xpath.as_ref().is_some_and(|xpath| !xpath.contains("<!-- everything -->"))
                    || file.with_extension("ns").exists()
                {
                    selecting += 1;
                    continue;
                }
                let text = fs::read_to_string(file).unwrap();
                let Ok(document) = roxmltree::Document::parse(&text) else {
                    assert!(text.contains("<!DOCTYPE"), "{}", file.display());
                    refused += 1;
                    continue;
                };
                let ours = match xpath {
                    None => canonicalize_document(&document, method),
                    Some(_) => {
                        let bar = ("http://example.org/bar", "Something");
                        canonicalize(
                            document.descendants().find(|node| node.has_tag_name(bar)).unwrap(),
                            method,
                        )
                    }
                };
                let expected = fs::read(folder.join("result/c14n").join(kind).join(stem)).unwrap();
                assert_eq!(
                    String::from_utf8_lossy(&ours),
                    String::from_utf8_lossy(&expected),
                    "{}",
                    file.display()
                );
                same += 1;
            }
        }
        println!("{same} the same, {refused} refused for their DTD, {selecting} select single nodes");
        assert_eq!((same, refused, selecting), (4, 4, 33));
    }
}
