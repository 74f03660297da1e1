//! Applications as people run them: nginx, Node with WebSocket and events before a real browser, and
//! gRPC with its own client. `tests/run` installs them.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sallyport::clock::Stopwatch;

use crate::harness::{ACCESS, Browser, Gate, PASSWORD, PATIENCE, Process, add_user, sallyport};

/// A server of somebody else's. Killed when it is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// Starts one that tells its port in its first line.
    fn telling(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("{command:?} said {line:?}"));
        Self { child, port }
    }

    /// nginx, which serves `folder` over HTTP/1.1, and on the next port over HTTP/2.
    fn nginx(folder: &Path) -> Self {
        // It cannot be asked for any free port: another is tried should one be taken meanwhile.
        for _ in 0..10 {
            let ports = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
            let [one, two] = ports.each_ref().map(|port| port.local_addr().unwrap().port());
            drop(ports);
            let config = folder.join("nginx.conf");
            fs::write(&config, nginx_config(folder, one, two)).unwrap();
            let mut child = Command::new(found(&["/usr/sbin/nginx", "nginx"]))
                .args(["-e", "stderr", "-c"])
                .arg(&config)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let waited = Stopwatch::start();
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", two)).is_ok() {
                    return Self { child, port: one };
                }
                assert!(waited.elapsed() < PATIENCE, "nginx does not listen");
                std::thread::yield_now();
            }
        }
        panic!("nginx does not start");
    }
}

/// The first of these that is there.
fn found(programs: &[&str]) -> PathBuf {
    let there = programs.iter().map(Path::new).find(|path| path.exists());
    there.unwrap_or(Path::new(programs[programs.len() - 1])).to_owned()
}

fn nginx_config(folder: &Path, one: u16, two: u16) -> String {
    let folder = folder.display();
    let server = |listen: &str| {
        format!(
            "server {{ listen {listen}; root {folder}/files;\n\
             location /echo {{ return 200 \"$request_method $host $request_uri \
             $http_x_auth_user [$http_te] [$http_connection]\"; }} }}\n"
        )
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; keepalive_requests 3;\n{temporary}{}{} }}\n",
        server(&format!("127.0.0.1:{one}")),
        server(&format!("127.0.0.1:{two} http2")),
    )
}

#[test]
fn before_nginx_ranges_conditions_and_whole_files_are_as_nginx_gives_them() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    fs::create_dir(&files).unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    fs::write(files.join("large.bin"), &content).unwrap();
    let nginx = Server::nginx(folder.path());
    let two = fs::read_to_string(folder.path().join("nginx.conf")).unwrap();
    let two = two.split("127.0.0.1:").nth(2).unwrap().split(' ').next().unwrap().to_owned();
    for (port, http) in [(nginx.port.to_string(), "1.1"), (two, "2")] {
        let gate = Gate::start(&format!(
            "[[upstream]]\nname = \"app\"\nservers = [\"http://127.0.0.1:{port}\"]\n\
             http = \"{http}\"\n[[route]]\npath = \"/**\"\n"
        ));
        gate.add_user("ada", &[], &[]);
        for h2 in [false, true] {
            let client = gate.signed_in("ada");
            let mut client = if h2 { client.over_h2() } else { client };
            let whole = client.get("/large.bin");
            assert_eq!((whole.status, whole.one("accept-ranges")), (200, "bytes"));
            assert!(whole.body == content, "{} bytes came", whole.body.len());
            let tag = whole.one("etag").to_owned();
            let part = client.ask("GET", "/large.bin").field("Range", "bytes=100-199").send();
            assert_eq!(part.status, 206);
            assert_eq!(part.one("content-range"), format!("bytes 100-199/{}", content.len()));
            assert_eq!(part.body, content[100..200]);
            let beyond = client.ask("GET", "/large.bin").field("Range", "bytes=9000000-").send();
            assert_eq!(beyond.status, 416);
            let same = client.ask("GET", "/large.bin").field("If-None-Match", &tag).send();
            assert_eq!((same.status, same.one("etag"), same.body.len()), (304, tag.as_str(), 0));
            let head = client.ask("HEAD", "/large.bin").send();
            assert_eq!(head.one("content-length"), content.len().to_string());
            assert_eq!((head.status, head.body.len()), (200, 0));
            assert_eq!(client.get("/nothing").status, 404);
            // nginx closes each connection after three requests: none of them is lost.
            for _ in 0..4 {
                let echo = client.get("/echo?a=b");
                assert_eq!(echo.text(), "GET localhost /echo?a=b ada [] []");
            }
        }
    }
}

