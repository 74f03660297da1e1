#!/usr/bin/env python3
"""An hour of a busy site in some minutes: requests over HTTP/1.1 and HTTP/2, logins, refreshes by
endpoint and in passing, WebSockets, logouts, new connections and slow clients, all at once. Starts a
gateway and an application of its own on the loopback; fails if an answer is not the expected one, if
the gateway tells of an error or counts other things than were done, or if its memory grows.

    benches/soak.py                     an hour's worth, with target/release/sallyport
    benches/soak.py --hours 0.1
    benches/soak.py --program PATH

An hour is 3,600,000 requests, 3,600 people who come, stay for a while and go, and 36,000 refreshes.
Needs Python 3.10 or newer and nothing besides. Figures are told in docs/PERFORMANCE.md.
"""

import argparse
import asyncio
import collections
import multiprocessing
import os
import pathlib
import resource
import ssl
import statistics
import sys
import tempfile
import time
import traceback

import loopback

# What differs from the defaults: one address calls for all, all log in to one account, hashing is
# cheaper than a login would be worth (its memory is returned after each all the same), and tokens live
# for half a minute, so that an hour's worth of expiries comes in minutes.
CONFIG = """
[listen]
https = "127.0.0.1:0"
admin = "127.0.0.1:0"
public_url = "https://localhost"
[session]
access_ttl = "30s"
[password]
memory = "8MiB"
iterations = 1
[limits]
connections_per_network = 5000
header_timeout = "5s"
body_stall_timeout = "5s"
write_stall_timeout = "5s"
[attempts]
{attempts}
[log]
access = {{ file = "/dev/null" }}
[[upstream]]
name = "app"
servers = ["http://127.0.0.1:{port}"]
[[route]]
path = "/**"
upstream = "app"
access = "required"
"""
LIMITS = ("per_account_and_network", "per_network", "per_account", "per_device")

# An hour of it.
QUOTAS = {"requests": 3_600_000, "logins": 3_600, "refreshes": 36_000, "sockets": 3_600}
# Tokens that are to be seen before memory is looked at: as many as two cores remember, and more.
FILL = 20_000
BURST = 16
SLOW = 200
# More memory in the last third than in the first, as a share and in KiB, whichever is more.
GROWTH, SLACK = 0.05, 4096

ACCESS, REFRESH = "__Host-sallyport_access", "__Host-sallyport_refresh"
FIELDS = [("user-agent", "soak"), ("accept", "*/*"), ("sec-fetch-site", "same-origin")]


