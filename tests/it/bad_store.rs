//! A store that is named wrongly, or will not have us: one clear sentence at the start, with what to
//! do, and nothing half-made.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

use crate::harness::{Cluster, PASSWORD, Process, ROUTES, add_user, sallyport, sallyport_in};

/// What a gateway says that is to start on this store in this environment, and the code that it
/// exits with.
fn start_on(url: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), url, "");
    let output = sallyport_in(environment, folder.path(), &["run"], "");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn configure(folder: &Path, url: &str, lines: &str) {
    let text = format!(
        "[store]\nurl = \"{url}\"\n{lines}\n[[upstream]]\nname = \"app\"\n\
         servers = [\"http://127.0.0.1:1\"]\n{ROUTES}"
    );
    Process::configure(folder, &text);
}

/// That a gateway does not start on this store, and says so in one sentence with these words.
pub(crate) fn assert_refused(url: &str, words: &[&str]) {
    assert_refused_in(&[], url, 69, words);
}

/// The same in this environment, with this exit code.
fn assert_refused_in(environment: &[(&str, &str)], url: &str, code: i32, words: &[&str]) {
    let (found, text) = start_on(url, environment);
    assert_eq!(found, Some(code), "{text}");
    let told: Vec<&str> = text.lines().filter(|line| line.starts_with("sallyport:")).collect();
    assert_eq!(told.len(), 1, "one sentence:\n{text}");
    for word in ["store.url"].iter().chain(words) {
        assert!(told[0].contains(word), "it does not say {word:?}:\n{text}");
    }
    assert!(!text.contains("planted-secret"), "{text}");
}

/// Whether anything of ours is in the database.
fn tables(cluster: &Cluster) -> String {
    cluster.sql("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")
}

#[test]
fn a_server_that_cannot_be_reached_or_entered_is_told_with_what_to_do() {
    let cluster = Cluster::start();
    cluster.sql("CREATE ROLE me LOGIN PASSWORD 'right'");
    let rules = cluster.data().join("pg_hba.conf");
    let open = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, format!("host all me 127.0.0.1/32 scram-sha-256\n{open}")).unwrap();
    cluster.sql("SELECT pg_reload_conf()");
    let host = cluster.host();
    let nobody = "postgres://me:planted-secret@127.0.0.1:1/postgres?sslmode=disable";
    assert_refused(nobody, &["no server answers there", "store.url"]);
    let unknown = "postgres://me:planted-secret@nowhere.invalid/postgres?sslmode=disable";
    assert_refused(unknown, &["no server answers there"]);
    let password = format!("postgres://me:planted-secret@{host}/postgres?sslmode=disable");
    assert_refused(&password, &["refuses the user or the password"]);
    let database = format!("postgres://sallyport@{host}/absent?sslmode=disable");
    assert_refused(&database, &["no database of that name", "createdb"]);
    let attributes = format!("{}&target_session_attrs=any", cluster.url());
    assert_refused_in(&[], &attributes, 78, &["target_session_attrs", "read-write"]);
    // Something else listens there, or the server hangs.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("postgres://me@{}/postgres?sslmode=disable", mute.local_addr().unwrap());
    assert_refused(&mute, &["does not answer within", "host and port"]);
    assert_eq!(tables(&cluster), "0");
}

/// The host and port of something that says `greeting` to whoever comes, and hangs up.
fn stranger(greeting: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            drop(client.read(&mut [0; 512]));
            drop(client.write_all(greeting));
        }
    });
    host
}

#[test]
fn what_is_no_postgres_is_told_as_such_and_not_as_one_that_is_down_or_has_a_wrong_certificate() {
    let greetings: [&[u8]; 5] = [
        b"",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"-ERR unknown command\r\n",
        b"S and then no TLS at all, but some other thing",
    ];
    for greeting in greetings {
        let host = stranger(greeting);
        for parameters in ["", "?sslmode=disable"] {
            let url = format!("postgres://me:planted-secret@{host}/postgres{parameters}");
            let words = ["host and port of store.url are those of a Postgres"];
            assert_refused(&url, &words);
        }
    }
}

#[test]
fn a_file_without_what_the_url_says_it_holds_is_told_before_the_server_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.pem");
    fs::write(&file, "no certificate, and no key\n").unwrap();
    for (name, content) in
        [("sslrootcert", "certificate"), ("sslcert", "certificate"), ("sslkey", "private key")]
    {
        let url = format!("postgres://me@127.0.0.1:1/postgres?{name}={}", file.display());
        let words = format!("its {name} names a file that holds no {content}");
        assert_refused_in(&[], &url, 78, &[&words]);
    }
}

