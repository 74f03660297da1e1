//! A real connection pooler before a server: PgBouncer, which lends a connection of the server for one
//! transaction at a time.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use sallyport::clock::Stopwatch;
use tempfile::TempDir;

use super::cluster::unprivileged;
use super::{Cluster, PATIENCE};

/// Debian keeps it out of people's PATH.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A running pooler. Killed when it is dropped.
pub(crate) struct Pooler {
    child: Child,
    _folder: TempDir,
    port: u16,
}

impl Pooler {
    /// One that makes do with this many connections of the server.
    pub(crate) fn before(cluster: &Cluster, connections: u32) -> Self {
        Self::with(cluster, connections, "")
    }

    /// One with further lines among its settings.
    pub(crate) fn with(cluster: &Cluster, connections: u32, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Whoever it runs as must come in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Freed again at once; another program that takes it makes the start fail, loudly.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (host, server) = ("127.0.0.1", cluster.port());
        let config = folder.path().join("pooler.ini");
        let text = format!(
            "[databases]\npostgres = host={host} port={server} user=sallyport\n\
             [pgbouncer]\nlisten_addr = {host}\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\n\
             {lines}\n"
        );
        fs::write(&config, text).unwrap();
        // It refuses to run as root.
        let mut program = unprivileged(Path::new(PROGRAM));
        let program = program.arg("-q").arg(&config).stdin(Stdio::null()).stderr(Stdio::null());
        let child = program.spawn().expect("there is no pgbouncer: tests/run installs one");
        let pooler = Self { child, _folder: folder, port };
        let waited = Stopwatch::start();
        while TcpStream::connect((host, port)).is_err() {
            assert!(waited.elapsed() < PATIENCE, "the pooler does not start");
        }
        pooler
    }

    /// The URL of the server's one database, by way of this.
    pub(crate) fn url(&self) -> String {
        format!("postgres://sallyport@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