class Person:
    """One who is logged in, over a connection of their own."""

    def __init__(self, gateway, tally):
        self.gateway, self.tally = gateway, tally
        self.stream = gateway.connect()
        self.jar = loopback.log_in(self.stream)
        self.since = time.monotonic()
        tally("logins")

    def cookie(self, *names):
        return "; ".join(f"{name}={self.jar[name]}" for name in names)

    def fields(self, *names):
        lines = [*FIELDS, ("host", "localhost"), ("cookie", self.cookie(*names))]
        return "".join(f"{name}: {value}\r\n" for name, value in lines)

    def ask(self, *names, expect=200):
        """Asks for something that only those who are logged in may have."""
        request = f"GET /some/page HTTP/1.1\r\n{self.fields(*names)}\r\n".encode()
        head, body = loopback.exchange(self.stream, request)
        right(loopback.status(head) == expect, head)
        right(expect != 200 or body == loopback.ANSWER, body)
        self.tally("requests" if expect == 200 else "refused")
        return head

    def refresh(self):
        """A new pair, by the endpoint."""
        head, body = loopback.exchange(
            self.stream, loopback.post("/auth/refresh", {}, Cookie=self.cookie(REFRESH)))
        right(loopback.status(head) == 200, head + body)
        self.keep(head)

    def refresh_in_passing(self):
        """The same, as for a browser whose access cookie has ended."""
        self.keep(self.ask(REFRESH))

    def keep(self, head):
        new = loopback.cookies(head)
        right(ACCESS in new and new[REFRESH] != self.jar[REFRESH], head)
        self.jar |= new
        self.since = time.monotonic()
        self.tally("refreshes")

    def talk(self, messages=10):
        """A WebSocket with some messages."""
        with self.gateway.connect() as stream:
            stream.sendall((
                f"GET /socket HTTP/1.1\r\n{self.fields(ACCESS)}Connection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = stream.recv(1)
                right(piece, b"no answer to a handshake: " + head)
                head += piece
            right(loopback.status(head) == 101, head)
            for number in range(messages):
                # A masked frame of text (RFC 6455 section 5.2).
                frame = b"\x81\x8a\0\0\0\0" + b"%010d" % number
                stream.sendall(frame)
                come = b""
                while len(come) < len(frame):
                    piece = stream.recv(65536)
                    right(piece, b"a socket was closed")
                    come += piece
                right(come == frame, come)
        self.tally("sockets")

    def leave(self):
        """Logs out, after which nothing is to be had any more."""
        head, body = loopback.exchange(
            self.stream, loopback.post("/auth/logout", {}, Cookie=self.cookie(ACCESS, REFRESH)))
        right(loopback.status(head) == 200, head + body)
        self.tally("logouts")
        self.ask(ACCESS, REFRESH, expect=401)
        self.stream.close()


def right(holds, said):
    if not holds:
        raise AssertionError(said)


def people(gateway, tally, stop):
    """People who come, refresh, ask, talk, and go."""
    while not stop.is_set():
        person = Person(gateway, tally)
        for turn in range(10):
            person.refresh() if turn % 2 else person.refresh_in_passing()
            person.ask(ACCESS)
        person.talk()
        person.leave()


def requests(gateway, tally, stop):
    """A page that asks for much at once, over connections that are made anew now and then."""
    person = Person(gateway, tally)
    answer = None
    while not stop.is_set():
        if time.monotonic() - person.since > 15:
            person.refresh()
        one = f"GET /some/page HTTP/1.1\r\n{person.fields(ACCESS)}\r\n".encode()
        head, body = loopback.exchange(person.stream, one)
        right(loopback.status(head) == 200, head)
        answer = len(head) + 4 + len(body)
        for _ in range(100):
            person.stream.sendall(one * BURST)
            come = bytearray()
            while len(come) < answer * BURST:
                piece = person.stream.recv(65536)
                right(piece, b"the gateway closed")
                come += piece
            right(come.count(b"HTTP/1.1 200 OK\r\n") == BURST and len(come) == answer * BURST, come)
            tally("requests", BURST)
        tally("requests")
        person.stream.close()
        person.stream = gateway.connect()
    person.leave()


def streams(gateway, tally, stop):
    """The same over HTTP/2, one after the other."""
    person = Person(gateway, tally)
    while not stop.is_set():
        person.refresh()
        with gateway.connect("h2") as stream:
            ask = loopback.Http2(stream, "/some/page", FIELDS, person.cookie(ACCESS))
            while time.monotonic() - person.since < 15 and not stop.is_set():
                for _ in range(100):
                    ask()
                tally("requests", 100)
                tally("streams", 100)
    person.leave()


def slow(gateway, tally, stop):
    """Clients that send heads and bodies by the byte, and such as read nothing, until they are cut
    off; then they come again."""
    tls = ssl.create_default_context(cafile=gateway.certificate)

    async def one(kind):
        while not stop.is_set():
            try:
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", gateway.ports["https"], ssl=tls, server_hostname="localhost")
                if kind == 0:
                    parts = [b"GET / HTTP/1.1\r\nHost: localhost\r\n"] + [b"X: y\r\n"] * 90
                elif kind == 1:
                    parts = [b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\n"
                             b"Content-Type: application/json\r\nContent-Length: 90\r\n\r\n"]
                    parts += [b"x"] * 89
                else:
                    parts = [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200] * 90
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.5)
                    if stop.is_set():
                        break
                writer.transport.abort()
            except (OSError, ssl.SSLError):
                pass
            tally("slow")

    async def all_():
        tasks = [asyncio.create_task(one(number % 3)) for number in range(SLOW)]
        while not stop.is_set():
            await asyncio.sleep(0.2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(all_())


def work(role, gateway, counts, stop, broken):
    """One process that plays a role until it shall stop."""
    def tally(what, number=1):
        counts[what].value += number
    try:
        role(gateway, tally, stop)
    except BaseException:
        traceback.print_exc()
        broken.set()


KINDS = ("requests", "streams", "logins", "refreshes", "sockets", "logouts", "refused", "slow")


def main():
    """The command line."""
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", type=pathlib.Path, default=here / "target/release/sallyport")
    parser.add_argument("--hours", type=float, default=1.0, help="1: as much as is claimed")
    asked = parser.parse_args()
    if not asked.program.is_file():
        raise SystemExit(f"there is no {asked.program}: cargo build --release, or --program PATH")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    quotas = {what: int(number * asked.hours) for what, number in QUOTAS.items()}
    app = loopback.Application()
    app.start()
    attempts = "\n".join(f'{key} = {{ count = 1000000, per = "1m" }}' for key in LIMITS)
    config = CONFIG.format(port=app.port, attempts=attempts)
    with tempfile.NamedTemporaryFile() as log, loopback.Site(asked.program.resolve(), config) as site:
        with loopback.Gateway(site, log=log.name) as gateway:
            failed = soak(gateway, quotas)
        failed += [f"the gateway told: {line.decode(errors='replace').strip()}"
                   for line in log if b" ERROR " in line or b" WARN " in line]
    app.terminate()
    if failed:
        raise SystemExit("\n".join(failed))
    print(f"all was as expected ({os.cpu_count()} CPUs)")


def soak(gateway, quotas):
    """Everybody works until all quotas are met; what was not as it should be."""
    stop, broken = multiprocessing.Event(), multiprocessing.Event()
    warm = multiprocessing.Event()
    roles = [(requests, stop)] * 3 + [(people, stop)] * 4 + [(streams, stop), (slow, stop)]
    roles += [(people, warm)] * 20
    # Each worker has counters of its own, so that none waits for another.
    tallies = [{kind: multiprocessing.Value("q", lock=False) for kind in KINDS} for _ in roles]
    workers = [
        multiprocessing.Process(target=work, args=(role, gateway, tally, until, broken), daemon=True)
        for (role, until), tally in zip(roles, tallies)
    ]

    def counts():
        return collections.Counter(
            {kind: sum(tally[kind].value for tally in tallies) for kind in KINDS})

    def told(what, since):
        done = counts() - begun
        print(f"{what}, {time.monotonic() - since:.0f} s: "
              + ", ".join(f"{done[kind]:,} {kind}" for kind in KINDS), flush=True)

    begun, since, filling, sampled = counts(), time.monotonic(), [], []
    for worker in workers:
        worker.start()
    while not broken.is_set() and counts()["refreshes"] < FILL:
        time.sleep(0.5)
        filling.append(gateway.memory())
    told("before", since)
    warm.set()
    begun, since = counts(), time.monotonic()
    while not broken.is_set() and any(
            counts()[what] - begun[what] < quota for what, quota in quotas.items()):
        time.sleep(0.5)
        sampled.append(gateway.memory())
    told("measured", since)
    stop.set()
    for worker in workers:
        worker.join(60)
    done = counts()
    if broken.is_set():
        return ["an answer was not as expected"]
    return judged(gateway.metrics(), done) + flat(filling, sampled)


def judged(metrics, done):
    """Holds what the gateway has counted against what was done."""
    def told(name, *labels):
        return int(sum(value for key, value in metrics.items()
                       if key.split("{")[0] == name and all(label in key for label in labels)))

    expected = [
        ("logins", told("sallyport_logins_total", 'outcome="begun"'), done["logins"]),
        ("logins in all", told("sallyport_logins_total"), done["logins"]),
        ("streams", told("sallyport_streams_open"), 0),
        ("answers 5xx", told("sallyport_requests_total", 'class="5xx"'), 0),
        ("access lines or audit events lost",
         told("sallyport_access_lines_dropped_total") + told("sallyport_audit_events_lost_total"), 0),
        ("upstream errors", told("sallyport_upstream_errors_total"), 0),
    ]
    failed = [f"{what}: the gateway counts {counted}, and {right_} is right"
              for what, counted, right_ in expected if counted != right_]
    answered = told("sallyport_requests_total", 'class="2xx"')
    least = done["requests"] + done["logins"] + done["logouts"]
    if answered < least:
        failed.append(f"the gateway counts {answered} good answers, and there were {least}")
    return failed


def flat(filling, sampled):
    """Whether the last third has more memory than the first. What is remembered grows to its bound and
    is cut back, again and again, so that it is the highest of each that is compared; and the median of
    the last with that of all before, which chance moves less."""
    third = len(sampled) // 3
    if third < 3:
        return ["it was over too soon to say anything of memory"]
    parts = [filling, sampled[:third], sampled[third:-third], sampled[-third:]]
    highest = [max(part) for part in parts]
    shown = ", ".join(f"{one / 1024:.1f}" for one in highest)
    middle = [statistics.median(sampled[:-third]), statistics.median(sampled[-third:])]
    print(f"memory at the highest, before and in each third: {shown} MiB; the median of the last and of "
          f"those before: {middle[1] / 1024:.1f}, {middle[0] / 1024:.1f} MiB; in the end "
          f"{statistics.median(sampled[-10:]) / 1024:.1f} MiB", flush=True)
    return [f"memory grows: {what} {before:.0f} KiB before, {last:.0f} KiB in the last third"
            for what, before, last in [("at the highest", max(highest[:2]), highest[-1]),
                                       ("at the median", middle[0], middle[1])]
            if last - before > max(before * GROWTH, SLACK)]


if __name__ == "__main__":
    sys.exit(main())
