//! What all pages share, and the one that lets people in.

use maud::{DOCTYPE, Markup, html};

use super::session::Session;
use super::words::Language;

/// A page for somebody who was let in; `fields` is the query that shows it again.
pub fn page(session: &Session, title: &str, fields: &str, content: &Markup) -> Markup {
    let words = session.language.words();
    let nav = html! {
        nav {
            a href="/audit/" { (words.search) }
            a href="/audit/traffic" { (words.traffic) }
        }
        form.leave method="post" action="/audit/leave" {
            input type="hidden" name="form" value=(session.form);
            span { (words.reads) " " strong { (session.token.name) } " · " q { (session.reason) } }
            button { (words.leave) }
        }
    };
    frame(session.language, title, fields, &nav, content)
}

/// The page that asks for a token; with why the last one did not do.
pub fn login(language: Language, problem: Option<&str>) -> Markup {
    let words = language.words();
    let content = html! {
        h1 { (words.login) }
        @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
        form.stacked method="post" action=(format!("/audit/login?lang={}", language.tag())) {
            label for="token" { (words.token) }
            input #token name="token" type="password" autocomplete="off" required autofocus;
            label for="reason" { (words.reason) }
            input #reason name="reason" maxlength="300" required aria-describedby="hint";
            p #hint.hint { (words.reason_hint) }
            button { (words.enter) }
        }
    };
    frame(language, words.login, "", &html! {}, &content)
}

/// Why there is nothing else to be seen.
pub fn problem(why: &str, what: &str) -> Markup {
    html! { h1 { (why) } @if !what.is_empty() { p { code { (what) } } } }
}

fn frame(language: Language, title: &str, fields: &str, nav: &Markup, content: &Markup) -> Markup {
    let words = language.words();
    let other = language.other().tag();
    let fields = fields.split('&').filter(|field| !field.is_empty() && !field.starts_with("lang="));
    let in_other = fields.chain([format!("lang={other}").as_str()]).collect::<Vec<_>>().join("&");
    html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – " (words.title) }
                link rel="stylesheet" href="/audit/style.css";
                // Browsers ask for one by themselves otherwise.
                link rel="icon" href="data:,";
            }
            body {
                a.skip href="#content" { (words.skip) }
                header {
                    p.name { "Passerelle · " (words.title) }
                    (nav)
                    a.language lang=(other) href=(format!("?{in_other}")) { (words.other_language) }
                }
                main #content { (content) }
            }
        }
    }
}
