//! Several gateways on one Postgres, each a process of its own: what one does, all know.

use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use sallyport::clock::{Clock, Stopwatch};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    ACCESS, Client, Cluster, Connection, Gate, HOST, PASSWORD, PATIENCE, Process, REFRESH, ROUTES,
    Upstream, add_user, response, sallyport,
};
use crate::{captcha, kept};

/// Gateways before one application and on one server.
pub(crate) struct Site {
    /// Answers as long as it is here.
    _upstream: Upstream,
    folders: Vec<TempDir>,
    pub(crate) replicas: Vec<Process>,
}

impl Site {
    /// So many gateways at `url`, with `lines` of config, and an account.
    pub(crate) fn at(url: &str, replicas: usize, lines: &str) -> Self {
        Self::by(&vec![url; replicas], lines)
    }

    /// One gateway by each of these ways to the store, with `lines` of config, and an account.
    pub(crate) fn by(urls: &[&str], lines: &str) -> Self {
        let upstream = Upstream::play(application);
        let folders: Vec<TempDir> = urls.iter().map(|_| tempfile::tempdir().unwrap()).collect();
        let app = upstream.url();
        for (folder, url) in folders.iter().zip(urls) {
            Process::configure(
                folder.path(),
                &format!(
                    "[store]\nurl = \"{url}\"\n{lines}\n\
                     [[upstream]]\nname = \"app\"\nservers = [\"{app}\"]\n{ROUTES}"
                ),
            );
        }
        add_user(folders[0].path(), "ada");
        // All at once: each finds its schema and its keys made once.
        let replicas = thread::scope(|scope| {
            let starting: Vec<_> = folders
                .iter()
                .map(|folder| scope.spawn(|| Process::start(folder.path())))
                .collect();
            starting.into_iter().map(|one| one.join().unwrap()).collect()
        });
        Self { _upstream: upstream, folders, replicas }
    }

    /// A browser in which the account has logged in, at the replica of this number.
    pub(crate) fn signed_in(&self, replica: usize) -> Client {
        let mut client = self.replicas[replica].client();
        let answer = client.log_in("ada", PASSWORD, true);
        assert_eq!(answer.status, 200, "{answer:#?}");
        client
    }

    /// The same browser at another replica.
    pub(crate) fn moved(&self, client: &Client, replica: usize) -> Client {
        let mut there = self.replicas[replica].client();
        there.jar = client.jar.clone();
        there
    }

