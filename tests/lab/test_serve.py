# SPDX-License-Identifier: GPL-2.0-only
"""`serve` in a real kernel: a fault is a metric, the mended tunnel another, each exact."""

import time

from tests.frames import answer, gre_packet
from tests.lab.hosts import INNER_A, A, B, pair, tunnel, tunnel_a, tunnel_b
from tests.lab.session import gretrace, running
from tests.scraped import PATIENCE, samples, scrape


def scraped_until(host, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition(found := samples(scrape(host))):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def test_a_fault_is_counted_by_cause_and_tunnel_and_the_tunnel_told_of():
    mismatch = ("gretrace_drops_total", "key-mismatch", "", "gre1")
    with pair() as (a, b):
        tunnel_a(a, "key 2")
        tunnel_b(b, "key 1")
        tunnel(b, f"local {B} remote 20.1.1.77", name="gre7", up=False)
        b.ip("link set lo up")
        gretrace(b, "respond", "gre1")
        with running(b, "serve") as session:
            found = samples(scrape(b))
            assert mismatch not in found
            assert found["gretrace_tunnel_up", "", "gre1"] == 1
            assert found["gretrace_tunnel_up", "", "gre7"] == 0
            a.send("va", gre_packet(A, B, key=2), times=5)
            found = scraped_until(b, lambda found: found.get(mismatch) == 5)
            assert sum(v for s, v in found.items() if s[0] == mismatch[0]) == 5
            received = ("gretrace_tunnel_receive_packets_total", "", "gre1")
            heard = ("gretrace_tunnel_last_received_timestamp_seconds", "", "gre1")
            assert found[received] == 0
            assert heard not in found
            # Mended, it receives, and what was counted stays.
            b.ip(f"link change gre1 type gre local {B} remote {A} key 2")
            began = time.time()
            assert b.ping(INNER_A)
            found = scraped_until(b, lambda found: found[received] > 0)
            assert found[mismatch] == 5
            assert began - 1 <= found[heard] <= time.time()
            assert found["gretrace_keepalives_answered_total", "", "gre1"] == 0
            a.send("va", gre_packet(A, B, answer(B, A), key=2), times=3)
            answered = ("gretrace_keepalives_answered_total", "", "gre1")
            scraped_until(b, lambda found: found[answered] == 3)
            # A tunnel that goes takes its series with it, and its count stays in the sum.
            b.ip("link del gre1")
            other = ("gretrace_other_tunnels_drops_total", "key-mismatch")
            found = scraped_until(b, lambda found: found.get(other) == 5)
            assert not [series for series in found if series[-1] == "gre1"]
            assert session.stop() == 0


def test_it_answers_keepalives_if_asked_to_and_so_on_tunnels_that_come():
    answered = "gretrace_keepalives_answered_total"
    with pair() as (a, b):
        tunnel_b(b, "key 1")
        b.ip("link set lo up")
        with running(b, "serve", "--respond") as session:
            a.send("va", gre_packet(A, B, answer(B, A), key=1), times=3)
            scraped_until(b, lambda found: found.get((answered, "", "gre1")) == 3)
            tunnel(b, f"local {B} remote {A} key 2", name="gre2")
            scraped_until(b, lambda found: found.get((answered, "", "gre2")) == 0)
            a.send("va", gre_packet(A, B, answer(B, A), key=2), times=2)
            scraped_until(b, lambda found: found.get((answered, "", "gre2")) == 2)
            assert "gre2: answered by" in session.stderr
            assert session.stop() == 0
        # They outlive it, and a restart finds them.
        a.send("va", gre_packet(A, B, answer(B, A), key=1))
        with running(b, "serve", "--respond") as session:
            scraped_until(b, lambda found: found.get((answered, "", "gre1")) == 4)
            assert session.stop() == 0
