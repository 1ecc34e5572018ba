//! What elements hold and how it is written: comments, entities, attributes, white space, values; identifiers,
//! references, algorithms.

use super::surgery::{Element, Source, spliced};
use super::{Forge, Kind};

pub(super) fn forge(forge: &mut Forge<'_>, place: usize, source: &Source<'_>) {
    let names: Vec<String> = forge.original.0.iter().map(|(name, _)| name.clone()).collect();
    for (number, element) in source.elements.iter().enumerate() {
        let name = format!("{} ({number})", element.tag);
        boundaries(forge, place, source, element, &name);
        attributes(forge, place, source, element, &name);
        identifiers(forge, place, source, element, &name);
        references(forge, place, source, element, &name, &names);
        algorithms(forge, place, source, element, &name);
        if element.holds_text {
            texts(forge, place, source, element, &name);
        }
    }
    whole(forge, place, source);
}

/// At the edges of an element.
fn boundaries(forge: &mut Forge<'_>, place: usize, source: &Source<'_>, element: &Element, name: &str) {
    let (before, behind) = (element.whole.start, element.whole.end);
    let inside = element
        .inner
        .as_ref()
        .map(|inner| [("at the beginning of", inner.start), ("at the end of", inner.end)]);
    let places = [("before", before), ("behind", behind)].into_iter().chain(inside.into_iter().flatten());
    for (at_what, at) in places {
        let mut add = |kind: Kind, what: &str, inserted: &str| {
            let changed = spliced(source.text, at..at, inserted);
            forge.text(place, kind, &format!("{what} {at_what} {name}"), changed);
        };
        add(Kind::Comment, "a comment", "<!-- x -->");
        add(Kind::Comment, "an instruction", "<?x y?>");
        add(Kind::Entity, "an entity that nobody defined", "&e;");
        add(Kind::CData, "an empty section", "<![CDATA[]]>");
        add(Kind::Whitespace, "a line end", "\n");
        add(Kind::Whitespace, "a reference to a carriage return", "&#13;");
        add(Kind::Value, "a letter", "x");
    }
    let at = element.start.start + 1 + element.tag.len();
    forge.text(
        place,
        Kind::Whitespace,
        &format!("a line end in the tag of {name}"),
        spliced(source.text, at..at, "\n "),
    );
}

fn attributes(forge: &mut Forge<'_>, place: usize, source: &Source<'_>, element: &Element, name: &str) {
    let text = source.text;
    let at = element.start.start + 1 + element.tag.len();
    for added in [
        " x=\"y\"",
        " xml:space=\"preserve\"",
        " xml:lang=\"en\"",
        " xml:base=\"urn:x\"",
        " xsi:type=\"x\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"",
        " Encoding=\"x\"",
    ] {
        forge.text(place, Kind::Attribute, &format!("{name} with{added}"), spliced(text, at..at, added));
    }
    for attribute in &element.attributes {
        let whole = &text[attribute.whole.clone()];
        let value = &text[attribute.value.clone()];
        let own = &attribute.name;
        let mut add = |kind: Kind, what: &str, changed: String| {
            forge.text(place, kind, &format!("{own} of {name} {what}"), changed);
        };
        let valued = |value: &str| spliced(text, attribute.value.clone(), value);
        add(Kind::Attribute, "removed", spliced(text, attribute.whole.clone(), ""));
        add(Kind::Attribute, "empty", valued(""));
        add(Kind::Attribute, "with a letter more", valued(&format!("{value}x")));
        add(Kind::Attribute, "with a letter before", valued(&format!("x{value}")));
        add(Kind::Attribute, "in large letters", valued(&value.to_uppercase()));
        add(Kind::Attribute, "twice", spliced(text, attribute.whole.clone(), &format!("{whole} {whole}")));
        let renamed = whole.replacen(own.as_str(), &own.to_uppercase(), 1);
        add(Kind::Attribute, "named in large letters", spliced(text, attribute.whole.clone(), &renamed));
        let prefixed = format!("x:{whole} xmlns:x=\"urn:x\"");
        add(Kind::Attribute, "in a namespace", spliced(text, attribute.whole.clone(), &prefixed));
        add(
            Kind::Attribute,
            "also in a namespace",
            spliced(text, attribute.whole.clone(), &format!("{whole} {prefixed}")),
        );
        add(Kind::Whitespace, "with a blank before", valued(&format!(" {value}")));
        add(Kind::Whitespace, "with a line end behind", valued(&format!("{value}\n")));
        if let Some(first) = value.chars().next() {
            let rest = &value[first.len_utf8()..];
            add(Kind::Entity, "begins with a reference", valued(&format!("&#{};{rest}", u32::from(first))));
            add(
                Kind::Entity,
                "begins with one in base 16",
                valued(&format!("&#x{:x};{rest}", u32::from(first))),
            );
            add(Kind::Entity, "has a quotation mark", valued(&format!("{value}&quot;")));
        }
        let quoted = format!("{own}='{value}'");
        add(Kind::Whitespace, "in other quotation marks", spliced(text, attribute.whole.clone(), &quoted));
    }
}

