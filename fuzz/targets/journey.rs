//! A whole gateway on one thread: what a client sends on one connection, and an application that takes
//! nothing but what has one reading. Each request that comes to it was judged, with this method, path
//! and host, and only once; nothing of it says who calls, for nobody has logged in.
//!
//! The first byte says how to read the rest: as the bytes of HTTP/1.1, as frames of HTTP/2, or as
//! lines `name:value`, which are sent as one request of HTTP/2 with what follows an empty line as its
//! body.
#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::rc::Rc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sallyport::gateway::memory::Memory;
use sallyport::upstream::memory::applications;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::{LocalOptions, LocalRuntime};

const CONFIG: &str = r#"
[listen]
https = "127.0.0.1:0"
cores = 1
public_url = "https://localhost:8443"
[password]
memory = "8KiB"
iterations = 1
[log]
format = "json"
access = "stdout"
[[upstream]]
name = "app"
servers = ["http://app.internal:80"]
identity.user = "Remote-User"
[[route]]
path = "/open/**"
access = "public"
[[route]]
path = "/guest/**"
access = "optional"
[[route]]
path = "/get/**"
methods = ["GET"]
access = "public"
[[route]]
path = "/shut/**"
"#;

/// A request as the application reads it.
#[derive(Debug)]
struct Received {
    method: String,
    path: String,
    fields: Vec<(String, Vec<u8>)>,
}

impl Received {
    fn of(&self, name: &str) -> Vec<&[u8]> {
        let found = self.fields.iter().filter(|(found, _)| found == name);
        found.map(|(_, value)| value.as_slice()).collect()
    }
}

struct Setting {
    runtime: LocalRuntime,
    gateway: Memory,
    received: Rc<RefCell<Vec<Received>>>,
}

thread_local! {
    static SETTING: Setting = Setting::start();
}

impl Setting {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = Memory::start(CONFIG, folder.path()).expect("it starts");
        // Its clock moves on when nothing else can.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build_local(LocalOptions::default())
            .expect("a runtime");
        let received = Rc::<RefCell<Vec<Received>>>::default();
        let (mut connections, all) = (applications(), Rc::clone(&received));
        runtime.spawn_local(async move {
            while let Some(stream) = connections.recv().await {
                tokio::task::spawn_local(application(stream, Rc::clone(&all)));
            }
        });
        let setting = Self { runtime, gateway, received };
        // What finds nothing because nothing arrives would find nothing for ever.
        let proper = b"GET /open/a HTTP/1.1\r\nHost: localhost:8443\r\n\r\n";
        let fields = b":method:GET\n:scheme:https\n:authority:localhost:8443\n:path:/open/a";
        setting.ask(proper, false);
        setting.ask(&[preface(), request(fields)].concat(), true);
        assert_eq!(setting.received.take().len(), 2);
        assert!(!setting.gateway.lines().is_empty());
        setting
    }

    /// Sends `bytes`, waits until nothing moves any more, and closes.
    fn ask(&self, bytes: &[u8], h2: bool) {
        self.runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            self.gateway.serve(theirs, h2);
            let (mut answers, mut asking) = tokio::io::split(ours);
            let listening = tokio::task::spawn_local(async move {
                let mut all = Vec::new();
                // However it ends.
                drop(answers.read_to_end(&mut all).await);
                all.len()
            });
            drop(asking.write_all(bytes).await);
            tokio::time::sleep(Duration::from_millis(1)).await;
            drop(asking.shutdown().await);
            tokio::time::sleep(Duration::from_millis(1)).await;
            drop(asking);
            listening.abort();
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
    }
}

