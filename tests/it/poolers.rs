//! What stands between the gateways and their Postgres: a pooler, or an engine that says nothing of its
//! own accord.

use std::thread;
use std::time::Duration;

use sallyport::clock::Stopwatch;

use crate::bad_store::assert_refused;
use crate::harness::{Cluster, Pooler, Relay};
use crate::replicas::Site;

/// How long it takes until the end of a session is known at every replica: the median of a few, since
/// a machine that stands still for a moment is not our delay.
fn time_to_end(site: &Site) -> Duration {
    let mut ends: Vec<Duration> = (0..5)
        .map(|round| {
            let mut client = site.signed_in(round % site.replicas.len());
            let copy = client.twin();
            assert_eq!(client.post("/auth/logout").status, 200);
            let ended = Stopwatch::start();
            site.refused_everywhere(&copy, "token_revoked");
            ended.elapsed()
        })
        .collect();
    ends.sort_unstable();
    ends[ends.len() / 2]
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_pooler_that_lends_connections_for_one_transaction_does_no_harm() {
    let cluster = Cluster::start();
    let pooler = Pooler::before(&cluster, 2);
    // All of them come from one network.
    let many = "[attempts]\nper_account_and_network = { count = 100, per = \"15m\" }\n";
    let lines = format!("direct_url = \"{}\"\n{many}", cluster.url());
    let site = Site::at(&pooler.url(), 2, &lines);
    // Many at once, so that each connection of the server is lent to everybody in turn.
    thread::scope(|scope| {
        for number in 0..8 {
            let site = &site;
            scope.spawn(move || {
                let mut client = site.signed_in(number % 2);
                for turn in 0..10 {
                    client = site.moved(&client, turn % 2);
                    let answer = client.post("/auth/refresh");
                    assert_eq!(answer.status, 200, "{answer:#?}");
                    assert_eq!(client.get("/auth/sessions").status, 200);
                    assert_eq!(client.get("/a").status, 200);
                }
            });
        }
    });
    let lent = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                AND pid <> pg_backend_pid() AND query NOT LIKE '%LISTEN%' AND query <> 'SELECT 1'";
    assert!(cluster.sql(lent).parse::<u32>().unwrap() <= 2, "it is not the pooler that was used");
    let took = time_to_end(&site);
    assert!(took < SECOND, "{took:?}");
    // Several statements in one act.
    let mut client = site.signed_in(0);
    let left = site.signed_in(1);
    assert_eq!(client.post("/auth/sessions/end-others").status, 200);
    site.refused_everywhere(&left, "token_revoked");
    assert_eq!(site.moved(&client, 1).get("/a").status, 200);
}

#[test]
fn a_pooler_without_a_way_past_it_is_told_with_what_to_do() {
    let cluster = Cluster::start();
    let pooler = Pooler::before(&cluster, 2);
    assert_refused(&pooler.url(), &["connection pooler", "store.direct_url"]);
    // One that was told to pass over what it cannot keep.
    let lines = "ignore_startup_parameters = extra_float_digits, options";
    let silent = Pooler::with(&cluster, 2, lines);
    assert_refused(&silent.url(), &["connection pooler", "drops the settings", "store.direct_url"]);
}

#[test]
fn an_end_is_known_everywhere_within_a_second_though_the_server_notifies_nobody() {
    let cluster = Cluster::start();
    let relay = Relay::before(("127.0.0.1", cluster.port()));
    relay.mute();
    let mute = cluster.url().replace(&cluster.host(), &relay.address().to_string());
    // The acts go straight there; only who listens meets an engine that knows no NOTIFY.
    let site = Site::at(&cluster.url(), 3, &format!("direct_url = \"{mute}\"\n"));
    let took = time_to_end(&site);
    assert!(took < SECOND, "mute: {took:?}");
    // And now nobody can listen at all.
    relay.open(false);
    site.replicas[0].err.wait_for("the store does not notify");
    let took = time_to_end(&site);
    assert!(took < SECOND, "cut: {took:?}");
    assert_eq!(site.replicas[1].admin("/readyz").status, 200);
}
