//! A Postgres that stops, is killed, or gives way to its standby, in the midst of a load on three
//! gateways: nothing that was acknowledged is lost, and nobody is logged out for it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sallyport::clock::Stopwatch;
use serde_json::json;

use crate::harness::{
    ACCESS, Answer, Client, Cluster, ORIGIN, PASSWORD, PATIENCE, REFRESH, Relay, kills,
};
use crate::replicas::Site;

/// Nobody guesses here, and an outage must not look as if somebody did.
const LINES: &str = "[session]\naccess_ttl = \"10m\"\nreuse_grace = \"30s\"\n\
    [attempts]\nper_account_and_network = { count = 100000, per = \"15m\" }\n\
    per_network = { count = 100000, per = \"15m\" }\n\
    per_account = { count = 100000, per = \"15m\" }\n";

/// A server may take a while to come back, and the machine may be busy.
const RECOVERY: Duration = Duration::from_secs(60);

/// What was acknowledged of one session.
struct Promise {
    client: Client,
    /// `None`: a logout was under way whose answer never came.
    ended: Option<bool>,
}

/// What a load has seen.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    acts: AtomicUsize,
    refusals: AtomicUsize,
    promises: Mutex<Vec<Promise>>,
}

impl Load {
    /// Whether it was done. The only other answer is to come again, with the same cookies.
    fn is_done(&self, answer: &Answer) -> bool {
        if answer.status == 503 {
            assert!(answer.one("retry-after").parse::<u64>().unwrap() > 0);
            assert!(answer.field("set-cookie").is_empty(), "a cookie is touched: {answer:#?}");
            self.refusals.fetch_add(1, Ordering::SeqCst);
            return false;
        }
        assert_eq!(answer.status, 200, "{answer:#?}");
        self.acts.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Logs in, rotates and logs out until it is told to stop.
    fn act(&self, site: &Site, number: usize) {
        let mut turn = number;
        while !self.stop.load(Ordering::SeqCst) {
            turn += 1;
            let mut client = site.replicas[turn % site.replicas.len()].client();
            if !self.is_done(&client.log_in("ada", PASSWORD, true)) {
                continue;
            }
            for _ in 0..2 {
                turn += 1;
                client = site.moved(&client, turn % site.replicas.len());
                self.is_done(&client.post("/auth/refresh"));
            }
            let copy = client.twin();
            let ended = turn.is_multiple_of(2).then(|| self.is_done(&client.post("/auth/logout")));
            let ended = match ended {
                None => Some(false),
                Some(true) => Some(true),
                Some(false) => None,
            };
            self.promises.lock().unwrap().push(Promise { client: copy, ended });
        }
    }

    /// Asks for a page again and again, at every replica, with one live token.
    fn browse(&self, site: &Site, client: &Client) -> usize {
        let mut browsers: Vec<Client> =
            (0..site.replicas.len()).map(|replica| site.moved(client, replica)).collect();
        let mut asked = 0;
        while !self.stop.load(Ordering::SeqCst) {
            for browser in &mut browsers {
                let answer = browser.get("/a");
                assert_eq!(answer.status, 200, "a live token must do: {answer:#?}");
                asked += 1;
            }
        }
        asked
    }

    fn wait_for(&self, count: &AtomicUsize, more: usize, what: &str) {
        let (from, waited) = (count.load(Ordering::SeqCst), Stopwatch::start());
        while count.load(Ordering::SeqCst) < from + more {
            assert!(waited.elapsed() < RECOVERY, "{what}");
            thread::yield_now();
        }
    }

    /// Runs `trouble` in the midst of a load, and returns what was promised.
    fn during(site: &Site, trouble: impl FnOnce(&Self)) -> Vec<Promise> {
        let load = Self::default();
        let signed_in = site.signed_in(0);
        let asked: usize = thread::scope(|scope| {
            let (load, signed_in) = (&load, &signed_in);
            // However it goes, the others have to end.
            struct Stop<'a>(&'a Load);
            impl Drop for Stop<'_> {
                fn drop(&mut self) {
                    self.0.stop.store(true, Ordering::SeqCst);
                }
            }
            let stop = Stop(load);
            for number in 0..4 {
                scope.spawn(move || {
                    let stop = Stop(load);
                    load.act(site, number);
                    drop(stop);
                });
            }
            let browsing = scope.spawn(move || load.browse(site, signed_in));
            load.wait_for(&load.acts, 10, "the load does not begin");
            trouble(load);
            load.wait_for(&load.acts, 20, "it does not recover");
            drop(stop);
            browsing.join().unwrap()
        });
        assert!(asked > 10, "{asked} requests are too few to prove anything");
        load.promises.into_inner().unwrap()
    }
}

