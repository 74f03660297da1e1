//! A right that is taken while its owner logs in and refreshes without pause: whatever is given out
//! meanwhile, it is of no use a second after, and what is given out from then on never had it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sallyport::clock::Stopwatch;

use crate::harness::{
    ACCESS, Cluster, PASSWORD, Process, ROUTES, Upstream, add_user, response, sallyport,
};

/// An access token, and whether it was asked for after the right had been taken.
struct Given {
    token: String,
    late: bool,
}

fn run(folder: &Path, arguments: &[&str]) {
    let output = sallyport(folder, arguments, "");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// All access tokens that `name` is given, by logins or by refreshes, until the right is taken and once
/// more, or until there are none to be had.
fn given(gateway: &Process, name: &str, by_login: bool, taken: &AtomicBool) -> Vec<Given> {
    let mut given = Vec::new();
    let mut client = gateway.client();
    if !by_login && client.log_in(name, PASSWORD, true).status != 200 {
        return given;
    }
    loop {
        let late = taken.load(Ordering::SeqCst);
        let answer = match by_login {
            true => client.log_in(name, PASSWORD, true),
            false => client.post("/auth/refresh"),
        };
        if answer.status == 401 {
            return given;
        }
        assert_eq!(answer.status, 200, "{answer:#?}");
        given.push(Given { token: client.jar.get(ACCESS).unwrap().to_owned(), late });
        if late {
            return given;
        }
    }
}

/// Has `name`'s session refreshed in passing, again and again, while its rights are changed: that leads
/// nobody to the login. How often.
fn refreshed_in_passing(gateway: &Process, name: &str, over: &AtomicBool) -> usize {
    let mut client = gateway.client();
    assert_eq!(client.log_in(name, PASSWORD, true).status, 200);
    let mut times = 0;
    while !over.load(Ordering::SeqCst) {
        client.jar.remove(ACCESS);
        let answer = client.get("/a");
        assert_eq!(answer.status, 200, "{answer:#?}");
        times += 1;
    }
    times
}

/// Takes the role of `name`, or all, by `command` in the midst of logins and refreshes at all `gateways`.
fn storm(folder: &Path, gateways: &[Process], name: &str, command: &[&str]) {
    add_user(folder, name);
    run(folder, &["user", "grant", name, "--role", "editor"]);
    let mut client = gateways[0].client();
    assert_eq!(client.log_in(name, PASSWORD, true).status, 200);
    let taken = AtomicBool::new(false);
    let given: Vec<Given> = thread::scope(|scope| {
        let kinds = gateways.iter().flat_map(|gateway| [(gateway, true), (gateway, false)]);
        let getting: Vec<_> = kinds
            .map(|(gateway, by_login)| {
                let taken = &taken;
                scope.spawn(move || given(gateway, name, by_login, taken))
            })
            .collect();
        // Only when the storm has begun.
        assert_eq!(client.post("/auth/refresh").status, 200);
        assert_eq!(client.get("/editor/a").status, 200);
        run(folder, command);
        taken.store(true, Ordering::SeqCst);
        getting.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    let mut clients: Vec<_> = gateways.iter().map(Process::client).collect();
    let mut honoured = |token: &str| {
        let mut each = clients.iter_mut();
        each.any(|client| client.ask("GET", "/editor/a").bearer(token).send().status == 200)
    };
    for one in given.iter().filter(|one| one.late) {
        assert!(!honoured(&one.token), "{command:?}: it was given out after the right was taken");
    }
    // The last are those that were given out in the meantime.
    let waited = Stopwatch::start();
    for one in given.iter().rev().take(100) {
        while honoured(&one.token) {
            assert!(waited.elapsed() < Duration::from_secs(1), "{command:?}: it lives on");
        }
    }
}

/// Each way to take a right, some times: whether something falls into the gap is chance.
fn storms(folder: &Path, gateways: &[Process]) {
    for round in 0..3 {
        for command in ["revoke", "disable", "remove"] {
            let name = format!("ada-{command}-{round}");
            let mut line = vec!["user", command, &name];
            if command == "revoke" {
                line.extend(["--role", "editor"]);
            }
            storm(folder, gateways, &name, &line);
        }
    }
}

fn application() -> Upstream {
    Upstream::answering(|_| response("200 OK", &[], "the application"))
}

/// Many who log in at once are no guessers here.
const ATTEMPTS: &str = "[attempts]\n\
     per_account_and_network = { count = 100000, per = \"15m\" }\n\
     per_network = { count = 100000, per = \"15m\" }\n\
     per_account = { count = 100000, per = \"15m\" }\n";

fn before(upstream: &Upstream, lines: &str) -> String {
    format!(
        "{lines}{ATTEMPTS}[[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n{ROUTES}",
        upstream.url()
    )
}

#[test]
fn nobody_is_led_to_the_login_because_a_right_is_given_or_taken_at_that_moment() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    Process::configure(folder.path(), &before(&upstream, ""));
    add_user(folder.path(), "ada");
    let gateway = Process::start(folder.path());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let browsers = [(); 4].map(|()| {
            let (gateway, over) = (&gateway, &over);
            scope.spawn(move || refreshed_in_passing(gateway, "ada", over))
        });
        for command in ["grant", "revoke"].repeat(8) {
            run(folder.path(), &["user", command, "ada", "--role", "editor"]);
        }
        over.store(true, Ordering::SeqCst);
        for browser in browsers {
            assert!(browser.join().unwrap() > 0);
        }
    });
}

#[test]
fn what_is_given_out_while_a_right_is_taken_is_of_no_use_a_second_after() {
    let upstream = application();
    let folder = tempfile::tempdir().unwrap();
    Process::configure(folder.path(), &before(&upstream, ""));
    let gateway = Process::start(folder.path());
    storms(folder.path(), &[gateway]);
}

#[test]
fn what_replicas_give_out_while_a_right_is_taken_is_of_no_use_a_second_after() {
    let (upstream, cluster) = (application(), Cluster::start());
    let store = format!("[store]\nurl = \"{}\"\n", cluster.url());
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let gateways = folders.each_ref().map(|folder| {
        Process::configure(folder.path(), &before(&upstream, &store));
        Process::start(folder.path())
    });
    storms(folders[0].path(), &gateways);
}
