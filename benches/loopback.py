"""A gateway, an application behind it and callers, all on the loopback: what budget.py and soak.py
share. Needs Python 3.10 or newer and nothing besides."""

import json
import multiprocessing
import os
import pathlib
import select
import signal
import socket
import ssl
import subprocess
import tempfile
import threading

LOGIN, PASSWORD = "ada", "correct horse battery staple"
ANSWER = b"x" * 100


class Application(multiprocessing.Process):
    """Answers whatever it is asked with 100 bytes, once it has the whole request, on every address of
    the loopback. It is asked by a gateway that can be trusted, so that it looks no further than it
    must."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("0.0.0.0", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]

    def run(self):
        answer = (
            b"HTTP/1.1 200 OK\r\nServer: application\r\nContent-Type: application/json\r\n"
            b"Cache-Control: private, max-age=0\r\nVary: Accept-Encoding\r\n"
            b"Content-Length: %d\r\n\r\n" % len(ANSWER)
        ) + ANSWER
        self.listener.setblocking(False)
        poll = select.epoll()
        poll.register(self.listener, select.EPOLLIN)
        clients, halves = {}, {}
        while True:
            for number, _ in poll.poll():
                if number == self.listener.fileno():
                    try:
                        while True:
                            client, _ = self.listener.accept()
                            client.setblocking(False)
                            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                            clients[client.fileno()] = client
                            poll.register(client, select.EPOLLIN)
                    except BlockingIOError:
                        continue
                client = clients[number]
                try:
                    piece = client.recv(65536)
                except OSError:
                    piece = b""
                if not piece:
                    # Closing also takes it out of the poll.
                    clients.pop(number).close()
                    halves.pop(number, None)
                    continue
                request = halves.pop(number, b"") + piece
                if is_whole(request):
                    client.send(answer)
                else:
                    halves[number] = request


def is_whole(request):
    """Whether a request has come to its end. The gateway sends a length wherever it was sent one."""
    head, end, body = request.partition(b"\r\n\r\n")
    if not end:
        return False
    at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        return True
    return len(body) >= int(head[at + 17:].split(b"\r\n", 1)[0])


class Site:
    """A folder of its own with a config, a store and one account: what a gateway is started on, once
    or again."""

    def __init__(self, program, config):
        self.folder = tempfile.TemporaryDirectory(prefix="sallyport-bench.")
        self.path = pathlib.Path(self.folder.name)
        file = self.path / "gateway.toml"
        file.write_text(config)
        self.program = [str(program), "--config", str(file)]
        subprocess.run(
            [*self.program, "user", "add", LOGIN, "--password-stdin"], input=PASSWORD.encode(),
            check=True, stdout=subprocess.DEVNULL,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()


class Gateway:
    """A gateway that runs on a site."""

    def __init__(self, site, wrapper=(), log=None):
        # Ends with whoever has started it, however that ends.
        mortal = ["setpriv", "--pdeathsig", "KILL"]
        command = [*mortal, *wrapper, *site.program, "run"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self.ports, said = {}, b""
        for line in self.process.stderr:
            said += line
            words = line.decode(errors="replace").split()
            if len(words) > 1 and words[1] in ("https", "admin"):
                self.ports[words[1]] = int(words[0].rsplit(":", 1)[1])
            if b"log in" in line:
                break
        else:
            raise SystemExit(f"the gateway did not start:\n{said.decode(errors='replace')}")
        # What it says further goes to `log`, and is waited for by nobody.
        sink = open(log or os.devnull, "wb")
        threading.Thread(target=drain, args=(self.process.stderr, sink), daemon=True).start()
        self.certificate = str(site.path / "certs/development.pem")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()

    def connect(self, protocol="http/1.1", timeout=60):
        """A TLS connection that speaks `protocol`."""
        tls = ssl.create_default_context(cafile=self.certificate)
        tls.set_alpn_protocols([protocol])
        raw = socket.create_connection(("127.0.0.1", self.ports["https"]), timeout=timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls.wrap_socket(raw, server_hostname="localhost")

    def metrics(self):
        """What the admin listener tells: a name with its labels, and its value."""
        with socket.create_connection(("127.0.0.1", self.ports["admin"]), timeout=60) as stream:
            stream.sendall(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
            text = b""
            while piece := stream.recv(65536):
                text += piece
        lines = text.partition(b"\r\n\r\n")[2].decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


def drain(source, sink):
    with sink:
        for line in source:
            sink.write(line)


def exchange(stream, request):
    """Sends one request over HTTP/1.1 and reads its answer, which has a length: head and body."""
    stream.sendall(request)
    come = b""
    while b"\r\n\r\n" not in come:
        piece = stream.recv(65536)
        if not piece:
            raise SystemExit(f"the gateway closed instead of answering; it had said {come!r}")
        come += piece
    head, _, body = come.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line[15:])
    while len(body) < length:
        piece = stream.recv(65536)
        if not piece:
            raise SystemExit("the gateway closed within an answer")
        body += piece
    return head, body


def status(head):
    """The status of an answer, 0 if it is none."""
    words = head.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def cookies(head):
    """The cookies that an answer sets, by name."""
    found = {}
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"set-cookie":
            cookie, _, rest = value.strip().partition(b";")
            key, _, content = cookie.partition(b"=")
            if content and b"max-age=0" not in rest.lower():
                found[key.decode()] = content.decode()
    return found


def post(path, fields, **more):
    """A request with a JSON body, as a browser's script sends it."""
    body = json.dumps(fields).encode()
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n{extra}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def log_in(stream, base="/auth"):
    """Logs the account in; the cookies that are set."""
    head, body = exchange(stream, post(f"{base}/login", {"username": LOGIN, "password": PASSWORD}))
    found = cookies(head)
    if status(head) != 200 or "__Host-sallyport_access" not in found:
        raise SystemExit(f"the login failed: {head!r} {body!r}")
    return found