/// Everybody can go on with the cookies that they have; what was ended is ended.
fn assert_kept(site: &Site, promises: Vec<Promise>) {
    assert!(promises.len() > 3, "{} logins are too few to prove anything", promises.len());
    for (number, Promise { client, ended }) in promises.into_iter().enumerate() {
        let mut client = site.moved(&client, number % site.replicas.len());
        match ended {
            Some(false) => {
                assert_eq!(client.get("/a").status, 200);
                let answer = client.post("/auth/refresh");
                assert_eq!(answer.status, 200, "{answer:#?}");
            }
            Some(true) => {
                // The last ones were ended a moment ago, at another replica.
                let waited = Stopwatch::start();
                let verdict = loop {
                    let answer = client.get("/a");
                    if answer.status != 200 || waited.elapsed() > RECOVERY {
                        break answer.verdict();
                    }
                };
                assert_eq!(verdict, (401, "token_revoked".to_owned()));
                client.jar.remove(ACCESS);
                assert_eq!(client.get("/a").verdict(), (401, "session_revoked".to_owned()));
            }
            None => {}
        }
    }
}

/// Waits until every replica says that it is ready.
fn all_ready(site: &Site) {
    let waited = Stopwatch::start();
    for replica in &site.replicas {
        while replica.admin("/readyz").status != 200 {
            assert!(waited.elapsed() < RECOVERY, "it is not ready: {}", replica.err.text());
        }
    }
}

#[test]
fn a_postgres_that_is_stopped_and_killed_under_load_loses_no_act_and_refuses_no_live_token() {
    let cluster = Cluster::start();
    let site = Site::at(&cluster.url(), 3, LINES);
    let promises = Load::during(&site, |load| {
        cluster.stop();
        load.wait_for(&load.refusals, 3, "nobody misses it");
        let ready = site.replicas[0].admin("/readyz");
        assert_eq!(ready.status, 503);
        assert!(ready.text().starts_with("degraded"), "{}", ready.text());
        cluster.run();
        load.wait_for(&load.acts, 10, "it does not recover from a stop");
        cluster.kill();
        load.wait_for(&load.refusals, 1, "nobody misses it");
        cluster.run();
    });
    all_ready(&site);
    assert_kept(&site, promises);
    let doubled = "SELECT count(*) FROM sessions WHERE end_reason = 'theft'";
    assert_eq!(cluster.sql(doubled), "0", "an outage is no theft");
    // Said once when it went and once when it came back, not by every act.
    let told = site.replicas[0].err.text();
    let times = told.matches("the store is back").count();
    assert!((1..=6).contains(&times), "{told}");
}

fn both(primary: &Cluster, standby: &Cluster) -> String {
    format!(
        "postgres://sallyport@{},{}/postgres?sslmode=disable&target_session_attrs=read-write",
        primary.host(),
        standby.host()
    )
}

#[test]
fn a_synchronous_standby_that_is_promoted_under_load_has_all_that_was_acknowledged() {
    let primary = Cluster::start();
    let standby = primary.standby(true);
    let site = Site::at(&both(&primary, &standby), 3, LINES);
    let promises = Load::during(&site, |load| {
        primary.kill();
        load.wait_for(&load.refusals, 1, "nobody misses it");
        standby.promote();
    });
    all_ready(&site);
    assert_kept(&site, promises);
    assert_eq!(standby.sql("SELECT count(*) FROM sessions WHERE end_reason = 'theft'"), "0");
    site.replicas[0].err.wait_for("moved to another host");
}

