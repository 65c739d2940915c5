# SPDX-License-Identifier: GPL-2.0-only
"""What strangers can do to a run of root: it says what is wrong, and ends when it is told to.

A host that has no handler for protocol 47 drops every packet of it; before that, a firewall may.
"""

import json
import os
import random
import re
import resource
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.children import piped
from tests.frames import gre_packet, ipv4
from tests.lab.hosts import A, B, pair, run
from tests.lab.session import explain_drop

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)

GRETRACE = Path(sys.executable).parent / "gretrace"
# Seconds: a fault is reported, and the end comes, so soon whatever goes on.
SOON = 3.0


def soon():
    """The same on a machine that has more to do than it has processors."""
    return SOON * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def load(host, ruleset):
    run("ip", "netns", "exec", host.name, "nft", "-f", "-", stdin=ruleset)


def mesh(depth, width):
    """Chains with width ** depth ways through them."""
    jumps = [f"jump c{n + 1}\n" * width for n in range(depth)]
    chains = [f"chain c{n} {{\n{j}}}\n" for n, j in enumerate(jumps)]
    return (
        f"table inet f {{\nchain c{depth} {{\nct mark 5 drop\n}}\n{''.join(reversed(chains))}"
        "chain in {\ntype filter hook input priority 0; policy drop\njump c0\n}\n}\n"
    )


def ordinary(count):
    """A rule for each of many sources, and a policy that drops the rest."""
    rules = "".join(f"ip saddr 10.{n >> 8}.{n & 255}.0/24 counter drop\n" for n in range(count))
    return (
        "table inet f {\nchain in {\ntype filter hook input priority 0; policy drop\n"
        f"{rules}}}\n}}\n"
    )


def backlog_drops():
    """How many packets found the backlog of a processor full, of whatever device.

    So many a busy machine loses before the host has them (enqueue_to_backlog()).
    """
    lines = Path("/proc/net/softnet_stat").read_text().splitlines()
    return sum(int(line.split()[1], 16) for line in lines)


def backlog():
    """How many packets of one device can wait for the processors at most.

    Each has two queues of that length: where packets come in, and what it has taken
    from there to work on (process_backlog() splices the one to the other).
    """
    length = int(Path("/proc/sys/net/core/netdev_max_backlog").read_text())
    return 2 * length * os.cpu_count()


def seconds_to_end(session, number=signal.SIGTERM):
    begin = time.monotonic()
    session.stop(number)
    return time.monotonic() - begin


def seconds_to_report(session, condition):
    begin = time.monotonic()
    session.wait_for(lambda reports: any(condition(r) for r in reports), "report")
    return time.monotonic() - begin


def unjudged(said):
    """The packets that it had no time for at the end."""
    counted = re.search(r"(\d+) dropped packets were counted, and not judged", said)
    return int(counted[1]) if counted else 0


def test_a_mesh_of_chains_does_not_hold_it_up():
    with pair() as (a, b), explain_drop(b) as session:
        # The kernel goes all the ways, for each packet: half a second.
        load(b, mesh(depth=12, width=4))
        a.send("va", gre_packet(A, B, key=7))
        assert seconds_to_report(session, lambda r: r["key"] == 7) < soon()
        assert seconds_to_end(session) < soon()
        (report,) = session.reports
        assert report["cause"] == "firewall-outer"
        assert "“ct mark 5 drop”" in report["summary"]


def test_many_rules_and_many_forged_packets_do_not_hold_it_up():
    kinds = 5000
    with pair() as (a, b), explain_drop(b) as session:
        load(b, ordinary(5000))
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        send = a.sender("va")
        for key in range(kinds):
            send(gre_packet(f"30.0.{key >> 8}.{key & 255}", B, key=key))
        time.sleep(0.5)
        a.send("va", gre_packet(A, B, key=10**9))
        assert seconds_to_report(session, lambda r: r["key"] == 10**9) < soon()
        assert seconds_to_end(session) < soon()
        told = sum(report["count"] for report in session.reports)
        # On a busy machine it is told to end before it has judged them all.
        assert told + unjudged(session.stderr) == kinds + 1
        (summary,) = (r["summary"] for r in session.reports if r["key"] == 10**9)
        too_busy = soon() > SOON and "as nft takes longer than" in summary
        assert too_busy or "the policy drop of chain in" in summary
        # Two programs that share a core take longer for the same.
        limit = 8 * soon() / SOON
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used < limit


