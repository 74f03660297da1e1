//! A real browser: headless Chromium, steered over chromedriver by the W3C WebDriver protocol.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sallyport::clock::Stopwatch;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Log, PATIENCE};

/// The key under which WebDriver tells an element's name (section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with a profile of its own. It believes every certificate, finds names that end in
/// `.test` on this machine, and reaches nothing outside of it.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// Where the driver and the browser keep their files.
    _folder: TempDir,
}

impl Browser {
    /// Starts the driver and a browser.
    pub(crate) fn start() -> Self {
        Self::start_with(&json!({}))
    }

    /// One that keeps no cookies at all.
    pub(crate) fn start_without_cookies() -> Self {
        Self::start_with(&json!({ "profile.default_content_setting_values.cookies": 2 }))
    }

    /// One of a person who reads this language.
    pub(crate) fn start_speaking(language: &str) -> Self {
        Self::start_with(&json!({ "intl.accept_languages": language }))
    }

    fn start_with(preferences: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (driver, port) = start_driver(folder.path());
        // From here on the driver ends with the browser.
        let mut browser = Self { driver, port, session: String::new(), _folder: folder };
        let made = browser.ask("POST", "/session", &capabilities(preferences));
        browser.session = made["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) fn goto(&self, url: &str) {
        self.command("POST", "/url", &json!({ "url": url }));
    }

    /// The address that the browser shows.
    pub(crate) fn url(&self) -> String {
        text(&self.command("GET", "/url", &Value::Null))
    }

    /// Goes back in the history.
    pub(crate) fn back(&self) {
        self.command("POST", "/back", &json!({}));
    }

    /// Opens a tab beside this one, goes there, and tells its name.
    pub(crate) fn open_tab(&self) -> String {
        let made = self.command("POST", "/window/new", &json!({ "type": "tab" }));
        let name = text(&made["handle"]);
        self.switch_to(&name);
        name
    }

    /// The tab that is steered.
    pub(crate) fn tab(&self) -> String {
        text(&self.command("GET", "/window", &Value::Null))
    }

    /// Goes to a tab.
    pub(crate) fn switch_to(&self, tab: &str) {
        self.command("POST", "/window", &json!({ "handle": tab }));
    }

    /// A command of Chromium's own protocol, for what WebDriver has no word for.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.command("POST", "/goog/cdp/execute", &body);
    }

    /// Takes scripts away from the pages of this tab, or gives them back.
    pub(crate) fn allow_scripts(&self, allowed: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": !allowed }));
    }

    /// Shows pages as on a screen of this size, in pixels of CSS, by light or in the dark.
    pub(crate) fn look(&self, width: u32, height: u32, dark: bool) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &media);
    }

    /// Has axe-core, the checker of accessibility, come with every page of this tab from now on.
    pub(crate) fn bring_axe(&self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/axe");
        let output = Command::new(script).output().unwrap();
        assert!(output.status.success(), "tests/axe: {}", String::from_utf8_lossy(&output.stderr));
        let path = String::from_utf8(output.stdout).unwrap();
        let source = fs::read_to_string(path.trim()).unwrap();
        self.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": source }));
    }

    /// All that axe-core finds wrong with the page that is shown.
    pub(crate) fn violations(&self) -> String {
        let script = "return axe.run(document).then(found => found.violations.map(one => \
            one.id + ': ' + one.nodes.map(node => node.html + ' ' + node.failureSummary).join('; ')\
            ).join('\\n'));";
        self.execute(script, &[]).as_str().expect("axe-core is there").to_owned()
    }

    /// Whether all of the page fits the width of the screen.
    pub(crate) fn fits(&self) -> bool {
        let script = "return document.documentElement.scrollWidth <= innerWidth;";
        self.execute(script, &[]) == true
    }

    /// The page's title.
    pub(crate) fn title(&self) -> String {
        text(&self.command("GET", "/title", &Value::Null))
    }

    /// The first element that fits the CSS selector; waits for it a while.
    pub(crate) fn find(&self, css: &str) -> Element<'_> {
        let query = json!({ "using": "css selector", "value": css });
        let found = self.command("POST", "/element", &query);
        Element { browser: self, name: text(&found[ELEMENT]) }
    }

    /// The element that keys go to.
    pub(crate) fn focused(&self) -> Element<'_> {
        let found = self.command("GET", "/element/active", &Value::Null);
        Element { browser: self, name: text(&found[ELEMENT]) }
    }

    /// Clicks what leads to another page, and waits until that one is there: it may look the same.
    pub(crate) fn press(&self, css: &str) {
        self.execute("window.isLeft = true;", &[]);
        self.find(css).click();
        self.until("another page", |browser| {
            browser.execute("return !window.isLeft && document.readyState !== 'loading';", &[])
                == true
        });
    }

    /// Runs a script in the page (`return ...;`) and returns its result.
    pub(crate) fn execute(&self, script: &str, arguments: &[Value]) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// The cookies that the browser would send to this page, `HttpOnly` ones too.
    pub(crate) fn cookies(&self) -> Vec<Value> {
        let cookies = self.command("GET", "/cookie", &Value::Null);
        cookies.as_array().cloned().unwrap_or_default()
    }

    /// One of them, by name.
    pub(crate) fn cookie(&self, name: &str) -> Option<Value> {
        self.cookies().into_iter().find(|cookie| cookie["name"] == name)
    }

    /// Takes them all away.
    pub(crate) fn delete_cookies(&self) {
        self.command("DELETE", "/cookie", &Value::Null);
    }

    /// Writes what the browser shows into a PNG file.
    pub(crate) fn screenshot(&self, file: &Path) {
        let image = text(&self.command("GET", "/screenshot", &Value::Null));
        fs::write(file, BASE64_STANDARD.decode(image).unwrap()).unwrap();
    }

    /// The same into the folder of `tests/screenshots`, if pictures are wanted.
    pub(crate) fn picture(&self, name: &str) {
        if let Some(folder) = pictures() {
            self.screenshot(&folder.join(format!("{name}.png")));
        }
    }

    /// Asks until `holds` does, each time a round trip to the browser. `what` is said on failure.
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let waited = Stopwatch::start();
        while !holds(self) {
            assert!(
                waited.elapsed() < PATIENCE,
                "{what}: not so at {} ({})",
                self.url(),
                self.title()
            );
        }
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
    }

    /// One command; fails with the driver's own words.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = exchange(self.port, method, path, body).unwrap();
        assert_eq!(status, 200, "{method} {path} {body}: {}", answer["value"]);
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A driver that is killed leaves its browser behind, so it is asked to end it: by the
        // session's deletion, or by its own end if the session never had a name.
        let ended = if self.session.is_empty() {
            exchange(self.port, "GET", "/shutdown", &Value::Null).is_ok()
        } else {
            drop(exchange(
                self.port,
                "DELETE",
                &format!("/session/{}", self.session),
                &Value::Null,
            ));
            false
        };
        if !ended {
            drop(self.driver.kill());
        }
        if self.driver.wait().is_err() && !thread::panicking() {
            panic!("chromedriver did not end");
        }
    }
}

