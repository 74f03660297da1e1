//! How soon the end of a session is known at the other replicas, while all of them are busy. By hand, for
//! the figures in `docs/SCALING.md`:
//!
//! ```sh
//! SALLYPORT_TEST_CASES=500 tests/run --cargo-profile bench --no-capture hearing
//! ```

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sallyport::clock::Stopwatch;

use crate::harness::{Client, Cluster, thoroughness};
use crate::replicas::Site;

/// All come from one network.
const LINES: &str = "[attempts]\nper_account_and_network = { count = 100000, per = \"15m\" }\n\
    per_network = { count = 100000, per = \"15m\" }\nper_account = { count = 100000, per = \"15m\" }\n";

/// Asks for pages with a live token, and refreshes now and then, until it is told to stop.
fn browse(site: &Site, mut client: Client, stop: &AtomicBool, done: &AtomicUsize) {
    for turn in 1.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let answer = client.get("/a");
        assert_eq!(answer.status, 200, "{answer:#?}");
        if turn % 8 == 0 {
            // The next replica's turn: a connection of its own.
            client = site.moved(&client, turn / 8 % site.replicas.len());
            assert_eq!(client.post("/auth/refresh").status, 200);
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
}

/// The time from the answer to a logout until another replica refuses the token.
fn time_to_refusal(site: &Site, round: usize) -> Duration {
    let mut client = site.signed_in(round % 3);
    // Connected before, so that no handshake is counted.
    let mut there = site.moved(&client, (round + 1) % 3);
    assert_eq!(there.get("/a").status, 200);
    assert_eq!(client.post("/auth/logout").status, 200);
    let ended = Stopwatch::start();
    while there.get("/a").status == 200 {
        assert!(ended.elapsed() < crate::harness::PATIENCE, "it is never known");
    }
    ended.elapsed()
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what it is run for by hand")]
fn under_load_the_end_of_a_session_is_known_at_another_replica_within_a_second() {
    let cluster = Cluster::start();
    let site = Site::at(&cluster.url(), 3, LINES);
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ends = thoroughness(40);
    let (mut took, elapsed) = thread::scope(|scope| {
        for number in 0..6 {
            let (site, stop, done) = (&site, &stop, &done);
            let client = site.signed_in(number % 3);
            scope.spawn(move || browse(site, client, stop, done));
        }
        let since = Stopwatch::start();
        let took: Vec<Duration> = (0..ends).map(|round| time_to_refusal(&site, round)).collect();
        stop.store(true, Ordering::SeqCst);
        (took, since.elapsed())
    });
    took.sort_unstable();
    let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)];
    println!(
        "{ends} ends among {:.0} requests a second: p50 {:?}, p99 {:?}, at most {:?}",
        f64::from(u32::try_from(done.into_inner()).unwrap()) / elapsed.as_secs_f64(),
        at(50),
        at(99),
        took[took.len() - 1]
    );
    // The last tenth may be the machine's, which runs other tests beside.
    assert!(at(90) < Duration::from_secs(1), "{took:?}");
}
