//! A real browser, led over the WebDriver protocol: Debian's Chromium, without a window, and without scripts of pages.
//!
//! Specification: W3C WebDriver; the log of requests is chromedriver's own (`goog:loggingPrefs`).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::demo::client;

/// Where WebDriver puts the reference of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A key, as WebDriver writes it.
pub mod key {
    /// To the next field.
    pub const TAB: &str = "\u{e004}";
    /// Enter.
    pub const ENTER: &str = "\u{e007}";
}

/// A browser with one window. It goes when it is dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    /// Where it puts what it downloads.
    downloads: TempDir,
}

impl Browser {
    /// Starts it, with `language` as the one that its user prefers. No name is resolved: what is not on this machine is
    /// out of its reach.
    ///
    /// # Errors
    /// In words: chromedriver or Chromium is not there, or does not start.
    pub async fn start(language: &str) -> Result<Self, String> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("chromedriver (apt-get install chromium-driver): {error}"))?;
        let port = driver.stdout.take().and_then(|out| {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            let port = |line: String| {
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse::<u16>().ok()
            };
            lines.filter_map(port).next()
        });
        let port = port.ok_or("chromedriver does not say its port")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let downloads = tempfile::tempdir().map_err(|error| error.to_string())?;
        let folder = downloads.path().display().to_string();
        let mut browser = Self { driver, address, session: String::new(), downloads };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1280,1600",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "performance": "ALL" },
            "goog:chromeOptions": {
                "args": arguments,
                "prefs": {
                    "download.default_directory": folder,
                    "download.prompt_for_download": false,
                    "intl.accept_languages": language,
                    "profile.managed_default_content_settings.javascript": 2,
                },
            },
        } } });
        let begun = browser.call("POST", "/session", &wanted).await?;
        browser.session = text_at(&begun, "/sessionId").ok_or("the browser has no session")?.to_owned();
        Ok(browser)
    }

    /// Opens an address.
    ///
    /// # Errors
    /// In words, as for all that follows: what the browser says.
    pub async fn open(&self, url: &str) -> Result<(), String> {
        self.command("POST", "url", &json!({ "url": url })).await.map(drop)
    }

    /// The address that it shows.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn url(&self) -> Result<String, String> {
        let url = self.command("GET", "url", &Value::Null).await?;
        Ok(url.as_str().unwrap_or_default().to_owned())
    }

    /// The text of what a CSS selector finds first.
    ///
    /// # Errors
    /// What the browser says; there is no such element.
    pub async fn text(&self, selector: &str) -> Result<String, String> {
        let found = self.find(selector).await?;
        self.text_of(&found).await
    }

    /// The text of the element that has the focus.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn focused(&self) -> Result<String, String> {
        let active = self.command("GET", "element/active", &Value::Null).await?;
        self.text_of(&active).await
    }

    /// Presses Enter where it leads to another page, and waits for that page.
    ///
    /// # Errors
    /// What the browser says; the page stays.
    pub async fn follow(&self) -> Result<(), String> {
        let old = self.find("html").await?;
        let old = old.get(ELEMENT).and_then(Value::as_str).ok_or("no element")?.to_owned();
        self.press(key::ENTER).await?;
        for _ in 0..500 {
            // Gone with its page. The browser itself waits for the new one before it answers about that.
            if self.command("GET", &format!("element/{old}/name"), &Value::Null).await.is_err() {
                return self.find("main").await.map(drop);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err("the page stays".to_owned())
    }

    async fn find(&self, selector: &str) -> Result<Value, String> {
        self.command("POST", "element", &json!({ "using": "css selector", "value": selector })).await
    }

    async fn text_of(&self, element: &Value) -> Result<String, String> {
        let id = element.get(ELEMENT).and_then(Value::as_str).ok_or("no element")?;
        let text = self.command("GET", &format!("element/{id}/text"), &Value::Null).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Presses keys, one after the other, wherever the focus is.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn press(&self, keys: &str) -> Result<(), String> {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
            })
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.command("POST", "actions", &actions).await.map(drop)
    }

    /// Goes from field to field until the text of the one with the focus contains `text`.
    ///
    /// # Errors
    /// What the browser says; there is no such field.
    pub async fn tab_to(&self, text: &str) -> Result<(), String> {
        for _ in 0..200 {
            self.press(key::TAB).await?;
            if self.focused().await?.contains(text) {
                return Ok(());
            }
        }
        Err(format!("nothing with {text:?} gets the focus"))
    }

    /// Goes from field to field until the one with this id has the focus.
    ///
    /// # Errors
    /// What the browser says; there is no such field.
    pub async fn tab_to_field(&self, id: &str) -> Result<(), String> {
        for _ in 0..200 {
            self.press(key::TAB).await?;
            let active = self.command("GET", "element/active", &Value::Null).await?;
            let active = active.get(ELEMENT).and_then(Value::as_str).ok_or("no element")?;
            let found = self.command("GET", &format!("element/{active}/attribute/id"), &Value::Null).await?;
            if found == id {
                return Ok(());
            }
        }
        Err(format!("no field {id} gets the focus"))
    }

    /// The file whose name ends so, once it has been downloaded.
    ///
    /// # Errors
    /// It does not come.
    pub async fn downloaded(&self, end: &str) -> Result<PathBuf, String> {
        for _ in 0..500 {
            let files = std::fs::read_dir(self.downloads.path()).map_err(|error| error.to_string())?;
            // While it comes it has another name.
            let whole = |path: &PathBuf| path.to_string_lossy().ends_with(end);
            if let Some(path) = files.flatten().map(|file| file.path()).find(whole) {
                return Ok(path);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("no {end} is downloaded"))
    }

    /// Writes the page, from its top to its end, into a PNG file.
    ///
    /// # Errors
    /// What the browser says; the file cannot be written.
    pub async fn screenshot(&self, file: &Path) -> Result<(), String> {
        let page = self.find("html").await?;
        let page = page.get(ELEMENT).and_then(Value::as_str).ok_or("no element")?.to_owned();
        let size = self.command("GET", &format!("element/{page}/rect"), &Value::Null).await?;
        let height = size.get("height").and_then(Value::as_f64).unwrap_or_default().ceil();
        // The window has a frame of its own.
        let whole = json!({ "width": 1280, "height": height.max(800.0) + 160.0 });
        self.command("POST", "window/rect", &whole).await?;
        let picture = self.command("GET", "screenshot", &Value::Null).await?;
        let png = STANDARD.decode(picture.as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
        cert_authority::durable::write(file, &png).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// The addresses of all requests since the last look.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn requests(&self) -> Result<Vec<String>, String> {
        let entries = self.command("POST", "se/log", &json!({ "type": "performance" })).await?;
        let message = |entry: &Value| serde_json::from_str::<Value>(text_at(entry, "/message")?).ok();
        let sent = |message: Value| {
            let is_request = text_at(&message, "/message/method") == Some("Network.requestWillBeSent");
            is_request
                .then(|| text_at(&message, "/message/params/request/url").unwrap_or_default().to_owned())
        };
        Ok(entries.as_array().into_iter().flatten().filter_map(message).filter_map(sent).collect())
    }

    async fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.call(method, &format!("/session/{}/{path}", self.session), body).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("Content-Type", "application/json")];
        let reply = client::send(self.address, method, path, &headers, body).await?;
        let mut answer: Value =
            serde_json::from_slice(&reply.body).map_err(|error| format!("{path}: {error}"))?;
        if !reply.status.is_success() {
            return Err(format!("{path}: {}", text_at(&answer, "/value/message").unwrap_or_default()));
        }
        Ok(answer.get_mut("value").map(Value::take).unwrap_or_default())
    }
}

fn text_at<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

impl Browser {
    /// Ends the session, and with it the browser, which would outlive its driver otherwise.
    fn end(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "DELETE /session/{} HTTP/1.1\r\nHost: {}\r\n\r\n", self.session, self.address)?;
        // One byte of the answer: it is done.
        stream.read_exact(&mut [0])
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the browser is not told to end");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
