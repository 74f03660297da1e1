//! Applications that break the protocol: each gives a 502 or a stream that is cut, never another
//! client's answer and never a wait without end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::harness::{Gate, HOST, PATIENCE, Upstream, response};

/// A gateway with one core before `upstream`, so that connections are used again if they may be.
fn gate(upstream: &Upstream) -> Gate {
    Gate::start(&format!(
        "[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\ncores = 1\n\
         drain_timeout = \"0s\"\npublic_url = \"https://localhost:8443\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{}\"]\n\
         first_byte_timeout = \"2s\"\nidle_timeout = \"2s\"\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\n",
        upstream.url()
    ))
}

#[test]
fn what_comes_behind_an_answer_is_never_the_answer_to_somebody_else() {
    let stolen = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";
    for first in [
        // Two answers at once, with every kind of end of the first.
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
    ] {
        let upstream = Upstream::play(move |connection| {
            while let Some(request) = connection.request()? {
                if request.line().contains("/first") {
                    connection.send(format!("{first}{stolen}").as_bytes())?;
                } else {
                    connection.send(&response("200 OK", &[], "proper"))?;
                }
            }
            Ok(())
        });
        let gate = gate(&upstream);
        for _ in 0..3 {
            assert!(gate.client().get("/first").status < 400, "{first:?}");
            assert_eq!(gate.client().get("/second").text(), "proper", "{first:?}");
        }
    }
}

#[test]
fn an_application_that_comes_and_goes_is_a_502_while_it_is_gone_and_never_afterwards() {
    let gone = Arc::new(AtomicBool::new(false));
    let upstream = Upstream::play({
        let gone = Arc::clone(&gone);
        move |connection| {
            while let Some(request) = connection.request()? {
                if gone.load(Ordering::SeqCst) {
                    break;
                }
                connection.send(&response("200 OK", &[], &request.line()))?;
            }
            Ok(())
        }
    });
    let gate = gate(&upstream);
    for turn in 0..10 {
        gone.store(turn % 2 == 1, Ordering::SeqCst);
        thread::scope(|scope| {
            for number in 0..4 {
                let mut client = gate.client();
                scope.spawn(move || {
                    let answer = client.get(&format!("/{turn}/{number}"));
                    match turn % 2 {
                        0 => assert_eq!(answer.text(), format!("GET /{turn}/{number} HTTP/1.1")),
                        _ => assert_eq!(answer.verdict(), (502, "upstream_invalid".to_owned())),
                    }
                });
            }
        });
    }
}

#[test]
fn what_is_said_on_an_idle_connection_makes_it_useless_and_nothing_more() {
    let (said, heard) = mpsc::channel();
    let upstream = Upstream::play(move |connection| {
        while let Some(request) = connection.request()? {
            connection.send(&response("200 OK", &[], &request.line()))?;
            if request.line().contains("/first") {
                // Nobody has asked.
                connection.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")?;
                let _told = said.send(());
            }
        }
        Ok(())
    });
    let gate = gate(&upstream);
    assert_eq!(gate.client().get("/first").status, 200);
    heard.recv_timeout(PATIENCE).unwrap();
    for number in 0..5 {
        let answer = gate.client().get(&format!("/{number}"));
        assert_eq!(answer.text(), format!("GET /{number} HTTP/1.1"));
    }
}

#[test]
fn interim_answers_are_passed_over_and_a_flood_of_them_is_not_waited_for() {
    let upstream = Upstream::play(|connection| {
        while let Some(request) = connection.request()? {
            let count = if request.line().contains("/flood") { 10_000 } else { 3 };
            for _ in 0..count {
                connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
            }
            connection.send(&response("200 OK", &[], "the answer"))?;
        }
        Ok(())
    });
    let gate = gate(&upstream);
    let answer = gate.client().get("/few");
    assert_eq!((answer.status, answer.text().as_str()), (200, "the answer"));
    let answer = gate.client().get("/flood");
    assert_eq!(answer.verdict(), (502, "upstream_invalid".to_owned()));
    assert_eq!(gate.client().get("/few").text(), "the answer");
}

#[test]
fn disorder_within_a_body_cuts_it_and_ends_its_connection() {
    for body in [
        "Content-Length: 10\r\n\r\nshort",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let upstream = Upstream::play(move |connection| {
            while let Some(request) = connection.request()? {
                if request.line().contains("/proper") {
                    connection.send(&response("200 OK", &[], "proper"))?;
                    continue;
                }
                connection.send(format!("HTTP/1.1 200 OK\r\n{body}").as_bytes())?;
                return Ok(());
            }
            Ok(())
        });
        let gate = gate(&upstream);
        let mut wire = gate.client().wire();
        wire.send(format!("GET /broken HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
        let answer = wire.answer("GET");
        // Either it was found out before our head was written, or the body is seen to break off.
        if let Ok(Some(answer)) = &answer {
            assert_eq!(answer.status, 502, "{body:?}: a broken body passed for a whole one");
        }
        assert_eq!(gate.client().get("/proper").text(), "proper", "{body:?}");
    }
}

#[test]
fn an_application_that_stops_in_the_middle_is_not_waited_for_without_end() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::play(move |connection| {
        let Some(request) = connection.request()? else { return Ok(()) };
        if request.line().contains("/head") {
            connection.send(b"HTTP/1.1 200 OK\r\nContent-")?;
        } else {
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")?;
        }
        // Ends when the test does.
        let _ended = wait.lock().unwrap().recv();
        Ok(())
    });
    let gate = gate(&upstream);
    let answer = gate.client().get("/head");
    assert_eq!(answer.verdict(), (504, "upstream_timeout".to_owned()));
    let mut wire = gate.client().wire();
    wire.send(format!("GET /body HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
    assert_eq!(wire.head().unwrap().unwrap().status, 200);
    assert_eq!(wire.rest(), b"half", "and then it is cut");
    drop(go);
}

#[test]
fn an_application_that_answers_before_it_has_the_request_and_closes_is_heard() {
    let upstream = Upstream::play(|connection| {
        if connection.head()?.is_some() {
            connection.send(&response("413 Content Too Large", &["Connection: close"], "no"))?;
        }
        Ok(())
    });
    let gate = gate(&upstream);
    let much = vec![b'x'; 4 * 1024 * 1024];
    let mut answers = Vec::new();
    for h2 in [false, true] {
        let client = gate.client();
        let mut client = if h2 { client.over_h2() } else { client };
        let ask = client.ask("POST", "/a").body("application/octet-stream", &much);
        let answer = ask.try_send().unwrap_or_else(|error| panic!("h2: {h2}: {error:?}"));
        answers.push((answer.status, answer.text()));
    }
    for (status, text) in answers {
        // A reset may take the answer with it (RFC 9112 section 9.6); then it is a 502, at once.
        assert!((status, text.as_str()) == (413, "no") || status == 502, "{status} {text}");
    }
}
