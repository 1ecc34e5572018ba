//! Forgeries of signed things: containers and messages on the wire, our own and those of X-Road, by the thousand. None
//! that says something else than its original is accepted.
//!
//! What a signed thing says is a [`Statement`]: the verifier's words (signer, certificate, times, algorithms and digests
//! of the parts), the parts byte for byte, and what is signed in the signature, by a reader of our own. A forgery is
//! refused, or says the same, or is a container from which attachments were taken out and says so of each of them: the
//! digests of these are proven still, and X-Road takes them out itself. What X-Road's hash chains cannot tell apart (see
//! `is_chained`) is counted, and its number is fixed. Anything else fails.
//!
//! Not part of it, as of X-Road's signatures: the heads of parts, OCSP responses that travel beside a message, the
//! signature value itself, what is neither read nor signed.

#[cfg(test)]
#[path = "../../gateway/tests/evidence_support/mod.rs"]
#[allow(dead_code, reason = "shared by several tests, each of which uses a part")]
mod evidence_support;
#[cfg(test)]
mod wrapping {
    pub(crate) mod containers;
    pub(crate) mod messages;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use integration::forgeries::{Kind, Pieces, Statement, forge};

    use crate::wrapping::{containers, messages};

    /// What came of forgeries.
    #[derive(Default, Clone, Copy)]
    struct Count {
        refused: usize,
        same: usize,
        lesser: usize,
        chained: usize,
    }

    impl Count {
        fn all(self) -> usize {
            self.refused + self.same + self.lesser + self.chained
        }
    }

    /// Says what a thing says, or why it is not believed.
    type Judge = Box<dyn Fn(&Pieces) -> Result<Statement, String>>;

    /// One signed thing to begin with.
    pub(crate) struct Subject {
        pub(crate) name: String,
        pub(crate) pieces: Pieces,
        /// The pieces that say what is signed.
        pub(crate) signed: &'static [&'static str],
        /// What it says, if it is believed.
        pub(crate) judge: Judge,
    }

    /// What is expected of a list of subjects.
    struct Expected {
        /// Every so manieth forgery is judged, another one of each subject; those of hash chains all.
        every: usize,
        /// The fewest of each kind.
        least: [usize; Kind::ALL.len()],
        /// Those that X-Road's hash chains cannot tell from their originals.
        chained: usize,
    }

    /// Whether every forgery is to be judged, which takes many minutes.
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says how long they may take")]
    fn all_of_them() -> bool {
        std::env::var("PASSERELLE_FORGERIES").is_ok_and(|wanted| wanted == "all")
    }

    /// Judges forgeries of all subjects, and prints what came of them.
    fn judge(what: &str, subjects: &[Subject], expected: &Expected) {
        let every = if all_of_them() { 1 } else { expected.every };
        let mut counts = BTreeMap::<Kind, Count>::new();
        let mut wrong = Vec::new();
        for (number, subject) in subjects.iter().enumerate() {
            let original =
                (subject.judge)(&subject.pieces).unwrap_or_else(|why| panic!("{}: {why}", subject.name));
            let others: Vec<&Pieces> = subjects
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != number)
                .map(|(_, subject)| &subject.pieces)
                .collect();
            let forgeries = forge(&subject.pieces, subject.signed, &others);
            println!("{}: {} forgeries", subject.name, forgeries.len());
            for (place, forgery) in forgeries.into_iter().enumerate() {
                if place % every != number % every && forgery.kind != Kind::Chain {
                    continue;
                }
                let count = counts.entry(forgery.kind).or_default();
                match (subject.judge)(&forgery.pieces) {
                    Err(_) => count.refused += 1,
                    Ok(said) if said == original => count.same += 1,
                    Ok(said) if containers::is_lesser(&said, &original) => count.lesser += 1,
                    Ok(said) if forgery.kind == Kind::Chain && is_chained(&said, &original) => {
                        println!("cannot be told: {}: {}", subject.name, forgery.what);
                        count.chained += 1;
                    }
                    Ok(said) => wrong.push(format!("{}: {}: {said:?}", subject.name, forgery.what)),
                }
            }
        }
        let mut all = Count::default();
        for kind in Kind::ALL {
            let Count { refused, same, lesser, chained } = counts.get(&kind).copied().unwrap_or_default();
            println!(
                "{kind:>13?}: {refused:6} refused, {same:5} say the same, {lesser:3} say what is missing, {chained:3} cannot be told"
            );
            all.refused += refused;
            all.same += same;
            all.lesser += lesser;
            all.chained += chained;
        }
        println!(
            "{what}: {} signed, every {every}. of their forgeries, {}: {} refused, {} say the same, {} say what is missing, {} cannot be told by X-Road's chains, {} say something else",
            subjects.len(),
            all.all() + wrong.len(),
            all.refused,
            all.same,
            all.lesser,
            all.chained,
            wrong.len()
        );
        assert!(wrong.is_empty(), "{} say something else: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
        if crate::evidence_support::conformance("").is_none() {
            return;
        }
        assert_eq!(all.chained, expected.chained, "forgeries that cannot be told");
        for (kind, least) in Kind::ALL.into_iter().zip(&expected.least) {
            let made = counts.get(&kind).copied().unwrap_or_default().all();
            assert!(made >= *least, "{kind:?}: {made} forgeries, fewer than {least}");
        }
    }

    /// Whether all is the same but for attachments, which X-Road's hash chains let come and go: the digest of a step does
    /// not say which of its entries are parts, so a message of a batch may have its neighbour for an attachment, and an
    /// attachment may be taken for a neighbour. The message itself, who signed it and when stay what they are.
    fn is_chained(said: &Statement, original: &Statement) -> bool {
        let (fewer, more) =
            if said.parts.len() < original.parts.len() { (said, original) } else { (original, said) };
        said.signed == original.signed
            && fewer.parts.len() < more.parts.len()
            && fewer.parts.iter().all(|part| more.parts.contains(part))
            && fewer.parts.iter().any(|(name, _)| name.starts_with("message"))
    }

    #[test]
    fn no_forgery_of_a_container_says_something_else() {
        let least = [
            214, 171, 315, 1788, 326, 437, 112, 386, 2965, 467, 648, 588, 479, 797, 1192, 753, 2123, 739, 34,
            1309,
        ];
        let expected = Expected { every: 6, least, chained: 1 };
        judge("containers", &containers::subjects(), &expected);
    }

    #[test]
    fn no_forgery_of_a_message_on_the_wire_says_something_else() {
        let least = [
            252, 242, 454, 2544, 392, 570, 139, 425, 3904, 551, 897, 736, 599, 1019, 1553, 1038, 2629, 1517,
            79, 849,
        ];
        let expected = Expected { every: 12, least, chained: 9 };
        judge("messages", &messages::subjects(), &expected);
    }
}
