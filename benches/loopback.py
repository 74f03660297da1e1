"""A gateway, an application behind it and callers, all on the loopback: what budget.py and soak.py
share. Needs Python 3.10 or newer and nothing besides."""

import base64
import hashlib
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
    the loopback; a handshake of WebSocket it agrees to, and then sends back what comes. It is asked by
    a gateway that can be trusted, so that it looks no further than it must."""

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
        clients, halves, tunnels = {}, {}, set()
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
                    tunnels.discard(number)
                    continue
                if number in tunnels:
                    client.send(piece)
                    continue
                request = halves.pop(number, b"") + piece
                if not is_whole(request):
                    halves[number] = request
                elif b"\r\nsec-websocket-key: " in request.lower():
                    tunnels.add(number)
                    client.send(agreed(request))
                else:
                    client.send(answer)


def is_whole(request):
    """Whether a request has come to its end. The gateway sends a length wherever it was sent one."""
    head, end, body = request.partition(b"\r\n\r\n")
    if not end:
        return False
    at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        return True
    return len(body) >= int(head[at + 17:].split(b"\r\n", 1)[0])


def agreed(request):
    """The answer to a handshake (RFC 6455 section 4.2.2)."""
    at = request.lower().index(b"\r\nsec-websocket-key: ") + 21
    key = request[at:].split(b"\r\n", 1)[0].strip()
    seal = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(seal) + b"\r\n\r\n"
    )


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
            if len(words) > 1 and words[1] in ("https", "admin:"):
                self.ports[words[1].strip(":")] = int(words[0].rsplit(":", 1)[1])
            if b"log in" in line:
                break
        else:
            raise SystemExit(f"the gateway did not start:\n{said.decode(errors='replace')}")
        # What it says further goes to `log`, and is waited for by nobody.
        sink = open(log or os.devnull, "wb")
        threading.Thread(target=drain, args=(self.process.stderr, sink), daemon=True).start()
        self.certificate = str(site.path / "certs/development.pem")
        self.contexts = {}

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
        if protocol not in self.contexts:
            context = self.contexts[protocol] = ssl.create_default_context(cafile=self.certificate)
            context.set_alpn_protocols([protocol])
        tls = self.contexts[protocol]
        raw = socket.create_connection(("127.0.0.1", self.ports["https"]), timeout=timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls.wrap_socket(raw, server_hostname="localhost")

    def memory(self):
        """Resident memory now, in KiB."""
        status_ = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(status_.partition("\nVmRSS:")[2].split(maxsplit=1)[0])

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


class Http2:
    """Asks over HTTP/2, with what was said before told by its index (RFC 7541)."""

    # RFC 9113 section 6.
    DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
    GET, HTTPS, STATUS_200 = b"\x82", b"\x87", 0x88

    def __init__(self, stream, path, fields, cookie):
        self.stream = stream
        if stream.selected_alpn_protocol() != "h2":
            raise SystemExit("no HTTP/2")
        fields = [(":path", path), (":authority", "localhost"), *fields]
        # Browsers send each cookie as a field of its own (section 8.2.3).
        fields += [("cookie", one) for one in cookie.split("; ")]
        self.block = self.GET + self.HTTPS + b"".join(
            b"\x40" + text(name) + text(value) for name, value in fields)
        # The newest has index 62.
        self.again = self.GET + self.HTTPS + bytes(
            0x80 | 62 + len(fields) - 1 - n for n in range(len(fields)))
        self.number, self.come = 1, b""
        window = (2**31 - 1 - 65535).to_bytes(4, "big")
        self.stream.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(self.SETTINGS, 0, 0, b"")
            + self.frame(self.WINDOW_UPDATE, 0, 0, window))

    @staticmethod
    def frame(kind, flags, stream, content):
        length = len(content).to_bytes(3, "big")
        return length + bytes([kind, flags]) + stream.to_bytes(4, "big") + content

    def next(self):
        """A frame: its kind, flags and content."""
        while len(self.come) < 9 or len(self.come) < 9 + int.from_bytes(self.come[:3], "big"):
            piece = self.stream.recv(65536)
            if not piece:
                raise SystemExit("the gateway closed instead of answering")
            self.come += piece
        end = 9 + int.from_bytes(self.come[:3], "big")
        kind, flags, content = self.come[3], self.come[4], self.come[9:end]
        self.come = self.come[end:]
        return kind, flags, content

    def __call__(self):
        # END_HEADERS and END_STREAM.
        self.stream.sendall(self.frame(self.HEADERS, 0x5, self.number, self.block))
        self.number, self.block = self.number + 2, self.again
        answered = ended = False
        while not ended:
            kind, flags, content = self.next()
            if kind == self.HEADERS:
                answered = content[0] == self.STATUS_200
            if kind in (self.DATA, self.HEADERS):
                ended = bool(flags & 0x1)
            elif kind in (self.SETTINGS, self.PING) and not flags & 0x1:
                self.stream.sendall(self.frame(kind, 0x1, 0, content if kind == self.PING else b""))
            elif kind == self.GOAWAY:
                raise SystemExit("the gateway says goodbye")
        if not answered:
            raise SystemExit("expected 200")


def text(value):
    """A string literal without Huffman's code (RFC 7541 section 5.2)."""
    value = value.encode()
    length = len(value)
    if length < 127:
        return bytes([length]) + value
    rest, more = length - 127, b"\x7f"
    while rest >= 128:
        rest, more = rest >> 7, more + bytes([rest & 127 | 128])
    return more + bytes([rest]) + value