/// Reads requests strictly, and answers each.
async fn application(mut stream: DuplexStream, all: Rc<RefCell<Vec<Received>>>) {
    let mut input = Vec::new();
    while let Some(head) = until(&mut stream, &mut input, b"\r\n\r\n").await {
        let received = strictly(&head);
        let length = received.of("content-length").first().map(|length| {
            let text = std::str::from_utf8(length).expect("digits");
            assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{received:?}");
            text.parse::<usize>().expect("a length")
        });
        let whole = match length {
            Some(length) => exactly(&mut stream, &mut input, length).await.is_some(),
            None if received.of("transfer-encoding").is_empty() => true,
            None => chunks(&mut stream, &mut input).await.is_some(),
        };
        if !whole {
            return;
        }
        let switches = !received.of("upgrade").is_empty();
        let head = received.method == "HEAD";
        all.borrow_mut().push(received);
        let answer: &[u8] = match (switches, head) {
            (true, _) => b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n",
            (_, true) => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            _ => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// Up to and with `end`. `None`: the gateway has closed before.
async fn until(stream: &mut DuplexStream, input: &mut Vec<u8>, end: &[u8]) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = input.windows(end.len()).position(|part| part == end) {
            return Some(input.drain(..at + end.len()).collect());
        }
        more(stream, input).await?;
    }
}

async fn exactly(stream: &mut DuplexStream, input: &mut Vec<u8>, count: usize) -> Option<()> {
    while input.len() < count {
        more(stream, input).await?;
    }
    input.drain(..count);
    Some(())
}

async fn more(stream: &mut DuplexStream, input: &mut Vec<u8>) -> Option<()> {
    let count = stream.read_buf(input).await.unwrap_or_default();
    (count > 0).then_some(())
}

/// Chunks as we write them: no extension, no leading zero. What comes behind them is a block of fields,
/// read strictly, that could not be taken for a part of the head.
async fn chunks(stream: &mut DuplexStream, input: &mut Vec<u8>) -> Option<()> {
    loop {
        let line = until(stream, input, b"\r\n").await?;
        let text = std::str::from_utf8(&line[..line.len() - 2]).expect("a size");
        let size = usize::from_str_radix(text, 16).expect("a size alone");
        assert_eq!(text, format!("{size:x}"));
        if size == 0 {
            return trailers(stream, input).await;
        }
        exactly(stream, input, size).await?;
        let end = until(stream, input, b"\r\n").await?;
        assert_eq!(end, b"\r\n", "a chunk is as long as it says");
    }
}

async fn trailers(stream: &mut DuplexStream, input: &mut Vec<u8>) -> Option<()> {
    loop {
        let line = until(stream, input, b"\r\n").await?;
        let line = &line[..line.len() - 2];
        if line.is_empty() {
            return Some(());
        }
        let (name, _) = field(line);
        let only_a_head = [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "upgrade",
            "cookie",
            "authorization",
            "via",
            "x-request-id",
            "te",
            "trailer",
            "expect",
            "forwarded",
        ];
        assert!(!only_a_head.contains(&name.as_str()), "{name}");
        assert!(!name.starts_with("x-forwarded") && !name.starts_with("if-"), "{name}");
    }
}

/// A field of a head or behind a body: a name that no reader takes for one of ours, and its value.
fn field(line: &[u8]) -> (String, Vec<u8>) {
    let shown = String::from_utf8_lossy(line);
    assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{shown:?}");
    let colon = line.iter().position(|byte| *byte == b':').expect("a field");
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    assert!(is_token(name), "{shown:?}");
    let name = std::str::from_utf8(name).expect("a token").to_ascii_lowercase();
    // As the most careless reader takes it.
    let folded = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    assert!(!folded.starts_with("x-auth-") && folded != "remote-user", "{shown:?}");
    assert!(!name.contains(['_', '.']), "{shown:?}");
    (name, value.trim_ascii().to_vec())
}

/// A head that nobody could read otherwise.
fn strictly(head: &[u8]) -> Received {
    let shown = String::from_utf8_lossy(head);
    let text = &head[..head.len() - 4];
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|part| part == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    assert!(!lines[0].iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{shown:?}");
    let first = std::str::from_utf8(lines[0]).expect("ASCII");
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { panic!("{shown:?}") };
    assert!(is_token(method.as_bytes()), "{shown:?}");
    let path = target.split('?').next().expect("the first");
    let fields = lines[1..].iter().map(|line| field(line)).collect();
    let received = Received { method: method.to_owned(), path: path.to_owned(), fields };
    let count = |name: &str| received.of(name).len();
    assert_eq!((count("host"), count("x-request-id")), (1, 1), "{shown:?}");
    assert!(count("content-length") + count("transfer-encoding") <= 1, "{shown:?}");
    if count("transfer-encoding") == 1 {
        assert_eq!(received.of("transfer-encoding"), [b"chunked"], "{shown:?}");
    }
    for (name, _) in &received.fields {
        let folded = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let gone = ["keep-alive", "expect", "proxy-connection", "http2-settings"];
        assert!(!gone.contains(&folded.as_str()), "{shown:?}");
    }
    // Ours, where there can be trailers.
    assert!(count("trailer") <= count("transfer-encoding"), "{shown:?}");
    if count("te") > 0 {
        assert_eq!(received.of("te"), [b"trailers"], "{shown:?}");
        assert_eq!(received.of("connection"), [b"te"], "{shown:?}");
        assert_eq!(count("upgrade"), 0, "{shown:?}");
    } else if count("connection") + count("upgrade") > 0 {
        assert_eq!(received.of("connection"), [b"upgrade"], "{shown:?}");
        assert_eq!(received.of("upgrade"), [b"websocket"], "{shown:?}");
        assert_eq!(count("content-length") + count("transfer-encoding"), 0, "{shown:?}");
        assert_eq!(method, "GET");
    }
    let plain = |segment: &str| !matches!(segment, "." | "..") && segment.is_ascii();
    assert!(path.starts_with('/') && path.split('/').all(plain), "{shown:?}");
    let folded = path.to_ascii_lowercase();
    for odd in ["//", "\\", "#", "%2e", "%2f", "%5c", "%00", "%0d", "%0a", "%252e", "%252f"] {
        assert!(!folded.contains(odd), "{odd} in {shown:?}");
    }
    received
}

fn is_token(name: &[u8]) -> bool {
    let odd = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(odd)
}

/// Each request at the application is one that was judged so, and each only once.
fn compare(received: &[Received], log: &[u8]) {
    let mut judged = HashMap::new();
    for line in log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).expect("a line");
        if line.get("upstream").is_some() {
            judged.insert(line["request_id"].as_str().expect("its id").to_owned(), line);
        }
    }
    for request in received {
        let id = String::from_utf8_lossy(request.of("x-request-id")[0]).into_owned();
        let line = judged.remove(&id).unwrap_or_else(|| panic!("judged by nobody: {request:?}"));
        let same = |name: &str, form: fn(&str) -> String, came: &[u8]| {
            let (said, came) =
                (line[name].as_str().expect("a text"), String::from_utf8_lossy(came));
            // The log has what is long cut.
            let same = match said.strip_suffix("...") {
                Some(start) if said.len() > 32 => came.starts_with(start),
                _ => form(said) == form(&came),
            };
            assert!(same, "{name} {came:?} of {line} {request:?}");
        };
        same("method", str::to_owned, request.method.as_bytes());
        same("path", str::to_owned, request.path.as_bytes());
        same("host", host, request.of("host")[0]);
        // And judged rightly: nobody has signed in.
        let below = |place: &str| {
            request
                .path
                .strip_prefix(place)
                .is_some_and(|rest| matches!(rest.get(..1), None | Some("/")))
        };
        let gets = matches!(request.method.as_str(), "GET" | "HEAD");
        assert!(below("/open") || below("/guest") || (gets && below("/get")), "{request:?}");
    }
}

