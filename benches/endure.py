#!/usr/bin/env python3
"""What takes too long for a run of all tests: large bodies, many connections, slow clients, a flood
of logins. Starts a gateway and an application of its own on the loopback, measures, and fails if a
bound is not kept.

    benches/endure.py                         all of it, with target/release/sallyport
    benches/endure.py stream idle             these alone
    benches/endure.py --program PATH --scale 0.1

Needs Python 3.10 or newer and nothing besides. Figures are told in docs/PERFORMANCE.md.
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
import statistics
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1024 * 1024
PIECE = b"x" * 65536

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


class Application(multiprocessing.Process):
    """Answers GET /down/BYTES with so many bytes, and anything else when its body has come."""

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
        taken = 0
        while taken < length:
            piece = reader.read(min(65536, length - taken))
            if not piece:
                return False
            taken += len(piece)
        path = line[1].decode()
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
        self.tls = ssl.create_default_context(cafile=str(folder / "certs/development.pem"))
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
    """Large bodies past a slow peer."""
    size = int(1024 * MIB * scale)
    before = gateway.memory()

    def peak():
        return gateway.memory("VmHWM") - before

    for name, pause in (("down", 0.0), ("down to a client that pauses", 1 / 1024)):
        part = size if pause == 0 else min(size, 256 * MIB)
        begun = time.monotonic()
        with gateway.connect(receive=65536) as client:
            client.sendall(f"GET /down/{part} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            _, rest = head(client)
            got = len(rest)
            while got < part:
                got += len(client.recv(65536))
                if pause:
                    time.sleep(pause)
        rate = part / MIB / (time.monotonic() - begun)
        told(f"{part // MIB} MiB {name}: MiB/s", f"{rate:.0f}")
        told("  highest memory above rest: MiB", f"{peak() / 1024:.1f}", "below 32", peak() < 32 * 1024)
    begun = time.monotonic()
    with gateway.connect() as client:
        client.sendall(
            f"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode())
        sent = 0
        while sent < size:
            sent += client.send(PIECE[: size - sent])
        _, rest = head(client)
        while len(rest) < len(str(size)):
            rest += client.recv(100)
        assert int(rest) == size, rest
    told(f"{size // MIB} MiB up: MiB/s", f"{size / MIB / (time.monotonic() - begun):.0f}")
    told("  highest memory above rest: MiB", f"{peak() / 1024:.1f}", "below 32", peak() < 32 * 1024)


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


async def slowly(gateway, kind, stop):
    """One slow client: of heads, bodies or reads. Begins anew when it is cut off."""
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", gateway.port, ssl=gateway.tls, server_hostname="localhost", limit=4096)
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
                if stop.is_set():
                    break
            writer.transport.abort()
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.2)


def beside(work, gateway, name, requests):
    """Measures an honest client while `work` goes on on a thread of its own."""
    stop, ready = threading.Event(), threading.Event()
    other = threading.Thread(target=work, args=(stop, ready))
    other.start()
    ready.wait(120)
    try:
        return measure(gateway, name, requests)
    finally:
        stop.set()
        other.join()


def slow(gateway, scale):
    """Clients that send heads and bodies by the byte, and such as hardly read."""
    count, requests = int(1000 * scale), int(2000 * max(scale, 0.1))
    alone = measure(gateway, "nobody else", requests)

    def work(stop, ready):
        async def run():
            tasks = [asyncio.create_task(slowly(gateway, n % 3, stop)) for n in range(count)]
            await asyncio.sleep(5)
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(run())

    before = gateway.memory()
    among = beside(work, gateway, f"among {count} slow clients", requests)
    told("  memory of each slow one: KiB", f"{(gateway.memory() - before) / count:.1f}")
    told("  p99 beside that alone", f"{among / alone:.1f}x", "below 10x or 50 ms",
         among < 10 * alone or among < 50)


def logins(gateway, scale):
    """Five hundred logins asked for in a second, far more than can be hashed."""
    requests = int(2000 * max(scale, 0.1))
    alone = measure(gateway, "nobody else", requests)
    counts = {}

    def work(stop, ready):
        async def one(until):
            body = b'{"username":"user0","password":"not the password at all"}'
            while not stop.is_set():
                try:
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", gateway.port, ssl=gateway.tls, server_hostname="localhost")
                    while not stop.is_set():
                        until[0] += 1 / 500
                        await asyncio.sleep(max(0, until[0] - time.monotonic()))
                        writer.write(
                            b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\n"
                            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                            + body)
                        top = await reader.readuntil(b"\r\n\r\n")
                        status = top.split()[1].decode()
                        counts[status] = counts.get(status, 0) + 1
                        for line in top.lower().split(b"\r\n"):
                            if line.startswith(b"content-length:"):
                                await reader.readexactly(int(line.split(b":")[1]))
                except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0.05)

        async def run():
            until = [time.monotonic()]
            tasks = [asyncio.create_task(one(until)) for _ in range(300)]
            await asyncio.sleep(3)
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(run())

    begun = time.monotonic()
    among = beside(work, gateway, "among logins", requests)
    each = {status: count / (time.monotonic() - begun) for status, count in sorted(counts.items())}
    told("  logins answered in a second, by status",
         ", ".join(f"{status}: {rate:.0f}" for status, rate in each.items()))
    told("  p99 beside that alone", f"{among / alone:.1f}x", "below 10x or 50 ms",
         among < 10 * alone or among < 50)


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
