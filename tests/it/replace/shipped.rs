//! A shipped configuration, running: the file as it is but for the port, in a folder of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use sallyport::clock::{Clock, Stopwatch, Timestamp};
use sallyport::config::Config;
use sallyport::gateway::Gateway;
use tempfile::TempDir;

use crate::harness::{Answer, PATIENCE, curl};

/// Variables of a shell.
pub(super) type Variables = BTreeMap<String, String>;

/// A gateway of a shipped configuration. Stops when it is dropped.
pub(super) struct Shipped {
    gateway: Option<Gateway>,
    clock: Clock,
    folder: TempDir,
    file: PathBuf,
    /// Where its clients believe it to be.
    known_as: String,
}

impl Shipped {
    /// Runs `config/NAME.toml`.
    pub(super) fn start(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/{name}.toml"));
        Self::of(name, &fs::read_to_string(path).unwrap())
    }

    /// Runs this text as if it were shipped.
    pub(super) fn of(name: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("config")).unwrap();
        let file = folder.path().join(format!("config/{name}.toml"));
        let line = text.lines().find(|line| line.starts_with("dev_http = ")).unwrap();
        let known_as = line.split('"').nth(1).unwrap().to_owned();
        // Only the listeners: issuer and origins stay what they are.
        let text = text
            .replace(line, "dev_http = \"127.0.0.1:0\"\ncores = 2")
            .replace("stand_in = \"127.0.0.1:9163\"", "stand_in = \"127.0.0.1:0\"");
        fs::write(&file, &text).unwrap();
        let clock = Clock::manual(Timestamp::from_secs(Clock::system().now().secs()));
        let config = Config::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let gateway = Gateway::start(config, clock.clone()).unwrap();
        Self { gateway: Some(gateway), clock, folder, file, known_as }
    }

    /// Where it really is.
    pub(super) fn url(&self) -> String {
        let gateway = self.gateway.as_ref().expect("it runs until it is dropped");
        format!("http://{}", gateway.addresses().dev_http.unwrap())
    }

    /// Lets time pass.
    pub(super) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Runs `sallyport ARGUMENTS --config FILE`, as documented, to its good end; what it says.
    pub(super) fn sallyport(&self, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
        command.env_clear().args(arguments).arg("--config").arg(&self.file);
        let output = finish(command, input);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        // Now, and not within half a second.
        let sessions = self.gateway.as_ref().map(|gateway| gateway.sessions().clone());
        let room = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        room.block_on(sessions.unwrap().learn_apps()).unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// What curl gets for these arguments; in them, the clients' own address leads here.
    pub(super) fn curl(&self, arguments: &[&str]) -> Answer {
        let here: Vec<String> = arguments.iter().map(|one| self.here(one)).collect();
        let here: Vec<&str> = here.iter().map(String::as_str).collect();
        curl(&here)
    }

    /// Runs the lines of a fixture as they stand in a shell with these variables, and returns what
    /// they wrote. What they export is a variable afterwards.
    pub(super) fn shell(&self, fixture: &str, variables: &mut Variables) -> Output {
        let exported = self.folder.path().join("exported");
        let lines = self.here(fixture);
        let script = format!("{lines}\nenv -0 > '{}'\n", exported.display());
        let mut command = Command::new("bash");
        let path = std::env::var_os("PATH").unwrap();
        // Neither a proxy nor a user's own settings of curl have a say.
        command.env_clear().env("PATH", path).env("HOME", self.folder.path());
        command.envs(&*variables).arg("-c").arg(script);
        let output = finish(command, "");
        let exported = String::from_utf8(fs::read(exported).unwrap()).unwrap();
        let set = exported.split('\0').filter_map(|line| line.split_once('='));
        variables.extend(
            set.filter(|(name, _)| !["PATH", "HOME", "PWD", "SHLVL", "_"].contains(name))
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        output
    }

    /// Waits until this is so: what another process has done is heard within a second.
    pub(super) fn until(&self, so: impl Fn() -> bool) {
        let waited = Stopwatch::start();
        while !so() {
            assert!(waited.elapsed() < PATIENCE, "it is never so");
            std::thread::yield_now();
        }
    }

    fn here(&self, text: &str) -> String {
        text.replace(&format!("http://{}", self.known_as), &self.url())
    }
}

impl Drop for Shipped {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop();
        }
    }
}

fn finish(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that reads nothing may be gone already.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

/// The claims of a token, whoever signed it.
pub(super) fn claims(token: &str) -> serde_json::Value {
    serde_json::from_slice(&decode(token.split('.').nth(1).unwrap())).unwrap()
}

/// The header of a token.
pub(super) fn header(token: &str) -> serde_json::Value {
    serde_json::from_slice(&decode(token.split('.').next().unwrap())).unwrap()
}

/// base64url without padding (RFC 4648 section 5).
fn decode(text: &str) -> Vec<u8> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = 0_u32;
    let mut held = 0;
    let mut bytes = Vec::new();
    for letter in text.chars() {
        let value = u32::try_from(LETTERS.find(letter).unwrap()).unwrap();
        bits = (bits << 6) | value;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).unwrap());
        }
        bits &= 0xffff;
    }
    bytes
}