#[test]
fn an_asynchronous_standby_makes_nobody_a_thief_and_what_was_ended_stays_so() {
    let primary = Cluster::start();
    let standby = primary.standby(false);
    let site = Site::at(&both(&primary, &standby), 2, LINES);
    let (mut busy, mut leaving) = (site.signed_in(0), site.signed_in(1));
    let left = leaving.twin();
    let waited = Stopwatch::start();
    while standby.sql("SELECT count(*) FROM sessions") != "2" {
        assert!(waited.elapsed() < PATIENCE, "the standby does not follow");
    }
    // From here on, what the primary acknowledges is nowhere else.
    standby.stop();
    for replica in [1, 0, 1] {
        busy = site.moved(&busy, replica);
        assert_eq!(busy.post("/auth/refresh").status, 200);
        assert_eq!(busy.get("/a").status, 200);
    }
    let mut late = site.signed_in(0);
    assert_eq!(leaving.post("/auth/logout").status, 200);
    primary.kill();
    standby.run();
    standby.promote();
    all_ready(&site);

    let mut busy = site.moved(&busy, 0);
    let answer = busy.post("/auth/refresh");
    assert_eq!(answer.status, 200, "the row went back, and the token sets it right: {answer:#?}");
    assert_eq!(site.moved(&busy, 1).get("/a").status, 200);
    // A login that the standby never had: good until its access token ends, then to be made again.
    assert_eq!(late.get("/a").status, 200);
    assert_eq!(late.post("/auth/refresh").verdict(), (401, "session_expired".to_owned()));
    // A logout that it never had is given back by those who know of it.
    let waited = Stopwatch::start();
    while standby.sql("SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL") != "1" {
        assert!(waited.elapsed() < PATIENCE, "the logout is forgotten");
    }
    let mut left = site.moved(&left, 0);
    left.jar.remove(ACCESS);
    assert_eq!(left.get("/a").verdict(), (401, "session_revoked".to_owned()));
    assert_eq!(standby.sql("SELECT count(*) FROM sessions WHERE end_reason = 'theft'"), "0");
}

#[test]
fn what_a_key_has_signed_is_good_though_a_promoted_standby_never_had_the_key() {
    let primary = Cluster::start();
    let standby = primary.standby(false);
    let mut site = Site::at(&both(&primary, &standby), 2, LINES);
    let mut client = site.signed_in(0);
    let waited = Stopwatch::start();
    while standby.sql("SELECT count(*) FROM sessions") != "1" {
        assert!(waited.elapsed() < PATIENCE, "the standby does not follow");
    }
    standby.stop();
    site.run(0, &["keys", "rotate"]);
    // The head of a token names its key.
    let key =
        |client: &Client| client.jar.get(ACCESS).unwrap().split('.').next().unwrap().to_owned();
    let first = key(&client);
    let waited = Stopwatch::start();
    while key(&client) == first {
        assert_eq!(client.post("/auth/refresh").status, 200);
        assert!(waited.elapsed() < RECOVERY, "the new key is never used");
    }
    primary.kill();
    standby.run();
    assert_eq!(standby.sql("SELECT count(*) FROM keys"), "1");
    standby.promote();
    all_ready(&site);
    let waited = Stopwatch::start();
    while standby.sql("SELECT count(*) FROM keys") != "2" {
        assert!(waited.elapsed() < RECOVERY, "the key is forgotten");
    }
    // One who was not there has it from the store.
    site.restart(1);
    let mut there = site.moved(&client, 1);
    assert_eq!(there.get("/a").status, 200);
    assert_eq!(there.post("/auth/refresh").status, 200);
    assert_eq!(site.moved(&there, 0).get("/a").status, 200);
}

#[test]
fn a_replica_that_hears_nothing_for_too_long_refuses_what_it_can_no_longer_judge() {
    let cluster = Cluster::start();
    let lines = "revocation_max_age = \"2s\"\n[session]\naccess_ttl = \"1h\"\n";
    let site = Site::at(&cluster.url(), 1, lines);
    let mut client = site.signed_in(0);
    assert_eq!(client.get("/a").status, 200);
    cluster.stop();
    let waited = Stopwatch::start();
    let refused = loop {
        let answer = client.get("/a");
        if answer.status != 200 {
            break answer;
        }
        assert!(waited.elapsed() < RECOVERY, "it goes on for ever");
    };
    // Not the token's fault: it is to be kept.
    assert_eq!(refused.verdict(), (503, "store_unavailable".to_owned()));
    assert!(refused.field("set-cookie").is_empty());
    assert!(client.jar.get(REFRESH).is_some());
    assert!(waited.elapsed() >= Duration::from_secs(1), "it waits for as long as it may");
    let ready = site.replicas[0].admin("/readyz");
    assert!(ready.status == 503 && ready.text().contains("last read"), "{}", ready.text());
    cluster.run();
    all_ready(&site);
    assert_eq!(client.get("/a").status, 200, "who is ready refuses nobody");
}

