//! Canonical XML of generated documents, judged by xmllint (libxml2).

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use gateway::evidence::canonical::{Method, canonicalize_document};
    use proptest::prelude::*;

    /// What libxml2 makes of a document; it keeps comments, so that the documents have none.
    fn xmllint(xml: &str, option: &str) -> Vec<u8> {
        let mut child = Command::new("xmllint")
            .args([option, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("xmllint is installed by integration/test.sh");
        child.stdin.take().unwrap().write_all(xml.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "xmllint refuses {xml}");
        output.stdout
    }

    fn compare(xml: &str) {
        let document = roxmltree::Document::parse(xml).unwrap();
        for (method, option) in [(Method::Inclusive, "--c14n"), (Method::Exclusive, "--exc-c14n")] {
            let ours = String::from_utf8(canonicalize_document(&document, method)).unwrap();
            let judge = String::from_utf8(xmllint(xml, option)).unwrap();
            assert_eq!(ours, judge, "{option} of {xml}");
        }
    }

    #[test]
    fn documents_of_every_kind_have_the_canonical_form_of_libxml2() {
        for xml in [
            "<a/>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<?pi  x y?>\n<a><?p?><b/></a>\n<?end?>\n",
            "<a xmlns='urn:a' xmlns:p='urn:p' p:x='1' x=\"2\"><p:b xmlns:p='urn:q' p:y=''/><c xmlns=''/></a>",
            "<a b='&#9;&#10;&#13; &lt;&gt;&amp;&quot;&apos;'>&#13;&lt;&gt;&amp;\"'<![CDATA[<x>&]]>\r\nz</a>",
            "<a xml:lang='et' xml:space='preserve'><b xml:lang='fi'>\u{f5}\u{1f600}</b></a>",
            "<p:a xmlns:p='urn:1'><p:b xmlns:p='urn:2'><p:c xmlns:p='urn:1'/></p:b></p:a>",
            "<a xmlns='urn:1'><b xmlns='urn:1' xmlns:z='urn:z'><z:c/><z:d/></b></a>",
            "<a   b = 'x  y'\n c='1'  ></a  >",
        ] {
            compare(xml);
        }
    }

    /// An element with prefixes that are always in scope, redeclared or not.
    fn element() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec!["x", "p:x", "q:y", "z"]);
        let namespace = prop::sample::select(vec![
            "",
            " xmlns='urn:d'",
            " xmlns=''",
            " xmlns:p='urn:p2'",
            " xmlns:q='urn:q' xmlns:p='urn:p'",
        ]);
        let attributes = prop::sample::subsequence(
            vec![" a='1'", " b='&#13;&lt; \"'", " p:a='2'", " xml:lang='en'", " q:b=\"'\n\""],
            0..=5,
        );
        let text = prop::sample::select(vec!["", "t", "&#13;\n", "<![CDATA[<&>]]>", "\u{e4} &gt;"]);
        let leaf = (name.clone(), namespace.clone(), attributes.clone(), text.clone()).prop_map(
            |(name, namespace, attributes, text)| {
                format!("<{name}{namespace}{}>{text}</{name}>", attributes.concat())
            },
        );
        leaf.prop_recursive(4, 24, 4, move |inner| {
            (
                name.clone(),
                namespace.clone(),
                attributes.clone(),
                text.clone(),
                prop::collection::vec(inner, 0..4),
            )
                .prop_map(|(name, namespace, attributes, text, children)| {
                    let (attributes, children) = (attributes.concat(), children.concat());
                    format!("<{name}{namespace}{attributes}>{text}{children}</{name}>")
                })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn generated_documents_have_the_canonical_form_of_libxml2(body in element()) {
            compare(&format!("<r xmlns:p='urn:p' xmlns:q='urn:q'>{body}</r>"));
        }
    }
}