/// Names of attributes that somebody could take for identifiers.
const IDS: [&str; 5] = ["Id", "ID", "id", "xml:id", "iD"];

fn identifiers(forge: &mut Forge<'_>, place: usize, source: &Source<'_>, element: &Element, name: &str) {
    let text = source.text;
    let ids: Vec<&str> = source
        .elements
        .iter()
        .flat_map(|element| &element.attributes)
        .filter(|attribute| attribute.name.eq_ignore_ascii_case("id"))
        .map(|attribute| &text[attribute.value.clone()])
        .collect();
    let own = element.attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case("id"));
    let at = element.start.start + 1 + element.tag.len();
    for other in &ids {
        let mut add = |what: String, changed: String| forge.text(place, Kind::Identifier, &what, changed);
        match own {
            Some(own) => {
                add(format!("{name} is called {other}"), spliced(text, own.value.clone(), other));
            }
            None => {
                for id in IDS {
                    let added = format!(" {id}=\"{other}\"");
                    add(format!("{name} has{added}"), spliced(text, at..at, &added));
                }
            }
        }
    }
    let Some(own) = own else { return };
    let value = &text[own.value.clone()];
    let whole = &text[own.whole.clone()];
    let mut add = |what: &str, changed: String| {
        forge.text(place, Kind::Identifier, &format!("{name} {what}"), changed);
    };
    for id in IDS {
        add(&format!("is named by {id}"), spliced(text, own.whole.clone(), &format!("{id}=\"{value}\"")));
        let both = format!("{whole} {id}=\"other\"");
        add(&format!("is also named by {id}"), spliced(text, own.whole.clone(), &both));
    }
    // With whatever refers to it.
    add(
        "is renamed everywhere",
        text.replace(&format!("\"{value}\""), "\"new\"").replace(&format!("#{value}\""), "#new\""),
    );
    // And its name is given to every other element in turn.
    for (number, other) in source.elements.iter().enumerate() {
        let at = other.start.start + 1 + other.tag.len();
        if !std::ptr::eq(other, element) && other.attributes.iter().all(|known| known.name != own.name) {
            let id = format!(" {}=\"{value}\"", own.name);
            let taken = spliced(text, own.whole.clone(), "");
            // The later place first, so that the earlier one stays where it is.
            let changed = if at > own.whole.start {
                spliced(&spliced(text, at..at, &id), own.whole.clone(), "")
            } else {
                spliced(&taken, at..at, &id)
            };
            add(&format!("gives its name to {} ({number})", other.tag), changed);
        }
    }
}