#[test]
fn a_replica_that_was_cut_off_knows_what_was_ended_meanwhile_before_it_is_ready() {
    let cluster = Cluster::start();
    let relay = Relay::before(("127.0.0.1", cluster.port()));
    let cut = cluster.url().replace(&cluster.host(), &relay.address().to_string());
    let site = Site::by(&[&cut, &cluster.url()], LINES);
    let until = |status: u16| {
        let waited = Stopwatch::start();
        while site.replicas[0].admin("/readyz").status != status {
            assert!(waited.elapsed() < RECOVERY, "/readyz is never {status}");
        }
    };
    for _ in 0..4 {
        let mut leaving = site.signed_in(1);
        let mut left = site.moved(&leaving, 0);
        assert_eq!(left.get("/a").status, 200);
        relay.open(false);
        until(503);
        assert_eq!(leaving.post("/auth/logout").status, 200);
        assert_eq!(left.get("/a").status, 200, "it cannot know");
        relay.open(true);
        until(200);
        assert_eq!(left.get("/a").verdict(), (401, "token_revoked".to_owned()));
    }
}

#[test]
fn whoever_was_in_mid_rotation_when_a_gateway_was_killed_goes_on_with_the_cookies_it_has() {
    let cluster = Cluster::start();
    let mut site = Site::at(&cluster.url(), 2, LINES);
    let mut browsers: Vec<Client> = (0..4).map(|_| site.signed_in(0)).collect();
    for round in 0..kills(12) {
        let done = AtomicUsize::new(0);
        browsers = thread::scope(|scope| {
            let (site, done) = (&site, &done);
            let rotating: Vec<_> = browsers
                .iter()
                .map(|browser| {
                    let mut browser = site.moved(browser, 0);
                    scope.spawn(move || {
                        // Until the gateway is gone: the answer to the last one is lost.
                        while let Ok(answer) =
                            browser.ask("POST", "/auth/refresh").field("Origin", ORIGIN).try_send()
                        {
                            assert_eq!(answer.status, 200, "{answer:#?}");
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        browser
                    })
                })
                .collect();
            let waited = Stopwatch::start();
            while done.load(Ordering::SeqCst) < 1 + round % 7 {
                assert!(waited.elapsed() < RECOVERY, "nobody rotates");
                thread::yield_now();
            }
            site.replicas[0].kill_now();
            rotating.into_iter().map(|one| one.join().unwrap()).collect()
        });
        site.restart(0);
        for browser in &mut browsers {
            // At the one that is up again, and at the other.
            let mut there = site.moved(browser, round % 2);
            let answer = there.post("/auth/refresh");
            assert_eq!(answer.status, 200, "round {round}: {answer:#?}");
            *browser = there;
        }
    }
    assert_eq!(cluster.sql("SELECT count(*) FROM sessions WHERE end_reason IS NOT NULL"), "0");
}

#[test]
fn three_replicas_together_allow_no_more_guesses_than_one() {
    let cluster = Cluster::start();
    let lines = "[attempts]\nper_account_and_network = { count = 5, per = \"15m\" }\n";
    let site = Site::at(&cluster.url(), 3, lines);
    let body = json!({ "username": "ada", "password": "not the password", "remember": false });
    let refused: usize = thread::scope(|scope| {
        let guessing: Vec<_> = (0..30)
            .map(|number| {
                let mut client = site.replicas[number % 3].client();
                let body = &body;
                scope.spawn(move || {
                    let answer = client.ask("POST", "/auth/login").json(body).send();
                    match answer.status {
                        401 => 1,
                        429 => {
                            assert!(answer.one("retry-after").parse::<u64>().unwrap() > 0);
                            0
                        }
                        _ => panic!("{answer:#?}"),
                    }
                })
            })
            .collect();
        guessing.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(refused, 5, "as many guesses were heard as one gateway hears");
}