#[test]
fn a_server_without_tls_is_told_as_such_and_no_environment_lets_it_pass() {
    let cluster = Cluster::start();
    let url = format!("postgres://sallyport@{}/postgres", cluster.host());
    let words = ["speaks no TLS", "ssl = on", "sslmode=disable"];
    assert_refused(&url, &words);
    assert_refused_in(&[("PGSSLMODE", "disable")], &url, 69, &words);
    let absent = format!("{url}?sslrootcert=no/such/authority.pem");
    assert_refused_in(&[], &absent, 78, &["sslrootcert names a file that cannot be read"]);
    assert_eq!(tables(&cluster), "0");
}

#[test]
fn tables_of_another_program_are_left_alone_with_what_to_do() {
    let cluster = Cluster::start();
    cluster.sql("CREATE TABLE users (mine TEXT)");
    assert_refused(&cluster.url(), &["another program's", "one of its own"]);
    assert_eq!(tables(&cluster), "1");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_and_one_of_a_named_authority_is_taken() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let (authority, key) = authority();
    let leaf_key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(Vec::new()).unwrap();
    leaf.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap())];
    let named = folder.path().join("authority.pem");
    fs::write(&named, authority.self_signed(&key).unwrap().pem()).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &Issuer::new(authority, key)).unwrap();
    cluster.place("server.crt", &leaf.pem());
    cluster.place("server.key", &leaf_key.serialize_pem());
    cluster.settings("ssl = on\n");
    cluster.stop();
    cluster.run();
    // No sslmode: the server is verified.
    let url = format!("postgres://sallyport@{}/postgres", cluster.host());
    assert_refused(&url, &["certificate cannot be trusted", "sslrootcert"]);
    assert_eq!(tables(&cluster), "0");
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &format!("{url}?sslrootcert={}", named.display()), "");
    add_user(folder.path(), "ada");
    let encrypted = "SELECT count(*) > 0 FROM users";
    assert_eq!(cluster.sql(encrypted), "t");
    // The right authority, and another host's name.
    let other = format!("postgres://sallyport@{}/postgres", cluster.host())
        .replace("127.0.0.1", "localhost");
    assert_refused(
        &format!("{other}?sslrootcert={}", named.display()),
        &["certificate cannot be trusted"],
    );
}

fn authority() -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params, KeyPair::generate().unwrap())
}

#[test]
fn a_standby_a_role_without_rights_and_a_newer_schema_are_refused_and_left_as_they_are() {
    let cluster = Cluster::start();
    let standby = cluster.standby(false);
    assert_refused(&standby.url(), &["takes no writes", "standby"]);

    cluster.sql("CREATE ROLE weak LOGIN");
    cluster.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let weak = cluster.url().replace("sallyport@", "weak@");
    assert_refused(&weak, &["lacks a right", "sallyport migrate"]);
    assert_eq!(tables(&cluster), "0", "no half-made schema");

    // One who may makes the schema; then the other one works with what it was granted.
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &cluster.url(), "");
    let output = sallyport(folder.path(), &["migrate"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    cluster.sql(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO weak; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO weak",
    );
    configure(folder.path(), &weak, "");
    add_user(folder.path(), "ada");
    assert_eq!(Process::start(folder.path()).client().log_in("ada", PASSWORD, true).status, 200);

    cluster.sql(
        "INSERT INTO _sqlx_migrations VALUES (9000, 'later', now(), TRUE, '', 0); \
         UPDATE compatibility SET needs = 9000",
    );
    assert_refused(&cluster.url(), &["version 9000", "newer program"]);
}

#[test]
fn a_damaged_file_is_found_at_the_start_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let url = "sqlite://data/sallyport.db";
    configure(folder.path(), url, "");
    add_user(folder.path(), "ada");
    let process = Process::start(folder.path());
    assert_eq!(process.client().log_in("ada", PASSWORD, true).status, 200);
    // Killed: its log is left behind, as after a crash.
    process.kill();
    assert!(folder.path().join("data/sallyport.db-wal").exists());
    drop(Process::start(folder.path()));
    let mut process = Process::start(folder.path());
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
    let file = folder.path().join("data/sallyport.db");
    // A copy that is whole in itself: a stop may leave a part of the file in its log.
    let whole = folder.path().join("whole.db");
    let output = sallyport(folder.path(), &["backup", whole.to_str().unwrap()], "");
    assert!(output.status.success(), "{output:?}");
    let mut bytes = fs::read(&whole).unwrap();
    // What the file is stands in its first page, and what it holds of people in the later ones.
    let from = bytes.len() / 2;
    bytes[from..].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    fs::write(folder.path().join("data/sallyport.db-wal"), [0; 64]).unwrap();
    let output = sallyport(folder.path(), &["run"], "");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains("store.url") && text.contains("damaged"), "{text}");
}

