//! The program itself, as an operator runs it.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use sallyport::clock::{Clock, Stopwatch};

use super::gateway::complete;
use super::{Client, Log, PASSWORD, PATIENCE, curl};

/// A running gateway in a process of its own. Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    folder: PathBuf,
    https: SocketAddr,
    admin: SocketAddr,
    /// What it writes to standard output: access lines, by default.
    pub(crate) out: Log,
    /// What it writes to standard error.
    pub(crate) err: Log,
}

impl Process {
    /// Writes the config of these lines into `folder`; see [`super::Gate::start`].
    pub(crate) fn configure(folder: &Path, text: &str) {
        fs::write(folder.join("gateway.toml"), complete(text)).unwrap();
    }

    /// Runs the gateway with the `gateway.toml` in `folder`, and waits until it listens.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::launch(folder, command(folder))
    }

    /// The same for one whose files shall be bounded later: a write beyond the bound then fails, as
    /// on a full disk, and does not end the process (`SIGXFSZ`).
    pub(crate) fn start_on_a_small_disk(folder: &Path) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().current_dir(folder).args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
        let program = command(folder);
        shell.arg(program.get_program()).args(program.get_args());
        Self::launch(folder, shell)
    }

    fn launch(folder: &Path, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (Log::default(), Log::default());
        out.follow(child.stdout.take().unwrap());
        err.follow(child.stderr.take().unwrap());
        err.wait_for("log in   at");
        let told = err.text();
        let address = |what: &str| address_in(&told, what);
        let (https, admin) = (address("  https"), address("/metrics"));
        Self { child, folder: folder.to_owned(), https, admin, out, err }
    }

    /// A browser that has never been here.
    pub(crate) fn client(&self) -> Client {
        let certificate = self.folder.join("certs/development.pem");
        Client::new(self.https, &certificate, Clock::system())
    }

    /// Where TLS is spoken.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.https
    }

    /// The address that it told under these words.
    pub(crate) fn address_of(&self, what: &str) -> SocketAddr {
        address_in(&self.err.text(), what)
    }

    /// Keeps it from running (SIGSTOP) until it is let go on.
    pub(crate) fn pause(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn resume(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }

    /// What a path of the admin listener answers.
    pub(crate) fn admin(&self, path: &str) -> super::Answer {
        curl(&[&format!("http://{}{path}", self.admin)])
    }

    /// Bounds what the running process may take, or takes the bound away.
    pub(crate) fn limit(&self, resource: Resource, current: Option<u64>) {
        let limit = Rlimit { current, maximum: None };
        prlimit(Some(Pid::from_child(&self.child)), resource, limit).unwrap();
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let waited = Stopwatch::start();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(waited.elapsed() < PATIENCE, "it does not end:\n{}", self.err.text());
            std::thread::yield_now();
        }
    }

    /// Sends SIGKILL, as a power cut would, and does not wait.
    pub(crate) fn kill_now(&self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).unwrap();
    }

    /// Kills it as a power cut would (SIGKILL), and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn address_in(told: &str, what: &str) -> SocketAddr {
    let line = told.lines().find(|line| line.trim_end().ends_with(what)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Runs a command to its end with the config in `folder`; `input` is its standard input.
pub(crate) fn sallyport(folder: &Path, arguments: &[&str], input: &str) -> Output {
    sallyport_in(&[], folder, arguments, input)
}

/// The same in this environment.
pub(crate) fn sallyport_in(
    environment: &[(&str, &str)],
    folder: &Path,
    arguments: &[&str],
    input: &str,
) -> Output {
    let mut child = command(folder)
        .envs(environment.iter().copied())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone already.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

/// Makes an account by the command line.
pub(crate) fn add_user(folder: &Path, name: &str) {
    let output = sallyport(folder, &["user", "add", name, "--password-stdin"], PASSWORD);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    // Nothing of whoever runs the tests has a say.
    command.env_clear().current_dir(folder).arg("--config").arg(folder.join("gateway.toml"));
    command
}
