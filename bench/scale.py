# SPDX-License-Identifier: GPL-2.0-only
"""How the numbers grow, natively: with the tunnels of a host, and with the kinds of drop.

Where the machine's kernel has no GRE, links of type vxlan stand for tunnels: netlink dumps
both alike. The verdict's own cost is taken over GRE tunnels that exist in memory only.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from statistics import median

from bench.tracing import peak_memory
from gretrace.kernel.lookup import Tables
from gretrace.model import Drop, Place, Tunnel
from gretrace.verdicts import Case, explain
from gretrace.wire.packet import parse_packet
from tests.frames import gre_packet
from tests.lab.hosts import A, B, Host, hosts, pair, run

GRETRACE = str(Path(sys.executable).with_name("gretrace"))
COUNTS = (10, 100, 1_000, 10_000)
KINDS = (1, 100, 10_000, 100_000)
ROUNDS = 5
PATIENCE = 120


@contextmanager
def explaining(host: Host, *options):
    """Run `explain-drop` in a namespace; gives the process, the seconds to ready, the output."""
    with tempfile.TemporaryDirectory() as directory:
        ready, out = Path(directory) / "ready", Path(directory) / "out"
        command = ["ip", "netns", "exec", host.name, GRETRACE, "explain-drop", "-o", "json"]
        with out.open("wb") as sink:
            began = time.perf_counter()
            process = subprocess.Popen(
                [*command, "--ready-file", str(ready), *options], stdout=sink
            )
        try:
            while not ready.exists():
                if process.poll() is not None or time.perf_counter() - began > PATIENCE:
                    raise RuntimeError("explain-drop does not start")
                time.sleep(0.002)
            yield process.pid, time.perf_counter() - began, out
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def tunnels():
    """Return rows of what a host with many tunnels costs."""
    return [_with_tunnels(count) for count in COUNTS]


def _with_tunnels(count):
    with hosts("many") as (host,):
        lines = [f"link add t{n} type vxlan id {n + 1} dstport 4789" for n in range(count)]
        run("ip", "-n", host.name, "-batch", "-", stdin="\n".join(lines) + "\n")
        starts, sizes = [], []
        for _ in range(ROUNDS):
            with explaining(host) as (pid, seconds, _):
                starts.append(seconds)
                sizes.append(peak_memory(pid))
    return {
        "tunnels": count,
        "start": median(starts),
        "memory": median(sizes),
        "verdict": verdict_cost(count),
    }


def verdict_cost(count):
    """Microseconds of one verdict among a number of tunnels, one of which has another key."""
    table = Tables([
        Tunnel(
            f"gre{n}", n + 1, 1, "gre", local=ip_address(B),
            remote=ip_address(0x14010002 + n), ikey=1, okey=1,
        )
        for n in range(count)
    ])  # fmt: skip
    spent = []
    for key in range(2, 202):
        packet = parse_packet(gre_packet("20.1.0.5", B, key=key))
        drop = Drop(Place("gre_rcv", "ip_gre"), "NOT_SPECIFIED", 1, 7, False, packet, 1, 0, 0)
        began = time.perf_counter()
        verdict = explain(Case(drop, table))
        spent.append(time.perf_counter() - began)
        if verdict.cause != "key-mismatch":
            raise RuntimeError(f"the verdict is {verdict.cause}")
    return median(spent) * 1e6


def kinds():
    """Return rows of what many different drops cost: each key is a kind of its own."""
    return [_with_kinds(count) for count in KINDS]


def _with_kinds(count):
    with (
        pair() as (a, b),
        explaining(b, "--capacity", str(2 * count)) as (pid, _, out),
    ):
        send = a.sender("va")
        began = time.perf_counter()
        for key in range(count):
            send(gre_packet(A, B, key=key))
        while out.read_bytes().count(b"\n") < count:
            if time.perf_counter() - began > PATIENCE:
                raise RuntimeError(f"not all of {count} kinds were explained")
            time.sleep(0.05)
        return {
            "kinds": count,
            "seconds": time.perf_counter() - began,
            "memory": peak_memory(pid),
            "cpu": _cpu_seconds(pid),
        }


def _cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
