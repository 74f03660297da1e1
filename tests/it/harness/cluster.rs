//! A Postgres server of a test's own, to be stopped, killed and followed by a standby.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use sallyport::clock::Stopwatch;
use tempfile::TempDir;

use super::PATIENCE;

/// A server with its data. Stopped when it is dropped.
pub(crate) struct Cluster {
    folder: TempDir,
    port: u16,
}

impl Cluster {
    /// A new one that runs.
    pub(crate) fn start() -> Self {
        let cluster = Self::empty();
        let data = cluster.data();
        let made = program("initdb")
            .args(["-U", "sallyport", "--auth=trust", "--encoding=UTF8", "--locale=C", "-N", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", said(&made));
        cluster.settings(
            "listen_addresses = '127.0.0.1'\nfsync = off\nmax_connections = 100\n\
             max_wal_senders = 4\nwal_level = replica\nhot_standby = on\n",
        );
        cluster.run();
        cluster
    }

    /// A standby that follows this one from now on. `synchronous`: this one acknowledges nothing
    /// that the standby does not have.
    pub(crate) fn standby(&self, synchronous: bool) -> Self {
        let standby = Self::empty();
        let to = "host=127.0.0.1 user=sallyport";
        let made = program("pg_basebackup")
            .args(["-d", &format!("{to} application_name=standby port={}", self.port)])
            .args(["-R", "-X", "stream", "-c", "fast", "-N", "-D"])
            .arg(standby.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "pg_basebackup: {}", said(&made));
        standby.run();
        if synchronous {
            self.settings("synchronous_standby_names = 'standby'\n");
            self.sql("SELECT pg_reload_conf()");
            let waited = Stopwatch::start();
            while self.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
                != "1"
            {
                assert!(waited.elapsed() < PATIENCE, "the standby does not follow");
            }
        }
        standby
    }

    /// The server's address, for a URL.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port of that address.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The URL of its one database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://sallyport@{}/postgres?sslmode=disable", self.host())
    }

    /// Adds lines to its settings, which it reads at its next start.
    pub(crate) fn settings(&self, lines: &str) {
        let file = self.data().join("postgresql.conf");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}\n{lines}")).unwrap();
    }

    /// Puts a file among its data, for its eyes only.
    pub(crate) fn place(&self, name: &str, text: &str) {
        let file = self.data().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Self::own(&file);
    }

    /// Gives a folder to the user that the server runs as.
    pub(crate) fn own(folder: &Path) {
        if is_root() {
            let done = Command::new("chown").arg("postgres").arg(folder).status().unwrap();
            assert!(done.success());
        }
    }

    /// Where its data is.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs one statement and returns what it says, as psql shows it bare.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let done = program("psql")
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.url(), "-c", sql])
            .output()
            .unwrap();
        assert!(done.status.success(), "{sql}: {}", said(&done));
        String::from_utf8(done.stdout).unwrap().trim_end().to_owned()
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) fn run(&self) {
        let options = format!("-p {} -k {}", self.port, self.folder.path().display());
        let waited = Stopwatch::start();
        loop {
            let log = self.folder.path().join("log");
            let started = program("pg_ctl")
                .args(["start", "-w", "-t", "60", "-s", "-D"])
                .arg(self.data())
                .arg("-l")
                .arg(&log)
                .args(["-o", &options])
                // What it leaves behind must not hold our end of a pipe.
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            if started.success() {
                return;
            }
            // After a kill its children may still be about to go.
            let told = fs::read_to_string(&log).unwrap_or_default();
            assert!(waited.elapsed() < PATIENCE, "Postgres does not start:\n{told}");
        }
    }

    /// Stops it in order, cutting off who is connected.
    pub(crate) fn stop(&self) {
        self.control(&["stop", "-w", "-m", "fast"]);
    }

    /// Kills it as the kernel does when memory runs out.
    pub(crate) fn kill(&self) {
        let pid = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    /// Makes a standby take writes.
    pub(crate) fn promote(&self) {
        self.control(&["promote", "-w"]);
    }

    fn control(&self, arguments: &[&str]) {
        let mut control = program("pg_ctl");
        control.args(arguments).arg("-s").arg("-D").arg(self.data());
        let done = control.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
        assert!(done.success(), "pg_ctl {arguments:?}");
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Whoever the server runs as must come in, and its data must be its own.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self::own(folder.path());
        // Freed again at once; another program that takes it makes the start fail, loudly.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, port }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nothing in it is worth an orderly end, and it may have been killed.
        let mut stop = program("pg_ctl");
        stop.args(["stop", "-w", "-s", "-m", "immediate", "-D"]).arg(self.data());
        drop(stop.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

/// A program of Postgres. The server refuses to run as root.
fn program(name: &str) -> Command {
    unprivileged(&bin().join(name))
}

/// A program that refuses to run as root, as the server's user if we are root.
pub(super) fn unprivileged(path: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir("/");
    command
}

/// Debian keeps the server's programs out of PATH, a folder per version: the newest.
fn bin() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_unstable();
    let newest = found.pop().map(|(_, path)| path);
    newest.unwrap_or_else(|| {
        let mut path = ["/usr/local/bin", "/usr/bin"].into_iter().map(Path::new);
        let own = path.find(|folder| folder.join("initdb").exists());
        own.expect("there is no Postgres server: tests/run installs one").to_owned()
    })
}

pub(super) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