/// Starts the driver, and tells on which port it listens. Now and then one hangs before it says so;
/// then another is started.
fn start_driver(folder: &Path) -> (Child, u16) {
    const ATTEMPTS: usize = 4;
    let program = path("SALLYPORT_CHROMEDRIVER").unwrap_or_else(|| "chromedriver".to_owned());
    for _ in 0..ATTEMPTS {
        let mut driver = Command::new(&program)
            .arg("--port=0")
            .env("TMPDIR", folder)
            .env("HOME", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is there: tests/run installs it");
        let log = Log::default();
        log.follow(driver.stdout.take().unwrap());
        if let Some(line) = log.line("started successfully on port ", PATIENCE / 2) {
            let port = line.trim_end_matches('.').rsplit(' ').next().unwrap().parse().unwrap();
            return (driver, port);
        }
        drop(driver.kill());
        drop(driver.wait());
    }
    panic!("chromedriver does not start");
}

/// An element of the page that was shown when it was found.
pub(crate) struct Element<'a> {
    browser: &'a Browser,
    name: String,
}

impl Element<'_> {
    /// Clicks it as a person would; waits for the page that follows from it.
    pub(crate) fn click(&self) {
        self.command("POST", "click", &json!({}));
    }

    /// Empties it.
    pub(crate) fn clear(&self) {
        self.command("POST", "clear", &json!({}));
    }

    /// Types into it.
    pub(crate) fn type_text(&self, keys: &str) {
        self.command("POST", "value", &json!({ "text": keys }));
    }

    /// Its text as shown.
    pub(crate) fn text(&self) -> String {
        text(&self.command("GET", "text", &Value::Null))
    }

    /// An attribute, if it has it.
    pub(crate) fn attribute(&self, attribute: &str) -> Option<String> {
        let value = self.command("GET", &format!("attribute/{attribute}"), &Value::Null);
        value.as_str().map(str::to_owned)
    }

    fn command(&self, method: &str, what: &str, body: &Value) -> Value {
        self.browser.command(method, &format!("/element/{}/{what}", self.name), body)
    }
}

/// Where pictures go, if they are wanted.
pub(crate) fn pictures() -> Option<PathBuf> {
    path("SALLYPORT_SCREENSHOTS").map(PathBuf::from)
}

fn capabilities(preferences: &Value) -> Value {
    let mut options = json!({ "args": [
        "--headless=new",
        // Tests run as root in containers, where the sandbox does not; they visit their own pages.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,900",
        "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    ], "prefs": preferences });
    if let Some(binary) = path("SALLYPORT_CHROMIUM") {
        options["binary"] = Value::String(binary);
    }
    let patience = u64::try_from(PATIENCE.as_millis()).unwrap();
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "acceptInsecureCerts": true,
        "timeouts": { "implicit": patience / 2, "pageLoad": patience, "script": patience },
        "goog:chromeOptions": options,
    }}})
}

/// Where `tests/run` found a program; `None` leaves it to the search path.
#[expect(clippy::disallowed_methods, reason = "the way from tests/run to the tests")]
fn path(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|path| !path.is_empty())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// One HTTP exchange with the driver: its status and its JSON.
fn exchange(port: u16, method: &str, path: &str, body: &Value) -> std::io::Result<(u16, Value)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    // A page may take its whole patience to load; the driver then says so.
    stream.set_read_timeout(Some(PATIENCE * 2))?;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut length = 0;
    // The driver keeps the connection whatever we ask for: its answer ends where it says.
    while !matches!(line.as_str(), "\r\n" | "") {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((status.unwrap_or_default(), serde_json::from_slice(&body).unwrap_or_default()))
}
