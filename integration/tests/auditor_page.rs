//! The auditor's pages, in a real browser: by keyboard only, without scripts, in both languages; nothing is asked of
//! another host. What the pages look like is kept as pictures in `target/auditor-page/`.

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use integration::browser::{Browser, key};
    use integration::demo::client::send;
    use integration::demo::ecosystem::{Ecosystem, init};
    use integration::demo::layout::{CONSUMER, Layout, PROVIDER, SERVICE};
    use integration::demo::narrator::Narrator;
    use integration::demo::programs::Programs;

    const ID: &str = "permit-2026-0001";

    fn pictures() -> PathBuf {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../auditor-page");
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    async fn ask(layout: &Layout, id: &str) {
        let (client, service) =
            (CONSUMER.client(), format!("/r1/{}/{SERVICE}/municipalities", PROVIDER.client()));
        let headers = [("X-Road-Client", client.as_str()), ("X-Road-Id", id), ("X-Road-UserId", "QC-1867")];
        let reply = send(layout.http(&CONSUMER), "GET", &service, &headers, "").await.unwrap();
        assert!(reply.status.is_success(), "{reply:?}");
    }

    /// Signs in and finds the exchange, with nothing but keys; ends on its page, verified.
    async fn by_keyboard(browser: &Browser, page: &str, token: &str, reason: &str, words: [&str; 5]) {
        let [verify, valid, ..] = words;
        browser.open(page).await.unwrap();
        browser.press(token).await.unwrap();
        browser.press(key::TAB).await.unwrap();
        browser.press(reason).await.unwrap();
        browser.follow().await.unwrap();
        browser.tab_to(ID).await.unwrap();
        browser.follow().await.unwrap();
        assert!(browser.text("h1").await.unwrap().contains(ID));
        // The stamp comes in the background: asked again until both messages have theirs.
        for _ in 0..20 {
            browser.tab_to(verify).await.unwrap();
            browser.follow().await.unwrap();
            let main = browser.text("main").await.unwrap();
            if main.matches(&format!("✓ {valid}")).count() == 2 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        panic!("not verified: {}", browser.text("main").await.unwrap());
    }

    /// Narrows the search to a user and a state, with nothing but keys; `state` is typed into the field.
    async fn search(browser: &Browser, page: &str, user: &str, state: &str, button: &str) -> String {
        browser.open(page).await.unwrap();
        browser.tab_to_field("user").await.unwrap();
        browser.press(user).await.unwrap();
        browser.tab_to_field("state").await.unwrap();
        browser.press(state).await.unwrap();
        browser.tab_to(button).await.unwrap();
        browser.follow().await.unwrap();
        browser.text("main").await.unwrap()
    }

    /// Downloads the container of the request from the page of the exchange; judges it with the command.
    async fn download(browser: &Browser, folder: &std::path::Path, word: &str) {
        browser.tab_to(word).await.unwrap();
        browser.press(key::ENTER).await.unwrap();
        let file = browser.downloaded(".asice").await.unwrap();
        let file = file.to_str().unwrap();
        let judged = Programs::locate().unwrap().run(
            folder,
            "passerelle-gateway",
            &["asic", "verify", "--conf", "globalconf", "--json", file],
        );
        assert!(judged.unwrap().contains("\"valid\": true"), "{file}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_exchange_is_found_seen_and_verified_by_keyboard_in_both_languages() {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::locate().unwrap();
        let layout =
            init(&programs, &folder.path().join("demo"), 19_100, "p256", &Narrator::silent()).unwrap();
        let ecosystem = Ecosystem::start(programs, layout.clone()).await.unwrap();
        ask(&layout, ID).await;

        for (side, language, reason, words) in [
            (CONSUMER, "fr-CA", "dossier A-1", ["Vérifier", "valide", "Télécharger", "Rechercher", "horo"]),
            (PROVIDER, "en-CA", "case A-2", ["Verify", "valid", "Download", "Search", "time-s"]),
        ] {
            let token = std::fs::read_to_string(layout.folder(side.folder).join("auditor.token")).unwrap();
            let origin = format!("http://{}", layout.administration(&side));
            let browser = Browser::start(language).await.unwrap();
            by_keyboard(&browser, &format!("{origin}/audit/"), token.trim(), reason, words).await;
            browser.screenshot(&pictures().join(format!("exchange-{language}.png"))).await.unwrap();
            let main = browser.text("main").await.unwrap();
            for shown in [CONSUMER.owner(), PROVIDER.owner(), "QC-1867".to_owned(), reason.to_owned()] {
                assert!(main.contains(&shown), "{shown}: {main}");
            }
            download(&browser, &layout.folder(side.folder), words[2]).await;

            let page = format!("{origin}/audit/");
            let [.., button, stamped] = words;
            let found = search(&browser, &page, "QC-1867", stamped, button).await;
            assert!(found.contains(ID), "{found}");
            browser.screenshot(&pictures().join(format!("found-{language}.png"))).await.unwrap();
            assert!(
                browser.url().await.unwrap().contains("user=QC-1867")
                    && browser.url().await.unwrap().contains("state=stamped")
            );
            let found = search(&browser, &page, "QC-1868", stamped, button).await;
            assert!(!found.contains(ID), "{found}");

            for (name, path) in [("search", "/audit/"), ("traffic", "/audit/traffic")] {
                browser.open(&format!("{origin}{path}")).await.unwrap();
                browser.screenshot(&pictures().join(format!("{name}-{language}.png"))).await.unwrap();
            }
            assert!(
                browser.text("main").await.unwrap().contains(&format!("{}/{SERVICE}", PROVIDER.client()))
            );

            let requests = browser.requests().await.unwrap();
            assert!(requests.iter().any(|url| url.ends_with("/audit/style.css")), "{requests:?}");
            let elsewhere = |url: &&String| !url.starts_with(&origin) && !url.starts_with("data:");
            assert_eq!(requests.iter().find(elsewhere), None, "nothing is asked of another host");
        }
        ecosystem.stop().unwrap();
    }
}