def test_the_end_is_heard_amid_very_many_kinds():
    with pair() as (a, b), explain_drop(b, "--capacity", "20000") as session:
        load(b, ordinary(5000))
        send, before = a.sender("va"), backlog_drops()
        for key in range(10_000):
            send(gre_packet(A, B, key=key))
        assert seconds_to_end(session) < soon()
        told = sum(report["count"] for report in session.reports)
        came = 10_000 - (backlog_drops() - before)
        # The rest was still on its way to the firewall.
        assert came - backlog() < told + unjudged(session.stderr) <= came


@contextmanager
def unread(host, *arguments):
    """A run whose output nobody reads."""
    command = ["ip", "netns", "exec", host.name, GRETRACE, "explain-drop", *arguments]
    with piped(command) as child:
        child.hear(b"gretrace: ready\n")
        yield child


@pytest.mark.parametrize("kind", ["json", "table"])
def test_a_reader_that_has_stopped_to_read_does_not_hold_up_the_end(kind):
    with pair() as (a, b), unread(b, "-o", kind) as child:
        send = a.sender("va")
        for key in range(2000):
            send(gre_packet(A, B, key=key))
        time.sleep(1)
        begin = time.monotonic()
        child.terminate()
        assert child.wait(10) == 1
        assert time.monotonic() - begin < soon()
        said = child.stderr.read()
        assert said == b"gretrace: nobody reads what it says; it ended without the rest\n"
        lines = child.stdout.read().split(b"\n")
        # What it had no room for it has not begun to write.
        assert lines[-1] == b"" if kind == "json" else lines
        if kind == "json":
            assert [json.loads(line) for line in lines[:-1]]


def test_a_second_signal_ends_it_at_once():
    with pair() as (a, b), unread(b, "-o", "json") as child:
        send = a.sender("va")
        for key in range(2000):
            send(gre_packet(A, B, key=key))
        time.sleep(0.5)
        child.terminate()
        time.sleep(0.2)
        begin = time.monotonic()
        child.terminate()
        assert child.wait(10) == -signal.SIGTERM
        assert time.monotonic() - begin < soon()


AT_ONCE, ROUNDS = 6, 10
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def attached():
    """How many drop programs the kernel has, of whomever."""
    return run("bpftool", "prog", "show").stdout.count("name count_drop")


def test_signals_at_any_time_leave_nothing_attached_and_no_broken_line():
    dice = random.Random(6)
    endings = set()
    with pair() as (a, b):
        send = a.sender("va")
        command = ["ip", "netns", "exec", b.name, GRETRACE, "explain-drop", "-o", "json"]
        before = attached()
        for number in range(ROUNDS):
            is_ready = number % 2  # half of them amid the work, the others while it starts
            with ExitStack() as stack:
                children = [stack.enter_context(piped(command)) for _ in range(AT_ONCE)]
                for child in children if is_ready else ():
                    child.hear(b"gretrace: ready\n")
                began = time.monotonic()
                moments = sorted(dice.uniform(0, 0.4) for _ in children)
                for moment, child in zip(moments, children, strict=True):
                    while time.monotonic() < began + moment:
                        send(gre_packet(A, B, key=dice.randrange(1 << 32)))
                        time.sleep(0.001)  # they need the processors too
                    child.send_signal(dice.choice(SIGNALS))
                said = [child.communicate() for child in children]
            endings |= {child.returncode for child in children}
            for out, err in said:
                assert out == b"" or out.endswith(b"\n"), out[-300:]
                assert all(json.loads(line)["cause"] for line in out.splitlines())
                if is_ready:
                    assert b"Traceback" not in err, err
        # The kernel frees what a killed process held a moment later.
        deadline = time.monotonic() + 20
        while attached() > before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert attached() <= before
    assert {3, -signal.SIGKILL} <= endings, endings


def test_after_an_attack_a_real_fault_is_told():
    """A mesh of chains, a scan of random keys and garbage, and then one packet of a peer."""
    with pair() as (a, b), explain_drop(b) as session:
        load(b, mesh(depth=5, width=4))
        send = a.sender("va")
        for number in range(2000):
            send(gre_packet(f"30.1.{number >> 8}.{number & 255}", B, key=number))
            send(ipv4(A, B, 47, os.urandom(number % 60)))
        a.send("va", gre_packet(A, B, key=10**9))
        assert seconds_to_report(session, lambda r: r["key"] == 10**9) < soon()
        assert seconds_to_end(session) < soon()
        assert "Traceback" not in session.stderr