fn node() -> Server {
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/real/app.js"));
    Server::telling(command)
}

#[test]
fn before_node_a_browser_has_its_socket_and_its_events_until_the_session_ends() {
    let node = node();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[log]\naccess = \"stdout\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"http://127.0.0.1:{}\"]\n\
         [[route]]\npath = \"/**\"\n",
        node.port
    );
    Process::configure(folder.path(), &text);
    add_user(folder.path(), "ada");
    let process = Process::start(folder.path());
    let browser = Browser::start();
    let site = format!("https://localhost:{}", process.address().port());
    browser.goto(&site);
    browser.find("input[name=username]").type_text("ada");
    browser.find("input[name=password]").type_text(PASSWORD);
    browser.find("button[type=submit]").click();
    let says = |script: &'static str, what: &str| {
        browser.until(what, |browser| browser.execute(script, &[]) == true);
    };
    says("return (window.heard || []).includes('hello');", "the socket answers");
    says("return window.told.includes('ready');", "the events begin");
    // The next event is told only when the one before has been seen.
    for word in ["one", "two", "three"] {
        let tell = "return fetch('/tell?word=' + arguments[0]).then(answer => answer.text());";
        assert_eq!(browser.execute(tell, &[word.into()]), "1");
        browser.until(word, |browser| browser.execute("return window.told.at(-1);", &[]) == word);
    }
    // A browser that speaks HTTP/2 sends its sockets through it (RFC 8441).
    let line = process.out.wait_for("path=/socket");
    assert!(line.contains("protocol=HTTP/2.0") && line.contains("status=200"), "{line}");
    let ended = sallyport(folder.path(), &["session", "end", "--user", "ada"], "");
    assert!(ended.status.success(), "{ended:?}");
    says("return window.ended === 1008;", "the socket is told why it ends");
    says("return window.lost === true;", "the events end");
}

#[test]
fn before_node_bodies_go_up_whole_and_a_long_poll_waits() {
    let node = node();
    let gate = Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"http://127.0.0.1:{}\"]\n\
         [[route]]\npath = \"/**\"\naccess = \"public\"\nbody_bytes = \"8MiB\"\n",
        node.port
    ));
    let body: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 253) as u8).collect();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    for h2 in [false, true] {
        let client = gate.client();
        let mut client = if h2 { client.over_h2() } else { client };
        let answer = client.ask("POST", "/digest").body("application/octet-stream", &body).send();
        assert_eq!(answer.text(), digest);
        let mut waiting = client.twin();
        let told = std::thread::scope(|scope| {
            let polled = scope.spawn(move || waiting.get("/poll").text());
            // Told again until the poll has come.
            while !polled.is_finished() {
                assert_eq!(client.get("/tell?word=news").status, 200);
            }
            polled.join().unwrap()
        });
        assert_eq!(told, "news");
    }
}

#[test]
fn before_a_grpc_service_its_own_client_finds_all_as_without_us() {
    let python = found(&["/usr/bin/python3", "python3"]);
    let script = |name: &str| format!("{}/tests/it/real/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(&python);
    command.arg(script("grpc_server.py"));
    let service = Server::telling(command);
    let gate = Gate::start(&format!(
        "[[upstream]]\nname = \"app\"\nservers = [\"http://127.0.0.1:{}\"]\nhttp = \"2\"\n\
         [[route]]\npath = \"/test.Service/*\"\n\
         [[route]]\npath = \"/admin.Service/*\"\naccess = {{ permissions = [\"admin\"] }}\n",
        service.port
    ));
    gate.add_user("ada", &[], &[]);
    let token = gate.signed_in("ada").jar.get(ACCESS).unwrap().to_owned();
    let mut client = Command::new(&python)
        .arg(script("grpc_client.py"))
        .arg(format!("localhost:{}", gate.address().port()))
        .arg(gate.certificate())
        .arg(token)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut said, mut wrong) = (String::new(), String::new());
    client.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    client.stderr.take().unwrap().read_to_string(&mut wrong).unwrap();
    assert!(client.wait().unwrap().success() && said == "all well\n", "{said}{wrong}");
}
