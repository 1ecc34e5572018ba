//! Hash chains: the conformance data of X-Road, the chains in the recorded exchanges, and hostile ones.

#[cfg(test)]
#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use cert_authority::{
        algorithm::DigestAlgorithm::{self, Sha256, Sha512},
        crypto::digest,
    };
    use proptest::prelude::*;

    use gateway::evidence::{
        hash_chain::{Content, HashChainError, Input, Tree, Unresolved, verify},
        signature::part_name,
    };

    use crate::evidence_support::conformance;

    fn input<'a>(name: &'a str, content: Content<'a>) -> Input<'a> {
        Input { name: name.into(), content }
    }

    /// File of the chain (and of a second one), what is known of the parts, code (none: valid).
    type Row<'a> = (&'a str, &'a str, Option<&'a str>, Vec<(&'a str, Known<'a>)>, Option<&'a str>);

    #[derive(Clone, Copy)]
    enum Known<'a> {
        File(&'a str),
        DigestOf(&'a str),
        Digest(&'static [u8]),
    }

    const ROWS: usize = 9;

    #[test]
    fn the_conformance_chains_have_their_verdicts() {
        let Some(folder) = conformance("xroad-7.8.0/hash-chains") else {
            return;
        };
        let message = "/message.xml";
        let two = "hc-verifier1-message.xml";
        let xml = "hc-verifier3-message.xml";
        let four = vec![
            (message, Known::Digest(&[11])),
            ("/attachment1", Known::Digest(&[12])),
            ("/attachment2", Known::Digest(&[13])),
            ("/attachment3", Known::Digest(&[14])),
        ];
        let unused = vec![
            (message, Known::DigestOf(two)),
            ("/unused1", Known::File(two)),
            ("/unused2", Known::File(two)),
        ];
        let rows: [Row<'_>; ROWS] = [
            ("1", "1-hashchain", None, vec![(message, Known::File(two))], None),
            ("1", "1-hashchain", None, vec![(message, Known::DigestOf(two))], None),
            ("1", "1-hashchain", None, unused, Some("hashchain_unused_inputs")),
            (
                "1",
                "1-hashchain",
                None,
                vec![(message, Known::DigestOf("hc-verifier1-hashchain.xml"))],
                Some("invalid_hash_chain"),
            ),
            ("2", "2-hashchain", None, four, None),
            // X-Road: valid. A transform that nobody has signed.
            ("3", "3-hashchain", None, vec![(message, Known::File(xml))], Some("malformed_hash_chain")),
            (
                "3",
                "3-hashchain-invalid",
                None,
                vec![(message, Known::File(xml))],
                Some("invalid_hash_chain_ref"),
            ),
            (
                "4",
                "4-hashchain1",
                Some("4-hashchain2"),
                vec![(message, Known::File("hc-verifier4-message.xml"))],
                None,
            ),
            (
                "3",
                "5-hashchain-invalid-schema",
                None,
                vec![(message, Known::File(xml))],
                Some("malformed_hash_chain"),
            ),
        ];
        let mut right = 0;
        for row in rows {
            let verdict = judge(&folder, &row);
            assert_eq!(verdict.as_ref().err().map(HashChainError::code), row.4, "{}: {verdict:?}", row.1);
            right += 1;
        }
        println!("hash chains: {right} of {ROWS}");
        assert_eq!(right, ROWS);
    }

    fn judge(folder: &Path, (result, chain, second, known, _): &Row<'_>) -> Result<(), HashChainError> {
        let load = |name: &str| fs::read(folder.join(name)).unwrap();
        let result = load(&format!("hc-verifier{result}-hashchainresult.xml"));
        let chain = load(&format!("hc-verifier{chain}.xml"));
        let second = second.map(|name| load(&format!("hc-verifier{name}.xml")));
        let mut files = vec![("/hashchain.xml", chain.as_slice())];
        files.extend(second.as_deref().map(|bytes| ("/hashchain2.xml", bytes)));
        let bytes = known
            .iter()
            .map(|(_, known)| match known {
                Known::File(name) => load(name),
                Known::DigestOf(name) => digest(Sha256, &load(name)).as_ref().to_vec(),
                Known::Digest(value) => value.to_vec(),
            })
            .collect::<Vec<_>>();
        let inputs = known
            .iter()
            .zip(&bytes)
            .map(|((name, known), bytes)| match known {
                Known::File(_) => input(name, Content::Bytes(bytes)),
                _ => input(name, Content::Digest(Sha256, bytes)),
            })
            .collect::<Vec<_>>();
        verify(&result, &files, &inputs, Unresolved::Refuse).map(drop)
    }

    #[test]
    fn a_part_that_a_container_leaves_out_is_reported_as_absent() {
        let Some(folder) = conformance("xroad-7.8.0/hash-chains") else {
            return;
        };
        let result = fs::read(folder.join("hc-verifier2-hashchainresult.xml")).unwrap();
        let chain = fs::read(folder.join("hc-verifier2-hashchain.xml")).unwrap();
        let files = [("/hashchain.xml", chain.as_slice())];
        let inputs = [input("/message.xml", Content::Digest(Sha256, &[11]))];
        let covered = verify(&result, &files, &inputs, Unresolved::Report).unwrap();
        assert_eq!(covered.iter().filter(|part| part.present).count(), 1);
        assert_eq!(covered.iter().filter(|part| !part.present).count(), 3);
        assert_eq!(
            verify(&result, &files, &inputs, Unresolved::Refuse),
            Err(HashChainError::UnknownReference("/attachment1".to_owned()))
        );
    }

    /// Messages of one, two and three parts in turn.
    fn batch(size: usize) -> Vec<Vec<Vec<u8>>> {
        (0..size)
            .map(|message| (0..=message % 3).map(|part| format!("{message}.{part}").into_bytes()).collect())
            .collect()
    }

    fn tree(messages: &[Vec<Vec<u8>>], algorithm: DigestAlgorithm) -> Tree {
        let digests = |parts: &Vec<Vec<u8>>| parts.iter().map(|part| digest(algorithm, part)).collect();
        Tree::new(algorithm, messages.iter().map(digests).collect())
    }

    fn inputs(parts: &[Vec<u8>]) -> Vec<Input<'_>> {
        (0..)
            .zip(parts)
            .map(|(index, part)| Input { name: part_name(index), content: Content::Bytes(part) })
            .collect()
    }

    #[test]
    fn every_message_of_a_batch_of_any_size_is_proven_by_its_own_chain_only() {
        for size in 1..=17 {
            let messages = batch(size);
            let tree = tree(&messages, Sha512);
            let result = tree.result("/sig-hashchain.xml");
            let chains = tree.chains(|index| part_name(index).into_owned());
            assert_eq!(chains.len(), size);
            for (number, parts) in messages.iter().enumerate() {
                for (other, chain) in chains.iter().enumerate() {
                    let files = [("/sig-hashchain.xml", chain.as_ref())];
                    let verdict = verify(&result, &files, &inputs(parts), Unresolved::Refuse);
                    assert_eq!(
                        verdict.is_ok(),
                        number == other,
                        "{number} by {other} of {size}: {verdict:?}"
                    );
                }
            }
        }
    }

    /// One message with an attachment, changed by `change`.
    fn altered(change: impl Fn(String) -> String) -> Result<usize, &'static str> {
        let message = vec![b"message".to_vec(), b"body".to_vec()];
        let tree = tree(std::slice::from_ref(&message), Sha512);
        let result = tree.result("/sig-hashchain.xml");
        let chain = tree.chains(|index| part_name(index).into_owned()).remove(0);
        let chain = change(String::from_utf8(chain.to_vec()).unwrap());
        let files = [("/sig-hashchain.xml", chain.as_bytes())];
        verify(&result, &files, &inputs(&message), Unresolved::Refuse)
            .map(|covered| covered.len())
            .map_err(|error| error.code())
    }

    #[test]
    fn altered_chains_are_refused() {
        let step = |chain: &str| {
            let start = chain.find("    <ns2:HashStep").unwrap();
            let end = chain.find("</ns2:HashStep>\n").unwrap() + "</ns2:HashStep>\n".len();
            chain[start..end].to_owned()
        };
        let swap = |chain: String| {
            chain
                .replace("/message.xml", "@")
                .replace("/attachment1", "/message.xml")
                .replace("@", "/attachment1")
        };
        assert_eq!(altered(|chain| chain), Ok(2));
        assert_eq!(altered(swap), Err("invalid_hash_chain_ref"));
        assert_eq!(
            altered(|chain| chain.replace("/attachment1", "/message.xml")),
            Err("malformed_hash_chain")
        );
        assert_eq!(altered(|chain| chain.replace("STEP0", "STEP1")), Err("malformed_hash_chain"));
        assert_eq!(
            altered(|chain| chain.replace("</ns2:HashChain>", &(step(&chain) + "</ns2:HashChain>"))),
            Err("malformed_hash_chain")
        );
        assert_eq!(
            altered(|chain| chain.replace("xmlenc#sha512", "xmldsig#sha1")),
            Err("malformed_hash_chain")
        );
        assert_eq!(
            altered(|chain| chain.replace("    <ns2:HashStep", "    <!-- x --><ns2:HashStep")),
            Err("malformed_hash_chain")
        );
        assert_eq!(altered(|chain| format!("<!DOCTYPE x>{chain}")), Err("malformed_hash_chain"));
        assert_eq!(altered(|_| String::new()), Err("malformed_hash_chain"));
    }

    /// Somebody has a signed document in canonical form, and writes another one with the same form.
    #[test]
    fn a_transform_which_no_digest_covers_is_refused() {
        let parts = [b"<a>x</a>".to_vec(), b"body".to_vec()];
        let tree = tree(&[parts.to_vec()], Sha512);
        let chain = String::from_utf8(tree.chain(0, |index| part_name(index).into_owned()).to_vec()).unwrap();
        let transforms = "<Transforms><Transform Algorithm=\"http://www.w3.org/TR/2001/REC-xml-c14n-20010315\"/></Transforms>";
        let named = "<ns2:DataRef URI=\"/message.xml\">";
        let chain = chain.replacen(named, &format!("{named}{transforms}"), 1);
        let result = tree.result("/sig-hashchain.xml");
        for message in [b"<a>x</a>".to_vec(), b"<a><!-- not -->x</a>".to_vec()] {
            let parts = [message, parts[1].clone()];
            let files = [("/sig-hashchain.xml", chain.as_bytes())];
            let verdict = verify(&result, &files, &inputs(&parts), Unresolved::Report);
            assert_eq!(verdict.map_err(|error| error.code()), Err("malformed_hash_chain"));
        }
    }

    /// The digest of another message of the batch, passed off as a part of this one.
    #[test]
    fn a_neighbour_in_a_batch_is_no_part_of_a_message() {
        let messages = [b"a", b"b", b"c"].map(|message| vec![message.to_vec()]);
        let digests = |parts: &Vec<Vec<u8>>| parts.iter().map(|part| digest(Sha512, part)).collect();
        let of_x_road = tree(&messages, Sha512);
        let ours = Tree::of_messages(Sha512, messages.iter().map(digests).collect());
        let judge =
            |tree: &Tree, neighbour: usize, shown: usize| {
                let chain = tree.chain(0, |index| part_name(index).into_owned());
                let chain = String::from_utf8(chain.to_vec()).unwrap();
                let at = chain.match_indices("<ns2:HashValue>").nth(shown).unwrap().0;
                let (before, rest) = chain.split_at(at);
                let rest = rest
                    .replacen("<ns2:HashValue>", "<ns2:DataRef URI=\"/attachment1\">", 1)
                    .replacen("</ns2:HashValue>", "</ns2:DataRef>", 1);
                let chain = format!("{before}{rest}");
                let parts = [messages[0][0].clone(), messages[neighbour][0].clone()];
                let result = tree.result("/sig-hashchain.xml");
                let files = [("/sig-hashchain.xml", chain.as_bytes())];
                verify(&result, &files, &inputs(&parts), Unresolved::Refuse)
                    .map(drop)
                    .map_err(|error| error.code())
            };
        // Further up: no message has parts in two steps.
        assert_eq!(judge(&of_x_road, 2, 0), Err("malformed_hash_chain"));
        // Beside it, where X-Road has nothing that would tell; in ours there is nothing beside a message.
        assert_eq!(judge(&of_x_road, 1, 1), Ok(()));
        assert!(judge(&ours, 1, 1).is_err() && judge(&ours, 2, 0).is_err());
    }

    #[test]
    fn a_chain_that_runs_in_a_circle_is_refused() {
        let chain = "<HashChain xmlns='http://cyber.ee/hashchain' xmlns:d='http://www.w3.org/2000/09/xmldsig#'>\
                     <DefaultDigestMethod Algorithm='http://www.w3.org/2001/04/xmlenc#sha512'/>\
                     <HashStep id='STEP0'><StepRef URI='#STEP0'/></HashStep></HashChain>";
        let result = tree(&batch(2), Sha512).result("/sig-hashchain.xml");
        let files = [("/sig-hashchain.xml", chain.as_bytes())];
        let verdict = verify(&result, &files, &[], Unresolved::Refuse);
        assert_eq!(verdict.map_err(|error| error.code()), Err("malformed_hash_chain"));
    }

    #[test]
    fn a_chain_of_64_steps_is_walked_to_its_end_and_a_deeper_one_is_refused() {
        let hash = "<HashValue><d:DigestValue>AAAA</d:DigestValue></HashValue>";
        for (depth, expected) in [(64, "does not match"), (65, "too deeply"), (100, "too deeply")] {
            let last = depth - 1;
            let steps = (0..last)
                .map(|step| {
                    format!("<HashStep id='STEP{step}'><StepRef URI='#STEP{}'/></HashStep>", step + 1)
                })
                .collect::<String>();
            let chain = format!(
                "<HashChain xmlns='http://cyber.ee/hashchain' xmlns:d='http://www.w3.org/2000/09/xmldsig#'>\
                 <DefaultDigestMethod Algorithm='http://www.w3.org/2001/04/xmlenc#sha512'/>{steps}\
                 <HashStep id='STEP{last}'>{hash}</HashStep></HashChain>"
            );
            let result = tree(&batch(2), Sha512).result("/sig-hashchain.xml");
            let files = [("/sig-hashchain.xml", chain.as_bytes())];
            let verdict = verify(&result, &files, &[], Unresolved::Refuse).unwrap_err();
            assert!(verdict.to_string().contains(expected), "{depth}: {verdict}");
        }
    }

    #[test]
    fn our_chains_are_byte_for_byte_those_of_the_recorded_exchanges() {
        let Some(folder) = conformance("xroad-7.3.2-recorded") else {
            return;
        };
        let mut compared = 0;
        for (prefix, size) in
            [("rest-post-4096", 1), ("batch-get-3", 3), ("batch-get-5", 5), ("batch-post-7", 7)]
        {
            let cases = (1..=size).map(|number| match size {
                1 => prefix.to_owned(),
                _ => format!("{prefix}-{number}"),
            });
            for (direction, file) in
                [("request_parts", "transport-request"), ("response_parts", "transport-response")]
            {
                let messages = cases
                    .clone()
                    .map(|case| recorded(&folder.join(case), direction, file))
                    .collect::<Vec<_>>();
                let parts = messages.iter().map(|message| message.0.clone()).collect::<Vec<_>>();
                if direction == "response_parts" && size > 1 {
                    continue; // the order in which answers got into a batch is not recorded
                }
                let tree = tree(&parts, Sha512);
                assert_eq!(tree.result("/sig-hashchain.xml"), messages[0].1, "{prefix} {direction}");
                for (chain, message) in
                    tree.chains(|index| part_name(index).into_owned()).iter().zip(&messages)
                {
                    assert_eq!(chain, &message.2, "{prefix} {direction}");
                    compared += 1;
                }
            }
        }
        println!("recorded hash chains built anew: {compared}");
        assert_eq!(compared, RECORDED_CHAINS);
    }

    const RECORDED_CHAINS: usize = 17;

    /// Signed parts, hash chain result and hash chain of a recorded message.
    fn recorded(case: &Path, direction: &str, file: &str) -> (Vec<Vec<u8>>, Vec<u8>, Vec<u8>) {
        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(case.join("case.json")).unwrap()).unwrap();
        let body = fs::read(case.join(format!("{file}.body"))).unwrap();
        let (mut signed, mut result, mut chain) = (Vec::new(), Vec::new(), Vec::new());
        for part in json[direction].as_array().unwrap() {
            let at = |key: &str| usize::try_from(part[key].as_u64().unwrap()).unwrap();
            let bytes = body[at("offset")..at("offset") + at("length")].to_vec();
            match part["content_type"].as_str().unwrap() {
                "application/hash-chain-result" => result = bytes,
                "application/hash-chain" => chain = bytes,
                kind if kind.starts_with("application/x-road-rest-") => signed.push(bytes),
                _ => {}
            }
        }
        (signed, result, chain)
    }
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Batches of any number of messages with any number of parts: each chain leads to the result from its own parts,
        /// and from nothing else.
        #[test]
        fn every_chain_of_a_tree_covers_its_own_parts_and_no_others(
            messages in prop::collection::vec(prop::collection::vec(any::<[u8; 4]>(), 1..5), 1..20),
            changed in any::<prop::sample::Index>(),
        ) {
            let digests: Vec<Vec<_>> = messages
                .iter()
                .map(|parts| parts.iter().map(|part| digest(Sha512, part)).collect())
                .collect();
            let tree = Tree::new(Sha512, digests.clone());
            let result = tree.result("/sig-hashchain.xml");
            let chains = tree.chains(|index| part_name(index).into_owned());
            prop_assert_eq!(chains.len(), messages.len());
            for (parts, chain) in digests.iter().zip(&chains) {
                let files = [("/sig-hashchain.xml", &chain[..])];
                let mut inputs: Vec<_> = parts
                    .iter()
                    .enumerate()
                    .map(|(index, part)| Input { name: part_name(index), content: Content::Digest(Sha512, part.as_ref()) })
                    .collect();
                let covered = verify(&result, &files, &inputs, Unresolved::Refuse).unwrap();
                prop_assert_eq!(covered.len(), parts.len());
                for (covered, part) in covered.iter().zip(parts) {
                    prop_assert!(covered.present && covered.digest == part.as_ref());
                }
                let other = digest(Sha512, b"another part");
                let at = changed.index(inputs.len());
                inputs[at].content = Content::Digest(Sha512, other.as_ref());
                prop_assert!(verify(&result, &files, &inputs, Unresolved::Refuse).is_err());
                inputs.truncate(parts.len() - 1);
                prop_assert!(verify(&result, &files, &inputs, Unresolved::Refuse).is_err());
            }
        }
    }
}
