//! Chromium by the W3C WebDriver protocol: as many of its calls as these tests need.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use portcullis_sandbox::client::{Call, Client};
use serde_json::{Value, json};

/// How long anything may take that a person would wait for.
const PATIENCE: Duration = Duration::from_secs(30);
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys as WebDriver spells them.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const BACKSPACE: &str = "\u{e003}";

/// How a browser is started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setup {
    /// `Accept-Language`; English when empty.
    pub(crate) languages: &'static str,
    /// Scripts are switched off.
    pub(crate) no_scripts: bool,
}

/// One browser with its chromedriver.
pub(crate) struct Browser {
    client: Client,
    session: String,
    driver: Child,
    _profile: tempfile::TempDir,
}

/// Something in a page.
#[derive(Debug, Clone)]
pub(crate) struct Element(Value);

impl Browser {
    pub(crate) async fn start(client: &Client, setup: Setup) -> Self {
        super::install::chromium();
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = (0..5).find_map(|_| chromedriver()).unwrap();
        let root = format!("http://127.0.0.1:{port}/session");
        let client = client.patient(Duration::from_secs(90));
        let answer =
            client.send(Call::post_json(&root, wanted(&profile, setup).to_string())).await.unwrap();
        let id = answer.json().unwrap()["value"]["sessionId"].as_str().map(str::to_owned);
        let id = id.unwrap_or_else(|| panic!("no browser: {}", answer.text()));
        Self { client, session: format!("{root}/{id}"), driver, _profile: profile }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.session);
        let call = match method {
            Method::POST => Call::post_json(url, body.to_string()),
            method => Call::new(method, url),
        };
        let answer = self.client.send(call).await.map_err(|error| format!("{error:#}"))?;
        let value = answer.json().map_err(|error| format!("{error:#}"))?["value"].take();
        if answer.status == 200 { Ok(value) } else { Err(value.to_string()) }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, body).await.unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    pub(crate) async fn url(&self) -> String {
        let url = self.call(Method::GET, "/url", Value::Null).await.unwrap();
        url.as_str().unwrap().to_owned()
    }

    pub(crate) async fn back(&self) {
        self.post("/back", json!({})).await;
    }

    pub(crate) async fn forward(&self) {
        self.post("/forward", json!({})).await;
    }

    pub(crate) async fn reload(&self) {
        self.post("/refresh", json!({})).await;
    }

    /// The first element that a selector finds, once it is there.
    pub(crate) async fn find(&self, css: &str) -> Element {
        let found = self.until(css, async || self.found(css).await).await;
        Element(found)
    }

    async fn found(&self, css: &str) -> Option<Value> {
        let how = json!({ "using": "css selector", "value": css });
        self.call(Method::POST, "/element", how).await.ok()
    }

    pub(crate) async fn has(&self, css: &str) -> bool {
        self.found(css).await.is_some()
    }

    /// Asks again until there is an answer.
    pub(crate) async fn until<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            if Instant::now() >= end {
                let (url, page, console) =
                    (self.url().await, self.read().await, self.console().await);
                let mut frame = String::new();
                if let Some(found) = self.found("#bank iframe").await {
                    self.post("/frame", json!({ "id": found })).await;
                    frame = self.read().await;
                }
                panic!("{what} never came at {url}\n{page}\nin a frame: {frame}\n{console:#?}");
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }

    /// What a person would read, for the message of a test that failed.
    async fn read(&self) -> String {
        let script = json!({ "script": "return document.body.innerText", "args": [] });
        let text = self.call(Method::POST, "/execute/sync", script).await;
        text.map_or_else(|why| why, |text| text.as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn until_url(&self, part: &str) -> String {
        self.until(part, async || Some(self.url().await).filter(|url| url.contains(part))).await
    }

    /// A text of an element, once it is there and not empty.
    pub(crate) async fn until_text(&self, css: &str) -> String {
        self.until(css, async || Some(self.text(css).await).filter(|text| !text.is_empty())).await
    }

    /// The text of an element; empty when there is none.
    pub(crate) async fn text(&self, css: &str) -> String {
        let script = "const e = document.querySelector(arguments[0]); return e ? e.innerText : '';";
        self.run(script, json!([css])).await.as_str().unwrap_or_default().trim().to_owned()
    }

    pub(crate) async fn press(&self, css: &str) {
        self.until(css, async || {
            let element = self.found(css).await?;
            let path = format!("/element/{}/click", element[ELEMENT].as_str()?);
            self.call(Method::POST, &path, json!({})).await.ok()
        })
        .await;
    }

    /// Keys into an element, one after the other.
    pub(crate) async fn write(&self, css: &str, keys: &str) {
        let Element(element) = self.find(css).await;
        let path = format!("/element/{}/value", element[ELEMENT].as_str().unwrap());
        self.post(&path, json!({ "text": keys })).await;
    }

    /// Keys to whatever has the focus.
    pub(crate) async fn keys(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
            })
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.post("/actions", json!({ "actions": [keyboard] })).await;
    }

    /// A script's answer in the current frame.
    pub(crate) async fn run(&self, script: &str, arguments: Value) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": arguments })).await
    }

    /// The same for a script that ends by calling its last argument.
    pub(crate) async fn run_later(&self, script: &str, arguments: Value) -> Value {
        self.post("/execute/async", json!({ "script": script, "args": arguments })).await
    }

    /// A value of the form's input.
    pub(crate) async fn value(&self, css: &str) -> String {
        let value = self.run("return document.querySelector(arguments[0]).value", json!([css]));
        value.await.as_str().unwrap().to_owned()
    }

    pub(crate) async fn attribute(&self, css: &str, name: &str) -> String {
        let script = "return document.querySelector(arguments[0]).getAttribute(arguments[1]) || ''";
        self.run(script, json!([css, name])).await.as_str().unwrap().to_owned()
    }

    pub(crate) async fn enter(&self, frame: &str) {
        self.until(frame, async || {
            let element = self.found(frame).await?;
            self.call(Method::POST, "/frame", json!({ "id": element })).await.ok()
        })
        .await;
    }

    pub(crate) async fn leave(&self) {
        self.post("/frame", json!({ "id": null })).await;
    }

    /// A call of the DevTools protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    pub(crate) async fn screen(&self, width: u32, height: u32, dark: bool) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600
        });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    pub(crate) async fn picture(&self) -> Vec<u8> {
        let png = self.call(Method::GET, "/screenshot", Value::Null).await.unwrap();
        STANDARD.decode(png.as_str().unwrap()).unwrap()
    }

    /// What the console said since it was asked last.
    pub(crate) async fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({ "type": "browser" })).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn cookies(&self) -> Value {
        self.devtools("Network.getAllCookies", json!({})).await["cookies"].clone()
    }

    pub(crate) async fn end(mut self) {
        let _ = self.call(Method::DELETE, "", Value::Null).await;
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Drop for Browser {
    /// After a test that failed: chromedriver ends its browser when it is asked to.
    fn drop(&mut self) {
        if let Ok(None) = self.driver.try_wait() {
            let id = self.driver.id().to_string();
            let _ = Command::new("kill").args(["-TERM", &id]).status();
            let _ = self.driver.wait();
        }
    }
}

/// One on a port of its own. It chooses one for IPv4, and ends when IPv6 does not have it.
fn chromedriver() -> Option<(Child, u16)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.map_while(Result::ok).find_map(|line| {
        let port = line.rsplit_once("successfully on port ")?.1.trim_end_matches('.');
        port.parse::<u16>().ok()
    });
    if port.is_none() {
        let _ = driver.kill();
        let _ = driver.wait();
    }
    Some((driver, port?))
}

fn wanted(profile: &tempfile::TempDir, setup: Setup) -> Value {
    let folder = format!("--user-data-dir={}", profile.path().display());
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,900",
        folder.as_str(),
    ];
    let languages = if setup.languages.is_empty() { "en-US,en" } else { setup.languages };
    let mut preferences = json!({ "intl.accept_languages": languages });
    if setup.no_scripts {
        preferences["profile.managed_default_content_settings.javascript"] = json!(2);
    }
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "acceptInsecureCerts": true,
        "timeouts": { "pageLoad": 60_000, "script": 60_000 },
        "goog:chromeOptions": { "args": arguments, "prefs": preferences },
        "goog:loggingPrefs": { "browser": "ALL" },
    }}})
}