fn references(
    forge: &mut Forge<'_>,
    place: usize,
    source: &Source<'_>,
    element: &Element,
    name: &str,
    names: &[String],
) {
    let text = source.text;
    let ids = source.elements.iter().flat_map(|element| &element.attributes);
    let ids = ids.filter(|attribute| attribute.name.eq_ignore_ascii_case("id"));
    let targets: Vec<String> = ids
        .map(|attribute| format!("#{}", &text[attribute.value.clone()]))
        .chain(names.iter().map(|name| format!("/{name}")))
        .chain(
            [
                "/attachment1",
                "/attachment2",
                "/message.xml",
                "/sig-hashchainresult.xml",
                "/sig-hashchain.xml",
            ]
            .map(str::to_owned),
        )
        .chain(
            [
                "",
                "#",
                "/",
                "#xpointer(/)",
                "#xpointer(id('signature'))",
                "file:///etc/passwd",
                "http://127.0.0.1/x",
                "/../message.xml",
            ]
            .map(str::to_owned),
        )
        .collect();
    for attribute in &element.attributes {
        if !["URI", "Target", "ObjectReference", "Type"].contains(&attribute.name.as_str()) {
            continue;
        }
        let value = &text[attribute.value.clone()];
        let variants = [
            format!(".{value}"),
            format!("/{value}"),
            format!("{value}#"),
            format!("{value}#x"),
            format!("{value}?"),
            format!("{value}/"),
            value.to_uppercase(),
            value.trim_start_matches(['/', '#']).to_owned(),
            value.replacen('s', "%73", 1),
            value.replacen('/', "%2F", 1),
            value.replacen('/', "//", 1),
            value.replacen('/', "/./", 1),
            value.replacen('/', "\\", 1),
        ];
        for target in targets.iter().chain(&variants) {
            let changed = spliced(text, attribute.value.clone(), target);
            forge.text(
                place,
                Kind::Reference,
                &format!("{} of {name} is {target:?}", attribute.name),
                changed,
            );
        }
    }
}

/// What is right somewhere, and what was never right.
const ALGORITHMS: [&str; 30] = [
    "",
    "none",
    "http://www.w3.org/2000/09/xmldsig#sha1",
    "http://www.w3.org/2001/04/xmldsig-more#md5",
    "http://www.w3.org/2001/04/xmldsig-more#sha224",
    "http://www.w3.org/2001/04/xmlenc#sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512",
    "http://www.w3.org/2007/05/xmldsig-more#sha3-512",
    "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
    "http://www.w3.org/2000/09/xmldsig#dsa-sha1",
    "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
    "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-md5",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1",
    "http://www.w3.org/2007/05/xmldsig-more#sha512-rsa-MGF1",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
    "http://www.w3.org/2006/12/xml-c14n11",
    "http://www.w3.org/2001/10/xml-exc-c14n#",
    "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
    "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
    "http://www.w3.org/TR/1999/REC-xslt-19991116",
];

fn algorithms(forge: &mut Forge<'_>, place: usize, source: &Source<'_>, element: &Element, name: &str) {
    for attribute in element.attributes.iter().filter(|attribute| attribute.name == "Algorithm") {
        for algorithm in ALGORITHMS {
            let changed = spliced(source.text, attribute.value.clone(), algorithm);
            forge.text(place, Kind::Algorithm, &format!("{name} is {algorithm:?}"), changed);
        }
    }
    // A transform where there is none, or one more.
    if ["Reference", "DataRef"].contains(&element.local.as_str()) {
        for algorithm in ALGORITHMS {
            let ds = "xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"";
            let transforms =
                format!("<ds:Transforms {ds}><ds:Transform Algorithm=\"{algorithm}\"/></ds:Transforms>");
            let at = element.start.end;
            let changed = spliced(source.text, at..at, &transforms);
            forge.text(place, Kind::Algorithm, &format!("{name} with a transform {algorithm:?}"), changed);
        }
    }
}

