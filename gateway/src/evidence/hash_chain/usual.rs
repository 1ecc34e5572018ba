//! Hash chains in the form in which X-Road and we write them, read without a document tree: of a message in a batch they
//! are what is left to be verified.
//!
//! Everything that stands between names and digests is compared with the very text that is written, and these hold
//! nothing that XML would read otherwise. Whatever is written in another way, and whatever is wrong, is left to the
//! general reader, which says what it is.

use cert_authority::algorithm::DigestAlgorithm;

use super::build::{NAMESPACES, PROLOGUE};
use super::verify::{Kind, Steps, Value};
use crate::evidence::xml;

/// Longer ones are left to the general reader, which has limits.
const LONGEST: usize = 64 * 1024;

/// The steps of a chain; none when it is not of the usual form.
pub(super) fn read(bytes: &[u8]) -> Option<Steps> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= LONGEST)?;
    let mut rest = Rest(text);
    rest.literal(PROLOGUE)?;
    rest.literal("<ns2:HashChain ")?;
    rest.literal(NAMESPACES)?;
    rest.literal(">\n    <ns2:DefaultDigestMethod Algorithm=\"")?;
    let algorithm = rest.name("\"/>\n")?;
    let algorithm = DigestAlgorithm::from_uri(algorithm).filter(|a| *a >= DigestAlgorithm::Sha256)?;
    let mut steps = Steps::new();
    while rest.literal("    <ns2:HashStep id=\"").is_some() {
        let id = rest.name("\">\n")?;
        let mut values = Vec::new();
        while rest.literal("    </ns2:HashStep>\n").is_none() {
            values.push(Value { algorithm, kind: rest.kind()? });
        }
        if steps.insert(id.to_owned(), values).is_some() {
            return None;
        }
    }
    rest.literal("</ns2:HashChain>\n")?;
    rest.0.is_empty().then_some(steps)
}

/// What was not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Passes over this text.
    fn literal(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Takes what stands before `end`, of characters that are the same in XML and outside of it.
    fn name(&mut self, end: &str) -> Option<&'a str> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"#+-./:=_".contains(byte);
        let length = self.0.bytes().take_while(plain).count();
        let (name, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        self.literal(end)?;
        Some(name)
    }

    fn kind(&mut self) -> Option<Kind> {
        if self.literal("        <ns2:StepRef URI=\"").is_some() {
            return Some(Kind::Step(self.name("\"/>\n")?.to_owned()));
        }
        if self.literal("        <ns2:HashValue>\n").is_some() {
            let digest = self.digest()?;
            self.literal("        </ns2:HashValue>\n")?;
            return Some(Kind::Hash(digest));
        }
        self.literal("        <ns2:DataRef URI=\"")?;
        let uri = self.name("\">\n")?.to_owned();
        let digest = self.digest()?;
        self.literal("        </ns2:DataRef>\n")?;
        Some(Kind::Data { uri, digest })
    }

    fn digest(&mut self) -> Option<Vec<u8>> {
        self.literal("            <DigestValue>")?;
        xml::decode_base64(self.name("</DigestValue>\n")?)
    }
}

#[cfg(test)]
mod tests {
    use cert_authority::crypto::digest;

    use super::*;
    use crate::evidence::hash_chain::{Tree, verify::read_document};

    const SHA512: DigestAlgorithm = DigestAlgorithm::Sha512;

    /// The chain of one message of a batch, with so many parts.
    fn chain(messages: u8, parts: u8) -> String {
        let parts = |message: u8| (0..parts).map(|part| digest(SHA512, &[message, part])).collect();
        let tree = Tree::of_messages(SHA512, (0..messages).map(parts).collect());
        let name = |part| if part == 0 { "/message.xml".to_owned() } else { format!("/attachment{part}") };
        String::from_utf8(tree.chain(usize::from(messages / 2), name).to_vec()).unwrap()
    }

    #[test]
    fn a_chain_as_it_is_written_is_read_as_a_document_is() {
        for (messages, parts) in [(1, 1), (1, 3), (2, 1), (3, 2), (40, 2), (64, 1)] {
            let chain = chain(messages, parts);
            let steps = read(chain.as_bytes());
            assert!(steps.is_some(), "{chain}");
            assert_eq!(steps, read_document(chain.as_bytes()).ok());
        }
    }

    /// Whatever is read here is read by the general reader in the same way; what that refuses is not read.
    #[test]
    fn a_chain_with_one_change_is_read_as_a_document_or_not_at_all() {
        let chain = chain(3, 2);
        let mut read_all_the_same = 0;
        for (at, _) in chain.char_indices() {
            let (before, after) = chain.split_at(at);
            let rest = &after[1..];
            let changed =
                ["", "<", "&", "\"", "'", "A", "=", "0", "\n", "\r", " ", "\u{e9}", "/>", "<!---->", "&#65;"];
            for with in changed {
                for text in [format!("{before}{with}{rest}"), format!("{before}{with}{after}")] {
                    if let Some(steps) = read(text.as_bytes()) {
                        assert_eq!(Some(steps), read_document(text.as_bytes()).ok(), "{text}");
                        read_all_the_same += 1;
                    }
                }
            }
        }
        assert!(read_all_the_same > 1000, "digests and names may change: {read_all_the_same}");
    }

    #[test]
    fn a_chain_that_repeats_a_step_or_goes_on_behind_its_end_is_not_read() {
        let chain = chain(3, 1);
        let step = chain.split_inclusive("    </ns2:HashStep>\n").next().unwrap();
        let step = &step[step.find("    <ns2:HashStep").unwrap()..];
        assert_eq!(read(chain.replace(step, &step.repeat(2)).as_bytes()), None);
        assert_eq!(read(format!("{chain} ").as_bytes()), None);
        assert_eq!(read(chain.replace("2001/04/xmlenc#sha512", "2000/09/xmldsig#sha1").as_bytes()), None);
        assert_eq!(read(chain.replace("\n", "\r\n").as_bytes()), None);
    }
}