    /// Runs a command to its end with a replica's config, and without a fault.
    pub(crate) fn run(&self, replica: usize, arguments: &[&str]) {
        let output = sallyport(self.folders[replica].path(), arguments, "");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// Kills a replica and starts it again.
    pub(crate) fn restart(&mut self, replica: usize) {
        let again = Process::start(self.folders[replica].path());
        std::mem::replace(&mut self.replicas[replica], again).kill();
    }

    /// Waits until every replica refuses, with this code, and says how long that took at most.
    pub(crate) fn refused_everywhere(&self, client: &Client, code: &str) -> Duration {
        let waited = Stopwatch::start();
        for replica in 0..self.replicas.len() {
            let mut there = self.moved(client, replica);
            loop {
                let answer = there.get("/a");
                if answer.status != 200 {
                    assert_eq!(answer.verdict(), (401, code.to_owned()), "replica {replica}");
                    break;
                }
                assert!(waited.elapsed() < PATIENCE, "replica {replica} does not refuse");
            }
        }
        waited.elapsed()
    }
}

/// Sends one event and no more at `/events`; answers everything else.
fn application(connection: &mut Connection) -> io::Result<()> {
    while let Some(request) = connection.request()? {
        if !request.line().contains(" /events ") {
            connection.send(&response("200 OK", &[], "the application"))?;
            continue;
        }
        connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
              Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        )?;
        connection.rest()?;
    }
    Ok(())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_login_at_one_replica_is_good_at_all_and_its_end_at_one_is_its_end_at_all() {
    let cluster = Cluster::start();
    let site = Site::at(&cluster.url(), 3, "");
    let mut ends = Vec::new();
    for round in 0..6 {
        let mut client = site.signed_in(round % 3);
        for replica in 0..3 {
            assert_eq!(site.moved(&client, replica).get("/a").status, 200, "replica {replica}");
        }
        // A stream that another replica holds open is a use of the session like any other.
        let elsewhere = site.moved(&client, (round + 1) % 3);
        let cookie = elsewhere.jar.get(ACCESS).unwrap();
        let mut wire = elsewhere.wire();
        wire.send(format!(
            "GET /events HTTP/1.1\r\nHost: {HOST}\r\nCookie: {ACCESS}={cookie}\r\n\r\n"
        ))
        .unwrap();
        assert_eq!(wire.head().unwrap().unwrap().status, 200);
        wire.bytes(14).unwrap();

        let copy = client.twin();
        assert_eq!(client.post("/auth/logout").status, 200);
        let ended = Stopwatch::start();
        site.refused_everywhere(&copy, "token_revoked");
        ends.push(ended.elapsed());
        assert_eq!(wire.bytes(5).unwrap(), b"0\r\n\r\n", "the stream ends");
        assert!(ended.elapsed() < PATIENCE);
        let mut without = site.moved(&copy, (round + 2) % 3);
        without.jar.remove(ACCESS);
        assert_eq!(without.get("/a").verdict(), (401, "session_revoked".to_owned()));
    }
    // The median: a machine that stands still for a moment is not our delay.
    ends.sort_unstable();
    assert!(ends[ends.len() / 2] < SECOND, "{ends:?}");
}

#[test]
fn hundreds_of_refreshes_at_once_over_three_replicas_are_one_step_with_one_answer() {
    const AT_ONCE: usize = 210;
    let cluster = Cluster::start();
    let site = Site::at(&cluster.url(), 3, "");
    let client = site.signed_in(0);
    let start = Barrier::new(AT_ONCE);
    let answers: Vec<(u16, Option<String>)> = thread::scope(|scope| {
        let racing: Vec<_> = (0..AT_ONCE)
            .map(|number| {
                let mut racer = site.moved(&client, number % 3);
                let start = &start;
                scope.spawn(move || {
                    // Connected before the race, so that all arrive together.
                    assert_eq!(racer.get("/public/a").status, 200);
                    start.wait();
                    let status = racer.post("/auth/refresh").status;
                    (status, racer.jar.get(REFRESH).map(str::to_owned))
                })
            })
            .collect();
        racing.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert!(answers.iter().all(|(_, token)| token == &answers[0].1), "all answers are equal");
    assert_ne!(answers[0].1.as_deref(), client.jar.get(REFRESH));
    let generations =
        cluster.sql("SELECT min(generation), max(generation), count(*) FROM sessions");
    let steps: Vec<&str> = generations.split('|').collect();
    assert_eq!(steps[0], steps[1]);
    let before = cluster.sql("SELECT max(seen_generation) FROM sessions");
    assert_eq!((steps[2], before.parse::<u64>().unwrap() + 1), ("1", steps[0].parse().unwrap()));
}

#[test]
fn a_theft_is_found_out_though_thief_and_owner_are_at_different_replicas() {
    let cluster = Cluster::start();
    let site =
        Site::at(&cluster.url(), 3, "[session]\naccess_ttl = \"2s\"\nreuse_grace = \"0s\"\n");
    let thief = site.signed_in(0);
    let mut owner = site.moved(&thief, 0);
    for replica in 0..3 {
        owner = site.moved(&owner, replica);
        let answer = owner.post("/auth/refresh");
        assert_eq!(answer.status, 200, "{answer:#?}");
        // Seen by another replica than the one that gave it out.
        owner = site.moved(&owner, (replica + 1) % 3);
        assert_eq!(owner.get("/a").status, 200);
    }
    let mut thief = site.moved(&thief, 2);
    let found = thief.post("/auth/refresh").verdict();
    assert_eq!(found, (401, "session_revoked".to_owned()));
    let since = Stopwatch::start();
    for replica in 0..3 {
        let mut there = site.moved(&owner, replica);
        assert_eq!(there.post("/auth/refresh").verdict().1, "session_revoked", "{replica}");
    }
    assert!(since.elapsed() < PATIENCE);
    let ended = cluster.sql("SELECT end_reason FROM sessions");
    assert_eq!(ended, "theft");
}

#[test]
fn what_is_revoked_while_a_replica_is_down_it_knows_before_it_serves() {
    let cluster = Cluster::start();
    let mut site = Site::at(&cluster.url(), 2, "");
    let client = site.signed_in(1);
    let mut ended = site.moved(&client, 0);
    site.replicas[1].terminate();
    assert_eq!(ended.post("/auth/logout").status, 200);
    site.restart(1);
    assert_eq!(site.replicas[1].admin("/readyz").status, 200);
    let verdict = site.moved(&client, 1).get("/a").verdict();
    assert_eq!(verdict, (401, "token_revoked".to_owned()));
}

#[test]
fn a_captchas_token_is_good_once_over_all_replicas_though_the_service_would_take_it_again() {
    let (cluster, service) = (Cluster::start(), captcha::service());
    let url = service.url();
    let lines = format!(
        "[captcha]\nurl = \"{url}/siteverify\"\nsecret = \"the-secret\"\nsite_key = \"k\"\n\
         [attempts]\nper_account_and_network = {{ count = 100, per = \"15m\" }}\n"
    );
    let site = Site::at(&cluster.url(), 3, &lines);
    for round in 0..4 {
        let token = format!("good {round}");
        let body = json!({
            "username": "ada", "password": PASSWORD, "cf-turnstile-response": token,
        });
        let start = Barrier::new(6);
        let mut won: Vec<(u16, String)> = thread::scope(|scope| {
            let tries: Vec<_> = (0..6)
                .map(|number| {
                    let mut client = site.replicas[number % 3].client();
                    let (body, start) = (&body, &start);
                    scope.spawn(move || {
                        start.wait();
                        let answer = client.ask("POST", "/auth/login").json(body).send();
                        (
                            answer.status,
                            if answer.status == 200 { String::new() } else { answer.code() },
                        )
                    })
                })
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        won.sort_unstable();
        assert_eq!(won.remove(0).0, 200, "round {round}");
        assert!(won.iter().all(|(_, code)| code == "captcha_failed"), "round {round}: {won:?}");
    }
}

#[test]
fn a_form_that_was_kept_at_one_replica_is_given_back_once_over_all() {
    let cluster = Cluster::start();
    let site = Site::at(&cluster.url(), 3, "");
    for round in 0..4 {
        let mut ada = site.signed_in(0);
        let copy = ada.twin();
        assert_eq!(site.signed_in(1).post("/auth/sessions/end-others").status, 200);
        site.refused_everywhere(&copy, "token_revoked");
        let page = kept::send(&mut ada, "/save", "same-origin", &[("text", "private")]);
        let kept = kept::kept_in(&page);
        // The same page in many tabs, each answered by another replica.
        let start = Barrier::new(6);
        let mut given: Vec<u16> = thread::scope(|scope| {
            let tabs: Vec<_> = (0..6)
                .map(|number| {
                    let (mut tab, kept, start) = (site.moved(&ada, number % 3), &kept, &start);
                    scope.spawn(move || {
                        start.wait();
                        let answer = kept::log_in(&mut tab, "ada", kept);
                        assert_eq!(answer.status == 200, answer.text().contains("private"));
                        answer.status
                    })
                })
                .collect();
            tabs.into_iter().map(|tab| tab.join().unwrap()).collect()
        });
        given.sort_unstable();
        assert_eq!(given, [200, 303, 303, 303, 303, 303], "round {round}");
    }
}

/// A gateway within this process whose clock is this far from the server's.
fn gate_with_a_clock_off_by(url: &str, millis: i64) -> (Upstream, Gate) {
    let upstream = Upstream::answering(|_| response("200 OK", &[], "the application"));
    let app = upstream.url();
    let text = format!(
        "[store]\nurl = \"{url}\"\n[[upstream]]\nname = \"app\"\nservers = [\"{app}\"]\n{ROUTES}"
    );
    let gate = Gate::start_at(&text, Clock::system_off_by(millis));
    (upstream, gate)
}

#[test]
fn a_replica_whose_clock_is_wrong_by_more_than_two_seconds_is_not_ready() {
    let cluster = Cluster::start();
    for (millis, ready) in [(-1_500, true), (1_500, true), (-5_000, false), (5_000, false)] {
        let (_upstream, gate) = gate_with_a_clock_off_by(&cluster.url(), millis);
        let answer = gate.admin("/readyz");
        assert_eq!(answer.status == 200, ready, "{millis}: {}", answer.text());
        if !ready {
            let word = if millis > 0 { "ahead of" } else { "behind" };
            assert!(answer.text().contains(word), "{}", answer.text());
        }
    }
}

#[test]
fn clocks_a_little_apart_change_nothing_for_those_who_go_from_one_to_another() {
    let cluster = Cluster::start();
    let gates = [-1_500, 0, 1_500].map(|millis| gate_with_a_clock_off_by(&cluster.url(), millis));
    gates[0].1.add_user("ada", &[], &[]);
    for (_, from) in &gates {
        let mut client = from.signed_in("ada");
        for _ in 0..2 {
            for (_, to) in &gates {
                let mut there = to.client();
                there.jar = client.jar.clone();
                assert_eq!(there.get("/a").status, 200);
                let answer = there.post("/auth/refresh");
                assert_eq!(answer.status, 200, "{answer:#?}");
                assert_eq!(there.get("/a").status, 200);
                client.jar = there.jar.clone();
            }
        }
    }
}

#[test]
fn what_one_clock_cuts_off_is_cut_off_by_all_and_what_is_issued_then_is_good_at_once() {
    let cluster = Cluster::start();
    let gates = [-1_500, 1_500].map(|millis| gate_with_a_clock_off_by(&cluster.url(), millis));
    // The command line goes by another clock than either.
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[store]\nurl = \"{}\"\n[[upstream]]\nname = \"app\"\n\
         servers = [\"http://127.0.0.1:1\"]\n{ROUTES}",
        cluster.url()
    );
    Process::configure(folder.path(), &text);
    gates[0].1.add_user("ada", &["editor"], &[]);
    for (_, gate) in &gates {
        let mut client = gate.signed_in("ada");
        let everywhere = |client: &Client| {
            gates.each_ref().map(|(_, to)| {
                let mut there = to.client();
                there.jar = client.jar.clone();
                there.jar.remove(REFRESH);
                there.get("/a").status
            })
        };
        assert_eq!(everywhere(&client), [200, 200]);
        let output = sallyport(folder.path(), &["user", "revoke", "ada", "--role", "editor"], "");
        assert!(output.status.success(), "{output:?}");
        let waited = Stopwatch::start();
        while everywhere(&client) != [401, 401] {
            let late = waited.elapsed() > Duration::from_secs(1);
            assert!(!late, "who had a role keeps it: {:?}", everywhere(&client));
        }
        let waited = Stopwatch::start();
        loop {
            assert_eq!(client.post("/auth/refresh").status, 200);
            if everywhere(&client) == [200, 200] {
                break;
            }
            assert!(waited.elapsed() < Duration::from_millis(500), "what is new is refused");
        }
        let output = sallyport(folder.path(), &["user", "grant", "ada", "--role", "editor"], "");
        assert!(output.status.success(), "{output:?}");
    }
}
