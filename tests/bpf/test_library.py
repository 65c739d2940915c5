# SPDX-License-Identifier: GPL-2.0-only
"""gretrace.follow_drops() on the kernel that is running, which need have no GRE for that."""

import os
import signal
import time

import pytest

import gretrace
from tests.frames import gre_packet
from tests.lab.hosts import A, B, hosts, pair, run, wire

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)


def test_drops_are_followed_from_the_start_of_the_block():
    before = signal.getsignal(signal.SIGTERM)
    with pair() as (a, b), gretrace.follow_drops(str(b.namespace.path), duration=3) as reports:
        a.send("va", gre_packet(A, B, key=7), times=5)
        latest = {report.tuple.key: report for report in reports}
        assert signal.getsignal(signal.SIGTERM) is before
    (report,) = latest.values()
    assert (report.tuple.key, report.count) == (7, 5)
    assert str(report.tuple.remote) == A
    assert gretrace.to_dict(report)["count"] == 5


def test_only_what_was_asked_for_is_followed():
    with (
        pair() as (a, b),
        gretrace.follow_drops(str(b.namespace.path), key=8, duration=2) as reports,
    ):
        for key in (7, 8):
            a.send("va", gre_packet(A, B, key=key), times=2)
        assert {report.tuple.key for report in reports} == {8}


def test_a_namespace_that_is_deleted_is_let_go_of_and_ends_it():
    with hosts("a") as (a,), hosts("b") as (b,):
        wire(a, "va", f"{A}/24", b, "vb", f"{B}/24")
        with gretrace.follow_drops(b.name, duration=30) as reports:
            a.send("va", gre_packet(A, B, key=7), times=2)
            assert next(reports).tuple.key == 7
            began = time.monotonic()
            b.close()
            run("ip", "netns", "del", b.name)
            for _ in reports:
                pass
            assert time.monotonic() - began < 20
            # Held by nobody, it takes the other end of its wire along.
            while a.run("ip", "link", "show", "va", check=False).returncode == 0:
                assert time.monotonic() - began < 20, "it is still held"
                time.sleep(0.05)