/// The one form of a host, which may be spelled in several: the log has it as it was sent.
fn host(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    let (name, port) = match text.rfind(':').filter(|at| !text[*at..].contains(']')) {
        Some(at) => (&text[..at], text[at + 1..].parse::<u16>().ok()),
        None => (&text[..], None),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name = match inner.and_then(|name| name.parse::<Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => name.to_owned(),
    };
    format!("{name}:{}", port.unwrap_or(443))
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("inputs are short").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// What opens a connection of HTTP/2.
fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..]].concat()
}

/// One request of HTTP/2 with these fields and this body.
fn request(text: &[u8]) -> Vec<u8> {
    let (head, body) = match text.windows(2).position(|part| part == b"\n\n") {
        Some(at) => (&text[..at], Some(&text[at + 2..])),
        None => (text, None),
    };
    let mut block = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        // A pseudo-field begins with a colon.
        let from = usize::from(line.first() == Some(&b':'));
        let Some(colon) = line[from..].iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..from + colon], &line[from + colon + 1..]);
        block.push(0);
        for text in [name, value] {
            let text = &text[..text.len().min(126)];
            block.push(u8::try_from(text.len()).expect("it is short"));
            block.extend(text);
        }
    }
    let ends = u8::from(body.is_none());
    let body = body.map(|body| frame(0, 1, 1, body)).unwrap_or_default();
    [frame(1, 4 | ends, 1, &block), body].concat()
}

fuzz_target!(|data: &[u8]| {
    let Some((how, rest)) = data.split_first() else { return };
    SETTING.with(|setting| {
        match how % 3 {
            0 => setting.ask(rest, false),
            1 => setting.ask(&[preface(), rest.to_vec()].concat(), true),
            _ => setting.ask(&[preface(), request(rest)].concat(), true),
        }
        let received = setting.received.take();
        compare(&received, &setting.gateway.lines());
    });
});