#[test]
fn after_an_end_that_is_no_crash_the_file_is_whole_by_itself() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&folder, &elsewhere] {
        configure(folder.path(), "sqlite://data/sallyport.db", "");
    }
    add_user(folder.path(), "ada");
    let mut process = Process::start(folder.path());
    let mut client = process.client();
    assert_eq!(client.log_in("ada", PASSWORD, true).status, 200);
    assert_eq!(client.post("/auth/refresh").status, 200);
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));
    let of = |folder: &Path, name: &str| folder.join("data").join(name);
    let log = fs::metadata(of(folder.path(), "sallyport.db-wal"));
    assert_eq!(log.map_or(0, |about| about.len()), 0, "no start takes it for a crash");
    fs::create_dir(elsewhere.path().join("data")).unwrap();
    fs::copy(of(folder.path(), "sallyport.db"), of(elsewhere.path(), "sallyport.db")).unwrap();
    let process = Process::start(elsewhere.path());
    let mut there = process.client();
    there.jar = client.jar;
    assert_eq!(there.get("/auth/me").status, 200);
    assert_eq!(there.post("/auth/refresh").status, 200);
}

#[test]
fn an_installation_moves_from_a_file_to_postgres_and_nobody_is_logged_out() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let (file, seal) = ("sqlite://data/sallyport.db", "seal_key = { file = \"seal\" }\n");
    fs::write(folder.path().join("seal"), "a key that is long enough for every seal").unwrap();
    configure(folder.path(), file, seal);
    add_user(folder.path(), "ada");
    let mut process = Process::start(folder.path());
    let (mut alive, mut ended) = (process.client(), process.client());
    for client in [&mut alive, &mut ended] {
        assert_eq!(client.log_in("ada", PASSWORD, true).status, 200);
    }
    let copy = ended.twin();
    assert_eq!(ended.post("/auth/logout").status, 200);
    // A backup, while it runs.
    let run = |arguments: &[&str]| sallyport(folder.path(), arguments, "");
    let done = run(&["backup", "copy.db"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(!run(&["backup", "copy.db"]).status.success(), "nothing is written over");
    process.terminate();
    assert_eq!(process.wait().code(), Some(0));

    let from = format!("sqlite://{}", folder.path().join("data/sallyport.db").display());
    let backup = format!("sqlite://{}", folder.path().join("copy.db").display());
    let done = run(&["store", "copy", "--from", &from, "--to", &cluster.url()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let again = run(&["store", "copy", "--from", &backup, "--to", &cluster.url()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("not empty"));
    assert_eq!(cluster.sql("SELECT min(length(secret)) > 32 FROM keys"), "t", "still sealed");

    for url in [&cluster.url(), &backup] {
        configure(folder.path(), url, seal);
        let process = Process::start(folder.path());
        let moved = |client: &crate::harness::Client| {
            let mut there = process.client();
            there.jar = client.jar.clone();
            there
        };
        assert_eq!(moved(&alive).get("/public/a").status, 502, "there is no application");
        assert_eq!(moved(&alive).get("/auth/me").status, 200, "{url}");
        assert_eq!(moved(&copy).get("/auth/me").code(), "token_revoked", "{url}");
        assert_eq!(moved(&alive).post("/auth/refresh").status, 200, "{url}");
    }

    // The seal's key is changed by a command; the keys themselves stay.
    fs::rename(folder.path().join("seal"), folder.path().join("former")).unwrap();
    fs::write(folder.path().join("seal"), "another key that is long enough for a seal").unwrap();
    configure(folder.path(), &cluster.url(), seal);
    let refused = run(&["keys", "reseal"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("retired_seal_keys"));
    let both = format!("{seal}retired_seal_keys = [{{ file = \"former\" }}]\n");
    configure(folder.path(), &cluster.url(), &both);
    let done = run(&["keys", "reseal"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    configure(folder.path(), &cluster.url(), seal);
    let process = Process::start(folder.path());
    let mut there = process.client();
    there.jar = alive.jar;
    assert_eq!(there.get("/auth/me").status, 200);
}
