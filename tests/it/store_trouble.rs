//! A store that is full or gone: what needs it is told to come again, nobody is logged out for it,
//! and everything else goes on.

use std::fs;
use std::thread;

use rustix::process::Resource;
use sallyport::clock::Stopwatch;

use crate::harness::{
    ACCESS, Answer, Client, Cluster, Disk, PASSWORD, PATIENCE, Process, ROUTES, Relay, Upstream,
    add_user, response,
};

fn application() -> Upstream {
    Upstream::answering(|_| response("200 OK", &[], "the application"))
}

fn config(upstream: &Upstream, lines: &str) -> String {
    let url = upstream.url();
    format!("{lines}\n[[upstream]]\nname = \"app\"\nservers = [\"{url}\"]\n{ROUTES}")
}

fn signed_in(process: &Process) -> Client {
    let mut client = process.client();
    assert_eq!(client.log_in("ada", PASSWORD, true).status, 200);
    assert_eq!(client.get("/a").status, 200);
    client
}

/// The store could not be asked: come again, with the same cookies.
fn assert_unavailable(answer: &Answer, what: &str) {
    assert_eq!(answer.verdict(), (503, "store_unavailable".to_owned()), "{what}: {answer:#?}");
    assert!(answer.one("retry-after").parse::<u64>().unwrap() > 0, "{what}");
    assert!(answer.field("set-cookie").is_empty(), "{what} deletes a cookie: {answer:#?}");
}

/// All that must hold while the store is of no use.
fn assert_survives(process: &Process, client: &mut Client) {
    assert_unavailable(&process.client().log_in("ada", PASSWORD, true), "a login");
    assert_unavailable(&client.post("/auth/refresh"), "a refresh");
    // In passing: the access cookie is not there.
    let mut later = client.twin();
    later.jar.remove(ACCESS);
    assert_unavailable(&later.get("/a"), "a refresh in passing");
    assert_unavailable(&client.twin().post("/auth/logout"), "a logout");
    // Who has a live access token goes on, and so does whoever needs none.
    assert_eq!(client.get("/a").text(), "the application");
    assert_eq!(client.get("/auth/me").status, 200);
    assert_eq!(process.client().get("/public/a").text(), "the application");
    assert_eq!(process.client().get("/auth/login").status, 200);
    assert_eq!(process.admin("/healthz").status, 200);
}

/// Waits until people can log in again; the session of before has survived.
fn assert_recovers(process: &Process, client: &mut Client) {
    let waited = Stopwatch::start();
    loop {
        let answer = process.client().log_in("ada", PASSWORD, true);
        if answer.status == 200 {
            break;
        }
        assert_unavailable(&answer, "a login");
        assert!(waited.elapsed() < PATIENCE, "it does not recover");
    }
    assert_eq!(client.post("/auth/refresh").status, 200);
    assert_eq!(client.get("/a").status, 200);
}

/// It says so itself once nothing has failed for some seconds.
fn assert_gets_ready(process: &Process) {
    let waited = Stopwatch::start();
    while process.admin("/readyz").status != 200 {
        assert!(waited.elapsed() < PATIENCE, "it does not get ready again");
    }
}

#[test]
fn a_full_disk_stops_only_what_must_write_and_room_heals_it() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    Process::configure(folder.path(), &config(&upstream, ""));
    add_user(folder.path(), "ada");
    let process = Process::start_on_a_small_disk(folder.path());
    let mut client = signed_in(&process);
    // To the program a file that may not grow is a disk without room.
    let room = |bytes: Option<u64>| process.limit(Resource::Fsize, bytes);
    room(Some(1024));
    assert_survives(&process, &mut client);
    assert_eq!(process.admin("/readyz").status, 503);
    room(None);
    assert_recovers(&process, &mut client);
    assert_gets_ready(&process);
}