fn texts(forge: &mut Forge<'_>, place: usize, source: &Source<'_>, element: &Element, name: &str) {
    let Some(inner) = element.inner.clone() else { return };
    let value = &source.text[inner.clone()];
    let mut add = |kind: Kind, what: &str, changed: String| {
        let changed = spliced(source.text, inner.clone(), &changed);
        forge.text(place, kind, &format!("{name} {what}"), changed);
    };
    add(Kind::Value, "empty", String::new());
    add(Kind::Value, "doubled", format!("{value}{value}"));
    add(Kind::Value, "without padding", value.replace('=', ""));
    add(Kind::Value, "with padding", format!("{value}="));
    add(Kind::Value, "in the alphabet of URLs", value.replace('+', "-").replace('/', "_"));
    add(
        Kind::Value,
        "zeros",
        value.chars().map(|c| if c.is_ascii_alphanumeric() { 'A' } else { c }).collect(),
    );
    add(Kind::CData, "in a section", format!("<![CDATA[{value}]]>"));
    add(Kind::Whitespace, "with blanks around", format!(" {value}\t"));
    add(Kind::Whitespace, "with a blank of another kind", format!("{value}\u{a0}"));
    add(Kind::Whitespace, "with a blank of no width", format!("\u{200b}{value}"));
    let letters: Vec<usize> =
        value.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()).map(|(at, _)| at).collect();
    let last = letters.len().saturating_sub(1);
    let steps: Vec<usize> = (0..=8).map(|step| last * step / 8).collect();
    for at in steps.into_iter().filter_map(|step| letters.get(step).copied()) {
        let (before, letter, behind) = (&value[..at], &value[at..at + 1], &value[at + 1..]);
        let other = if letter == "1" { "2" } else { "1" };
        add(Kind::Value, &format!("with another letter at {at}"), format!("{before}{other}{behind}"));
        add(Kind::Value, &format!("without the letter at {at}"), format!("{before}{behind}"));
        let code = letter.bytes().next().unwrap_or_default();
        add(Kind::Entity, &format!("with a reference at {at}"), format!("{before}&#{code};{behind}"));
        add(Kind::Comment, &format!("with a comment at {at}"), format!("{before}<!-- x -->{letter}{behind}"));
        add(Kind::CData, &format!("with a section at {at}"), format!("{before}<![CDATA[{letter}]]>{behind}"));
        add(Kind::Whitespace, &format!("with a blank at {at}"), format!("{before} {letter}{behind}"));
        add(Kind::Whitespace, &format!("with a line end at {at}"), format!("{before}\r\n{letter}{behind}"));
    }
}

/// The document as a whole.
fn whole(forge: &mut Forge<'_>, place: usize, source: &Source<'_>) {
    let text = source.text;
    let body = text
        .split_once("?>")
        .filter(|_| text.starts_with("<?xml"))
        .map_or(text, |(_, body)| body)
        .trim_start();
    let root = body
        .trim_start_matches('<')
        .split(|c: char| c.is_whitespace() || c == '>')
        .next()
        .unwrap_or_default();
    let mut add = |kind: Kind, what: &str, changed: String| forge.text(place, kind, what, changed);
    for (what, document_type) in [
        ("a document type", format!("<!DOCTYPE {root}>")),
        ("an entity of a file", format!("<!DOCTYPE {root} [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>")),
        (
            "an entity of a parameter",
            format!("<!DOCTYPE {root} [<!ENTITY % e \"<!ATTLIST {root} Id ID #IMPLIED>\"> %e;]>"),
        ),
        ("attributes by default", format!("<!DOCTYPE {root} [<!ATTLIST {root} x CDATA \"y\">]>")),
    ] {
        add(Kind::Entity, what, format!("{document_type}{body}"));
    }
    let lol = format!("<!DOCTYPE {root} [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>{body}");
    add(Kind::Entity, "entities of entities", lol);
    for declaration in [
        "<?xml version=\"1.0\"?>",
        "<?xml version=\"1.1\"?>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
        "<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"yes\"?>",
        "<?xml version=\"1.0\" encoding=\"UTF-16\"?>",
        "<?xml version=\"1.0\" encoding=\"UTF-7\"?>",
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>",
    ] {
        add(Kind::Whitespace, declaration, format!("{declaration}{body}"));
    }
    add(Kind::Whitespace, "without a declaration", body.to_owned());
    add(Kind::Whitespace, "a byte order mark", format!("\u{feff}{text}"));
    add(Kind::Whitespace, "a line end in front", format!("\n{text}"));
    add(Kind::Whitespace, "a line end behind", format!("{text}\n"));
    add(Kind::Whitespace, "line ends of another system", text.replace('\n', "\r\n"));
    add(Kind::Whitespace, "line ends of an old system", text.replace('\n', "\r"));
    add(Kind::Whitespace, "tabs for blanks between elements", text.replace("> ", ">\t"));
    add(Kind::Whitespace, "no line ends", text.replace(['\n', '\r'], ""));
    add(Kind::Whitespace, "line ends between all elements", text.replace("><", ">\n<"));
    add(Kind::Comment, "a comment in front", format!("<!-- x -->{body}"));
    add(Kind::Comment, "a comment behind", format!("{text}<!-- x -->"));
    add(Kind::Comment, "an instruction in front", format!("<?x y?>{body}"));
    add(Kind::Comment, "a style sheet in front", format!("<?xml-stylesheet href=\"x\"?>{body}"));
    add(Kind::Doubled, "the document twice", format!("{text}{body}"));
}
