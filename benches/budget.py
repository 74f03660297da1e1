#!/usr/bin/env python3
"""How many instructions a request costs, counted by valgrind's callgrind, held against a budget.

    benches/budget.py              counts all, and fails if one costs 3 % more than budget.json says,
                                   or if what must not grow does
    benches/budget.py --bless      counts all and writes budget.json anew
    benches/budget.py h1 growth    these alone
    benches/budget.py --full       growth up to a million sessions instead of a tenth (minutes more)
    benches/budget.py --program PATH

The whole gateway runs under callgrind, with one core and its defaults; callers and the application are
programs of their own, so that they count for nothing. A connection asks one thing after the other,
which makes every request the same: all that happens at its core's thread from one request to the next
is counted, in user space. Hash seeds and keys are drawn anew in each run, as in operation: they move a
count by less than a thousandth. What does move it is the compiler, the C library, valgrind and the
vector instructions that it knows: budget.json names those it was recorded with, and under others
nothing is compared but what a run says about itself, such as growth.

Needs valgrind, Python 3.10 or newer and nothing besides.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid

import loopback

HERE = pathlib.Path(__file__).resolve().parent
RECORD = HERE / "budget.json"
# More than this above the budget is a failure; as much below it is told.
MARGIN = 0.03

# What only a core's thread goes through, and what only a thread that hashes. The others look after the
# store by the clock, and not by the request: the slower the machine, the more they would seem to cost
# one. They are less than a hundredth in all.
CORE, HASHING = "sallyport::journey::", "argon2::Argon2::"

CONFIG = """
[listen]
https = "127.0.0.1:0"
public_url = "https://localhost"
cores = 1
[session]
access_ttl = "24h"
[token]
algorithm = "{algorithm}"
[log]
access = {{ file = "access.log" }}
[[upstream]]
name = "app"
servers = [{servers}]
pool_idle = 2000
pool_idle_timeout = "1m"
"""
ROUTE = '\n[[route]]\npath = "{path}"\nupstream = "app"\naccess = {access}\n'
PATH = "/section-00005/a/item/7?page=2"

# As a browser's script sends them.
FIELDS = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "application/json, text/plain, */*"),
    ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://localhost/section-00005/"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-origin"),
]


def config(app, routes=100, servers=1, algorithm="HS256"):
    """The defaults with this many routes, the last of which takes what no other does."""
    # All of 127.0.0.0/8 leads to the one application.
    addresses = (f'"http://127.0.{n // 250}.{n % 250 + 1}:{app.port}"' for n in range(servers))
    text = [CONFIG.format(algorithm=algorithm, servers=", ".join(addresses))]
    for number in range(routes - 1):
        path = f"/section-{number:05}/*/item/**"
        access = ('"public"', '"optional"', '"required"')[number % 3]
        text.append(ROUTE.format(path=path, access=access))
    text.append(ROUTE.format(path="/**", access='"required"'))
    return "".join(text)


class Counted:
    """A gateway under callgrind, and one who is logged in."""

    def __init__(self, program, text, prepare=None):
        with contextlib.ExitStack() as held:
            self.folder = held.enter_context(tempfile.TemporaryDirectory(prefix="sallyport-budget."))
            site = held.enter_context(loopback.Site(program, text))
            # Not under callgrind: the hashing thread steps back behind all others, and would keep
            # valgrind's one lock from them for as long as the machine has anything else to do.
            with loopback.Gateway(site) as gateway, gateway.connect() as stream:
                known = loopback.log_in(stream)
            self.cookie = "; ".join(f"{name}={value}" for name, value in known.items())
            if prepare:
                prepare(site.path)
            wrapper = [
                "valgrind", "--quiet", "--tool=callgrind",
                f"--callgrind-out-file={self.folder}/callgrind",
                # A core is a thread. Until the first request nothing is worth counting.
                "--separate-threads=yes", "--instr-atstart=no",
            ]
            self.gateway = held.enter_context(loopback.Gateway(site, wrapper))
            self.tell("instrumentation", "on")
            self.held = held.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.held.close()

    def tell(self, *words):
        """Says something to callgrind, and waits until it has done it."""
        done = subprocess.run(
            ["vgdb", f"--pid={self.gateway.process.pid}", *words], capture_output=True, timeout=120)
        if done.returncode:
            raise SystemExit(f"callgrind does not listen: {done.stderr.decode()}")

    def count(self, caller, warm, times, through=CORE):
        """What one call costs the threads that go through that, and what it costs all others."""
        for _ in range(warm):
            caller()
        self.tell("zero")
        for _ in range(times):
            caller()
        folder = pathlib.Path(self.folder)
        for old in folder.iterdir():
            old.unlink()
        self.tell("dump", "counted")
        counts = {True: 0, False: 0}
        for file in folder.iterdir():
            profile = file.read_text(encoding="utf-8", errors="replace")
            total = profile.partition("\nsummary:")[2].split(maxsplit=1)
            counts[through in profile] += int(total[0]) if total else 0
        if not counts[True]:
            raise SystemExit(f"no thread went through {through}: is it called something else?")
        return counts[True] / times, counts[False] / times


class Http1:
    """Asks over HTTP/1.1."""

    def __init__(self, counted, signed_in=True):
        self.stream = counted.gateway.connect()
        fields = [("host", "localhost"), *FIELDS]
        if signed_in:
            fields.append(("cookie", counted.cookie))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.request = f"GET {PATH} HTTP/1.1\r\n{lines}\r\n".encode()
        self.expected = 200 if signed_in else 401

    def __call__(self):
        head, _ = loopback.exchange(self.stream, self.request)
        if loopback.status(head) != self.expected:
            raise SystemExit(f"expected {self.expected}: {head!r}")


def fill(folder, sessions, revocations):
    """Puts that many live sessions and revocations into the store, as strangers would have left
    them."""
    now = int(time.time() * 1000)
    end = now + 24 * 3600 * 1000
    with contextlib.closing(sqlite3.connect(folder / "data/sallyport.db")) as store, store:
        (user,) = store.execute("SELECT id FROM users").fetchone()
        store.executemany(
            "INSERT INTO sessions (id, user_id, generation, seen_generation, refresh_key, "
            "refresh_token, refresh_issued_at, refresh_expires_at, rotated_at, auth_time, amr, "
            "expires_at, idle_expires_at, persistent, device, created_at) "
            "VALUES (?, ?, 1, 1, 'some', ?, ?, ?, ?, ?, '[\"pwd\"]', ?, ?, 1, 'Firefox', ?)",
            ((uuid.uuid4().bytes, user, os.urandom(16), now, end, now, now, end, end, now)
             for _ in range(sessions)))
        store.executemany(
            "INSERT INTO revocations (kind, subject, expires_at) VALUES ('session', ?, ?)",
            ((os.urandom(16), end) for _ in range(revocations)))


def pair(name, low, high, bound):
    """Holds a count against another of the same run."""
    more = high / low - 1
    holds = more <= bound
    print(f"  {name:<42} {low:>9.0f} {high:>9.0f} {more:>+8.2%}   at most {bound:+.0%}"
          f"{'' if holds else '   NOT KEPT'}", flush=True)
    return [] if holds else [f"{name}: {more:+.1%}"]


class Run:
    """All that is counted, each gateway once."""

    def __init__(self, program, full):
        self.program, self.full = program, full
        self.app = loopback.Application()
        self.app.start()
        self.known = {}

    def h1(self, warm=300, prepare=None, **settings):
        """One who is logged in, over HTTP/1.1, with such settings."""
        key = (prepare, *sorted(settings.items()))
        if key not in self.known:
            with Counted(self.program, config(self.app, **settings), prepare) as counted:
                self.known[key], _ = counted.count(Http1(counted), warm, 1000)
        return self.known[key]

    def budgets(self):
        """Every scenario of budget.json."""
        with Counted(self.program, config(self.app)) as counted:
            scenarios = {
                "h1": Http1(counted),
                "h2": loopback.Http2(
                    counted.gateway.connect("h2"), PATH, FIELDS, counted.cookie),
                "refused": Http1(counted, signed_in=False),
            }
            found = {name: counted.count(one, 300, 1000)[0] for name, one in scenarios.items()}
        self.known[(None,)] = found["h1"]
        return found

    def growth(self):
        """What must not cost more though there is more of it."""
        print("\n  what may grow: instructions of a request with less and with more of it", flush=True)
        failed = pair("10, 10,000 routes", self.h1(routes=10), self.h1(routes=10_000), 0.10)
        sessions, revocations = (1_000_000, 100_000) if self.full else (100_000, 10_000)
        failed += pair(
            f"empty, {sessions:,} sessions, {revocations:,} revoked", self.h1(),
            self.h1(prepare=lambda folder: fill(folder, sessions, revocations)), 0.05)
        # Each of them is to have its connection before anything is counted.
        failed += pair("1, 1,000 servers", self.h1(), self.h1(servers=1000, warm=1300), MARGIN)
        for algorithm in ("ES256", "EdDSA"):
            failed += pair(f"HS256, {algorithm}", self.h1(), self.h1(algorithm=algorithm), 0.05)
        with Counted(self.program, config(self.app)) as counted, counted.gateway.connect() as stream:
            hashing, rest = counted.count(lambda: loopback.log_in(stream), 1, 4, HASHING)
        return failed + pair("Argon2id, all of a login", hashing, hashing + rest, 0.02)


def surroundings(toolchain, given):
    """What moves a count and is not ours."""
    def said(*words):
        return subprocess.run(words, capture_output=True, text=True, check=True,
                              env=toolchain).stdout.split()
    flags = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return {
        "build": "of another kind" if given else "by profile budget",
        "rustc": said("rustc", "--version")[1],
        "valgrind": said("valgrind", "--version")[0].removeprefix("valgrind-"),
        "libc": os.confstr("CS_GNU_LIBC_VERSION") or "other",
        # Valgrind shows every program the same processor, but for this.
        "machine": platform.machine() + (" avx2" if " avx2" in flags else ""),
    }


def pinned(recorded):
    """An environment in which `cargo` and `rustc` are of the recorded version, if there is such."""
    wanted = recorded.get("rustc")
    rustup = shutil.which("rustup")
    if wanted and rustup:
        there = subprocess.run([rustup, "toolchain", "list"], capture_output=True, text=True).stdout
        own = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()
        if wanted not in own and any(line.startswith(f"{wanted}-") for line in there.splitlines()):
            return {**os.environ, "RUSTUP_TOOLCHAIN": wanted}
    return dict(os.environ)


def build(toolchain):
    """The gateway as it is counted: optimised, without the passes that take minutes."""
    cargo = ["cargo", "build", "--locked", "--profile", "budget", "--bin", "sallyport"]
    subprocess.run([*cargo, "--quiet"], cwd=HERE.parent, check=True, env=toolchain)
    about = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    found = subprocess.run(about, cwd=HERE.parent, check=True, capture_output=True, env=toolchain)
    return pathlib.Path(json.loads(found.stdout)["target_directory"]) / "budget/sallyport"


def compare(found, record, around):
    """Prints a line for each scenario; those that cost too much."""
    print("\n  what may be spent: instructions of a request, by the budget and now", flush=True)
    failed, cheaper = [], []
    if around != record["with"]:
        for name, count in found.items():
            print(f"  {name:<42} {'':>9} {count:>9.0f}")
        was = ", ".join(f"{what} {record['with'].get(what)}" for what in around)
        now = ", ".join(f"{what} {version}" for what, version in around.items())
        print(f"  NOT COMPARED. The budget was recorded with {was}; this is {now}. Counts of the two say"
              " nothing about each other: `budget.py --bless` records what is counted here.")
        return []
    for name, count in found.items():
        budget = record["instructions"].get(name)
        if budget is None:
            failed.append(f"{name}: there is no budget for it: --bless records one")
            continue
        more = count / budget - 1
        print(f"  {name:<42} {budget:>9} {count:>9.0f} {more:>+8.2%}   at most {MARGIN:+.0%}"
              f"{'' if more <= MARGIN else '   NOT KEPT'}", flush=True)
        if more > MARGIN:
            failed.append(f"{name}: {count:.0f} instructions a request instead of {budget}, {more:+.1%}")
        elif more < -MARGIN:
            cheaper.append(name)
    if cheaper:
        print(f"  {' and '.join(cheaper)}: cheaper than the budget by more than {MARGIN:.0%};"
              " --bless keeps it so")
    return failed


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("parts", nargs="*", help="h1, h2, refused, growth; default: all")
    parser.add_argument("--bless", action="store_true", help="records what is counted as the budget")
    parser.add_argument("--full", action="store_true", help="growth up to a million sessions")
    parser.add_argument("--program", type=pathlib.Path, help="default: built here")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - {"h1", "h2", "refused", "growth"}:
        parser.error(f"there is no {', '.join(unknown)}")
    if asked.bless and asked.program:
        parser.error("a budget is recorded of what is built here")
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {"with": {}, "instructions": {}}
    if missing := [tool for tool in ("valgrind", "vgdb", "cargo") if not shutil.which(tool)]:
        raise SystemExit(f"budget.py: there is no {', '.join(missing)}; apt-get install valgrind")
    toolchain = pinned({} if asked.bless else record["with"])
    program = asked.program.resolve() if asked.program else build(toolchain)
    around = surroundings(toolchain, asked.program)
    run, failed = Run(program, asked.full), []
    if not asked.parts or set(asked.parts) - {"growth"}:
        found = {name: count for name, count in run.budgets().items()
                 if not asked.parts or name in asked.parts}
        if asked.bless:
            # What was recorded under something else is of no use any more.
            kept = record["instructions"] if record["with"] == around else {}
            new = {name: round(count) for name, count in found.items()}
            record = {"with": around, "instructions": {**kept, **new}}
            RECORD.write_text(json.dumps(record, indent=2) + "\n")
        failed += compare(found, record, around)
    if not asked.parts or "growth" in asked.parts:
        failed += run.growth()
    run.app.terminate()
    if failed:
        raise SystemExit("budget.py: too much is spent:\n  " + "\n  ".join(failed)
                         + "\nIf it is worth it: benches/budget.py --bless, and the commit says why.")


if __name__ == "__main__":
    sys.exit(main())