#[test]
fn a_full_disk_of_the_server_is_told_with_what_to_do_and_room_heals_it() {
    let disk = Disk::of_megabytes(24);
    let cluster = Cluster::start();
    Cluster::own(&disk.path());
    // Its log stays where there is room: without, the server itself stops, which is another test.
    cluster.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display()));
    cluster.sql("ALTER DATABASE postgres SET default_tablespace = small");
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let lines = format!("[store]\nurl = \"{}\"\n", cluster.url());
    Process::configure(folder.path(), &config(&upstream, &lines));
    add_user(folder.path(), "ada");
    let process = Process::start(folder.path());
    let mut client = signed_in(&process);
    disk.fill();
    // Until the last page that a table has is full.
    let refused = (0..200).map(|_| process.client().log_in("ada", PASSWORD, true));
    let refused = refused.into_iter().find(|answer| answer.status != 200).expect("it is not full");
    assert_unavailable(&refused, "a login");
    process.err.wait_for("the server's disk is full; make room");
    let told = process.admin("/readyz");
    assert_eq!(told.status, 503);
    assert!(told.text().contains("degraded: ") && told.text().contains("make room"), "{told:?}");
    // What fits where it stands is done; what does not costs nobody a cookie.
    let answer = client.post("/auth/refresh");
    if answer.status != 200 {
        assert_unavailable(&answer, "a refresh");
    }
    assert_eq!(client.get("/a").text(), "the application");
    assert_eq!(process.client().get("/public/a").text(), "the application");
    disk.free();
    assert_recovers(&process, &mut client);
    assert_gets_ready(&process);
}

#[test]
fn a_database_file_that_is_gone_is_missed_and_found_again() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    Process::configure(folder.path(), &config(&upstream, ""));
    add_user(folder.path(), "ada");
    let process = Process::start(folder.path());
    let mut client = signed_in(&process);
    let (data, away) = (folder.path().join("data"), folder.path().join("away"));
    fs::rename(&data, &away).unwrap();
    assert_survives(&process, &mut client);
    assert_eq!(process.admin("/readyz").status, 503);
    assert!(!data.exists(), "nothing is made in its place");
    fs::rename(&away, &data).unwrap();
    assert_recovers(&process, &mut client);
    assert_eq!(process.admin("/readyz").status, 200);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "only the test run knows where its server is")]
fn a_postgres_that_is_gone_is_missed_and_found_again() {
    let server = std::env::var("SALLYPORT_TEST_POSTGRES")
        .expect("SALLYPORT_TEST_POSTGRES must be the URL of a Postgres server for tests");
    let upstream = application();
    let mut url = url::Url::parse(&server).unwrap();
    let relay = Relay::before((url.host_str().unwrap(), url.port().unwrap_or(5432)));
    url.set_port(Some(relay.address().port())).unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    // A database of its own: a schema would have to be made by hand.
    let name = format!("gone_{}", std::process::id());
    make_database(&server, &name);
    url.set_path(&name);
    let folder = tempfile::tempdir().unwrap();
    let lines = format!("[store]\nurl = \"{url}\"\n");
    Process::configure(folder.path(), &config(&upstream, &lines));
    add_user(folder.path(), "ada");
    let process = Process::start(folder.path());
    let mut client = signed_in(&process);
    relay.open(false);
    assert_survives(&process, &mut client);
    assert_eq!(process.admin("/readyz").status, 503);
    relay.open(true);
    assert_recovers(&process, &mut client);
    assert_gets_ready(&process);
}

#[test]
fn a_server_that_is_gone_is_looked_for_by_one_and_is_not_run_over_when_it_is_back() {
    let cluster = Cluster::start();
    let relay = Relay::before(("127.0.0.1", cluster.port()));
    let url = cluster.url().replace(&cluster.host(), &relay.address().to_string());
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    let lines = format!("[store]\nurl = \"{url}\"\nconnections = 4\npatience = \"1s\"\n");
    Process::configure(folder.path(), &config(&upstream, &lines));
    add_user(folder.path(), "ada");
    let process = Process::start(folder.path());
    // Each with a session of its own: refreshes of one would share an act.
    let mut clients: Vec<Client> = (0..20).map(|_| signed_in(&process)).collect();
    relay.open(false);
    relay.came();
    let mut everybody = |times: usize| {
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(move || {
                    for _ in 0..times {
                        let status = client.post("/auth/refresh").status;
                        assert!(status == 200 || status == 503, "{status}");
                    }
                });
            }
        });
    };
    everybody(25);
    let came = relay.came();
    assert!(came < 50, "{came} connections for 500 refreshes");
    relay.open(true);
    assert_gets_ready(&process);
    everybody(5);
    // Four for acts, one that looked for it and two that listen; and what came before it was let in.
    let came = relay.came();
    assert!((1..=4 + 1 + 2 + 4).contains(&came), "{came} connections when it was back");
    for mut client in clients {
        let answer = client.post("/auth/refresh");
        assert_eq!(answer.status, 200, "{answer:#?}");
    }
}

fn make_database(server: &str, name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use sqlx::Connection as _;
        let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut connection).await.unwrap();
    });
}
