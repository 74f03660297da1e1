#!/usr/bin/env python3
"""What takes too long for a run of all tests: large bodies, many connections, slow clients, a flood
of logins. Starts a gateway and an application of its own on the loopback, measures, and fails if a
bound is not kept.

    benches/endure.py                         all of it, with target/release/sallyport
    benches/endure.py stream idle             these alone
    benches/endure.py --program PATH --scale 0.1

Needs Python 3.10 or newer, and curl for HTTP/2. Figures are told in docs/PERFORMANCE.md.
"""

import argparse
import asyncio
import multiprocessing
import os
import pathlib
import resource
import signal
import socket
import ssl
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1024 * 1024
PIECE = b"x" * 65536
# What a slow peer takes in a second.
SLOW_RATE = 24 * MIB
# Logins asked for in a second.
LOGINS = 500
# Processes that make load, so that none of them is what is measured.
LOADERS = 2

CONFIG = """
[listen]
https = "127.0.0.1:0"
admin = "127.0.0.1:0"
public_url = "https://localhost"
drain_timeout = "1s"
[limits]
connections = 20000
connections_per_network = 20000
body_bytes = "2GiB"
header_timeout = "20s"
keep_alive_timeout = "10m"
[csrf]
unmarked = "allow"
[attempts]
{attempts}
[log]
access = "off"
[[upstream]]
name = "app"
servers = ["http://127.0.0.1:{port}"]
max_in_flight = 20000
[[route]]
path = "/**"
access = "public"
body_bytes = "2GiB"
"""


class Pace:
    """Keeps whoever takes bytes at SLOW_RATE, if he is to be slow."""

    def __init__(self, slow):
        self.slow, self.begun = slow, time.monotonic()

    def wait(self, taken):
        if self.slow:
            time.sleep(max(0.0, self.begun + taken / SLOW_RATE - time.monotonic()))


class Application(multiprocessing.Process):
    """Answers GET /down/BYTES with so many bytes, and anything else when its body has come, which it
    takes at SLOW_RATE where the path says so."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = stream.makefile("rb", buffering=65536)
        try:
            while self.exchange(stream, reader):
                pass
        except OSError:
            pass
        finally:
            stream.close()

    def exchange(self, stream, reader):
        line = reader.readline().split()
        if len(line) != 3:
            return False
        length = 0
        while (field := reader.readline()) not in (b"\r\n", b""):
            name, _, value = field.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        path = line[1].decode()
        taken, pace = 0, Pace(path.startswith("/slow/"))
        while taken < length:
            piece = reader.read(min(65536, length - taken))
            if not piece:
                return False
            taken += len(piece)
            pace.wait(taken)
        wanted = int(path.rsplit("/", 1)[1]) if path.startswith("/down/") else 0
        answer = str(taken).encode()
        size = wanted or len(answer)
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        if not wanted:
            stream.sendall(answer)
        while wanted:
            wanted -= stream.send(PIECE[:wanted])
        return True


class Gateway:
    """A gateway of its own, with its certificate."""

    def __init__(self, program, app, users=0):
        self.folder = tempfile.TemporaryDirectory(prefix="sallyport-endure.")
        folder = pathlib.Path(self.folder.name)
        everything = "\n".join(
            f'{key} = {{ count = 1000000, per = "1m" }}'
            for key in ("per_account_and_network", "per_network", "per_account", "per_device")
        )
        config = folder / "gateway.toml"
        config.write_text(CONFIG.format(port=app.port, attempts=everything))
        base = [str(program), "--config", str(config)]
        for number in range(users):
            subprocess.run(
                [*base, "user", "add", f"user{number}", "--password-stdin"],
                input=PASSWORD.encode(), check=True, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self.process = subprocess.Popen([*base, "run"], stderr=subprocess.PIPE)
        self.port = None
        for line in self.process.stderr:
            words = line.decode().split()
            if words[1:] == ["https"]:
                self.port = int(words[0].rsplit(":", 1)[1])
            if b"log in" in line:
                break
        # Whatever it says further is not waited for by anybody.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.certificate = str(folder / "certs/development.pem")
        self.tls = ssl.create_default_context(cafile=self.certificate)
        self.tls.set_alpn_protocols(["http/1.1"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.folder.cleanup()

    def memory(self, what="VmRSS"):
        """KiB now (VmRSS), or at the highest so far (VmHWM)."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1])
        raise SystemExit("the gateway has ended")

    def forget_peak(self):
        """Has the highest memory begin anew."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def connect(self, receive=0):
        stream = socket.socket()
        if receive:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        stream.settimeout(60)
        stream.connect(("127.0.0.1", self.port))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls.wrap_socket(stream, server_hostname="localhost")


PASSWORD = "correct horse battery staple"
failed = []


def told(name, value, bound=None, holds=True):
    """One figure, and the bound that it must keep."""
    print(f"{name:<56} {value:>16}{'' if bound is None else f'   {bound}'}", flush=True)
    if not holds:
        failed.append(name)


def head(stream):
    """Reads an answer's head; what has come of its body with it."""
    bytes_ = b""
    while b"\r\n\r\n" not in bytes_:
        piece = stream.recv(65536)
        if not piece:
            raise SystemExit("the gateway closed instead of answering")
        bytes_ += piece
    top, _, rest = bytes_.partition(b"\r\n\r\n")
    return top, rest


def stream(gateway, scale):
    """Large bodies both ways, past peers that are as fast as they can be and such as are slow."""
    size = int(1024 * MIB * scale)
    before = gateway.memory()

    def measured(name, work):
        gateway.forget_peak()
        begun = time.monotonic()
        work()
        rate = size / MIB / (time.monotonic() - begun)
        more = (gateway.memory("VmHWM") - before) / 1024
        told(f"{size // MIB} MiB {name}: MiB/s", f"{rate:.0f}")
        told("  highest memory above rest: MiB", f"{more:.1f}", "below 32", more < 32)

    def down(slow):
        with gateway.connect(receive=65536) as client:
            client.sendall(f"GET /down/{size} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            _, rest = head(client)
            got, pace = len(rest), Pace(slow)
            while got < size:
                got += len(client.recv(65536))
                pace.wait(got)

    def up(path):
        with gateway.connect() as client:
            client.sendall(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Length: {size}\r\n\r\n".encode())
            sent = 0
            while sent < size:
                sent += client.send(PIECE[: size - sent])
            _, rest = head(client)
            while len(rest) < len(str(size)):
                rest += client.recv(100)
            assert int(rest) == size, rest

    def down_by_http2():
        # Its window is larger than what it has taken, so that the gateway must wait for it.
        url = f"https://localhost:{gateway.port}/down/{size}"
        done = subprocess.run(
            ["curl", "--http2", "--cacert", gateway.certificate, "--limit-rate", str(SLOW_RATE),
             "--silent", "--output", "/dev/null", "--write-out", "%{http_version} %{size_download}",
             "--header", "Host: localhost", url],
            capture_output=True, check=True)
        assert done.stdout.decode() == f"2 {size}", done.stdout

    measured("down", lambda: down(False))
    measured("up", lambda: up("/up"))
    measured("down to a slow client", lambda: down(True))
    measured("up to a slow application", lambda: up("/slow/up"))
    if shutil.which("curl"):
        measured("down to a slow client of HTTP/2", down_by_http2)


def idle(gateway, scale):
    """Connections that have asked once and then say nothing."""
    count = int(10_000 * scale)
    before = gateway.memory()
    begun = time.monotonic()
    held = []
    for _ in range(count):
        client = gateway.connect()
        client.sendall(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head(client)
        held.append(client)
    told(f"{count} connections: made in s", f"{time.monotonic() - begun:.0f}")
    each = (gateway.memory() - before) / count
    told("  memory of each: KiB", f"{each:.1f}", "below 64", each < 64)
    # All of them still live.
    for client in held[:: max(1, count // 100)]:
        client.sendall(b"GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n")
        top, _ = head(client)
        assert b" 200 " in top, top
    for client in held:
        client.close()


def honest(port, cafile, pipe, requests):
    """One client that asks in turn on a kept connection, and on a new one every ten requests."""
    tls = ssl.create_default_context(cafile=cafile)
    times = []
    client = None
    for number in range(requests):
        begun = time.monotonic()
        if number % 10 == 0:
            if client:
                client.close()
            raw = socket.create_connection(("127.0.0.1", port), timeout=60)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = tls.wrap_socket(raw, server_hostname="localhost")
        client.sendall(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        top, _ = head(client)
        assert b" 200 " in top, top
        times.append(time.monotonic() - begun)
        time.sleep(0.002)
    pipe.send(times)


def measure(gateway, name, requests):
    """What an honest client's requests take, in milliseconds."""
    here, there = multiprocessing.Pipe()
    cafile = str(pathlib.Path(gateway.folder.name) / "certs/development.pem")
    client = multiprocessing.Process(target=honest, args=(gateway.port, cafile, there, requests))
    client.start()
    if not here.poll(300):
        raise SystemExit(f"{name}: the honest client was not served")
    times = sorted(here.recv())
    client.join()
    p50, p99 = statistics.median(times) * 1000, times[len(times) * 99 // 100] * 1000
    told(f"{name}: honest p50 / p99 in ms", f"{p50:.1f} / {p99:.1f}")
    return p99


class Load(multiprocessing.Process):
    """One of LOADERS processes that make `load` until they are told to stop; `load` is a coroutine
    that takes the gateway, what is its share, and this."""

    def __init__(self, load, gateway, share):
        super().__init__(daemon=True)
        self.load, self.gateway, self.share = load, gateway, share
        self.ready, self.over = multiprocessing.Event(), multiprocessing.Event()
        self.here, self.there = multiprocessing.Pipe()

    def run(self):
        async def all_of_it():
            self.there.send(await self.load(self.gateway, self.share, self))

        asyncio.run(all_of_it())

    def stop(self):
        """Ends it; what `load` has returned."""
        self.over.set()
        if not self.here.poll(60):
            raise SystemExit("a process that makes load does not end")
        result = self.here.recv()
        self.join()
        return result


def beside(load, gateway, amount, name, requests):
    """Measures an honest client while others make `amount` of `load`; its p99, and what they say."""
    others = [Load(load, gateway, amount / LOADERS) for _ in range(LOADERS)]
    for other in others:
        other.start()
    for other in others:
        if not other.ready.wait(120):
            raise SystemExit(f"{name}: not all of them could connect")
    among = measure(gateway, name, requests)
    memory = gateway.memory()
    return among, memory, [other.stop() for other in others]


def compared(alone, among):
    told("  p99 beside that alone", f"{among / alone:.1f}x", "below 10x or 50 ms",
         among < 10 * alone or among < 50)


async def dawdle(gateway, share, load):
    """Slow clients: of heads, bodies and reads by a third each. Each begins anew when it is cut off."""
    connected = 0

    async def one(kind):
        nonlocal connected
        first = True
        while not load.over.is_set():
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", gateway.port, ssl=gateway.tls, server_hostname="localhost",
                    limit=4096)
                connected += first
                first = False
                if kind == 0:
                    parts = [b"GET /a HTTP/1.1\r\nHost: localhost\r\n"] + [b"X: y\r\n"] * 1000
                elif kind == 1:
                    parts = [b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"]
                    parts += [b"x"] * 1000
                else:
                    parts = [b"GET /down/10000000 HTTP/1.1\r\nHost: localhost\r\n\r\n"] + [b""] * 1000
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    if kind == 2:
                        await reader.read(512)
                    await asyncio.sleep(1)
                writer.transport.abort()
            except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.2)

    tasks = [asyncio.create_task(one(number % 3)) for number in range(int(share))]
    while not load.over.is_set():
        if connected == len(tasks):
            load.ready.set()
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Login(asyncio.Protocol):
    """A connection on which one login after another is asked for."""

    BODY = b'{"username":"user0","password":"not the password at all"}'
    REQUEST = (b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               b"Content-Length: %d\r\n\r\n" % len(BODY)) + BODY

    def __init__(self, idle, counts):
        self.idle, self.counts, self.came = idle, counts, b""

    def connection_made(self, transport):
        self.transport = transport

    def ask(self):
        self.transport.write(self.REQUEST)

    def data_received(self, data):
        self.came += data
        top, whole, rest = self.came.partition(b"\r\n\r\n")
        if not whole:
            return
        length = int(top.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(rest) >= length:
            status = top.split()[1].decode()
            self.counts[status] = self.counts.get(status, 0) + 1
            self.came = b""
            self.idle.append(self)

    def connection_lost(self, _):
        if self in self.idle:
            self.idle.remove(self)


async def log_in(gateway, share, load):
    """So many logins in a second, whether those before are answered or not."""
    loop, idle, counts = asyncio.get_running_loop(), [], {}

    async def connect():
        _, login = await loop.create_connection(
            lambda: Login(idle, counts), "127.0.0.1", gateway.port, ssl=gateway.tls,
            server_hostname="localhost")
        return login

    for _ in range(int(share)):
        idle.append(await connect())
    begun, asked, warm = time.monotonic(), 0, 3.0
    counted = begun
    while not load.over.is_set():
        while asked < (time.monotonic() - begun) * share:
            # As long as there are too few, one more connection.
            login = idle.pop() if idle else await connect()
            login.ask()
            asked += 1
        if warm and time.monotonic() - begun > warm:
            warm, counted = None, time.monotonic()
            counts.clear()
            before = asked
            load.ready.set()
        await asyncio.sleep(0.005)
    lasted = time.monotonic() - counted
    return {"offered": (asked - before) / lasted} | {
        status: count / lasted for status, count in counts.items()}


def slow(gateway, scale):
    """Clients that send heads and bodies by the byte, and such as hardly read."""
    count, requests = int(1000 * scale), int(2000 * max(scale, 0.1))
    alone = measure(gateway, "nobody else", requests)
    before = gateway.memory()
    among, memory, _ = beside(dawdle, gateway, count, f"among {count} slow clients", requests)
    told("  memory of each slow one: KiB", f"{(memory - before) / count:.1f}")
    compared(alone, among)


def logins(gateway, scale):
    """Five hundred logins asked for in a second, far more than can be hashed."""
    wanted, requests = int(LOGINS * min(scale, 1.0)), int(2000 * max(scale, 0.1))
    alone = measure(gateway, "nobody else", requests)
    among, _, rates = beside(log_in, gateway, wanted, f"among {wanted} logins a second", requests)
    total = {key: sum(rate.get(key, 0) for rate in rates) for key in sorted(set().union(*rates))}
    offered = total.pop("offered")
    told("  logins offered in a second", f"{offered:.0f}", f"at least {wanted * 9 // 10}",
         offered >= wanted * 0.9)
    told("  answered in a second, by status",
         ", ".join(f"{status}: {rate:.0f}" for status, rate in total.items()))
    compared(alone, among)


def main():
    """The command line."""
    parts = {"stream": stream, "idle": idle, "slow": slow, "logins": logins}
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("parts", nargs="*", help="default: all")
    parser.add_argument("--program", type=pathlib.Path, default=here / "target/release/sallyport")
    parser.add_argument("--scale", type=float, default=1.0, help="1: as much as is claimed")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(parts):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(parts)}")
    if not asked.program.is_file():
        raise SystemExit(f"there is no {asked.program}: cargo build --release, or --program PATH")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    app = Application()
    app.start()
    for name in asked.parts or parts:
        print(f"\n== {name}: {parts[name].__doc__}", flush=True)
        with Gateway(asked.program.resolve(), app, users=1 if name == "logins" else 0) as gateway:
            parts[name](gateway, asked.scale)
    if failed:
        raise SystemExit(f"{len(failed)} bounds were not kept: {', '.join(failed)}")
    print(f"\nall bounds were kept ({os.cpu_count()} CPUs)")


if __name__ == "__main__":
    sys.exit(main())
