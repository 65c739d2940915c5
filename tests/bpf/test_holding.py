# SPDX-License-Identifier: GPL-2.0-only
"""A namespace that is watched can go: nothing of it is held."""

import os
import time
from pathlib import Path

import pytest

from gretrace.host.namespaces import own_namespace
from tests.bpf.native import PATIENCE, watching
from tests.children import Child
from tests.frames import gre_packet
from tests.lab.hosts import hosts, run, wire

if os.geteuid() != 0:
    pytest.skip("loading BPF programs needs root", allow_module_level=True)

# Of nobody else who tests on this machine: all its namespaces are watched.
A, B = "20.77.1.2", "20.77.1.1"


def soon(what):
    deadline = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def has_device(host, name):
    return host.run("ip", "link", "show", name, check=False).returncode == 0


def is_running(host, name):
    """Whether a packet that is sent now arrives: carrier comes a moment after `up`."""
    return " state UP " in host.run("ip", "link", "show", name).stdout


def test_forty_namespaces_come_and_go_and_no_descriptor_stays():
    with hosts("a") as (a,), watching("--all-netns", "--remote", A) as session:
        before = session.descriptors()
        for _ in range(40):
            with hosts("b") as (b,):
                wire(a, "va", f"{A}/24", b, "vb", f"{B}/24")
                inode = b.namespace.inode
                assert soon(lambda: is_running(a, "va"))
                a.send("va", gre_packet(A, B))
                # By name, so it was entered: also where an inode is that of one before.
                assert session.wait_for(inode)["iif"] == "vb"
            assert soon(lambda: not has_device(a, "va"))
        assert soon(lambda: session.descriptors() == before), session.descriptors()


def test_the_namespace_of_a_process_goes_with_it():
    with (
        hosts("a") as (a,),
        watching("--all-netns", "--remote", A) as session,
        Child(["unshare", "-n", "sleep", "1000"]) as sleeper,
    ):
        before = session.descriptors()
        own = own_namespace().inode
        there = Path(f"/proc/{sleeper.pid}/ns/net")
        assert soon(lambda: there.stat().st_ino != own)
        inode = there.stat().st_ino
        mac, peer = b"\x02\x01\x02\x03\x04\x05", b"\x02\x01\x02\x03\x04\x06"
        a.wires["va"] = peer + mac
        run("ip", "link", "add", "va", "netns", a.name, "address", mac.hex(":"), "type", "veth",
            "peer", "name", "vb", "netns", str(sleeper.pid), "address", peer.hex(":"))  # fmt: skip
        inside = ("nsenter", f"--net={there}", "ip")
        run(*inside, "link", "set", "vb", "up")
        run(*inside, "addr", "add", f"{B}/24", "dev", "vb")
        a.ip(f"addr add {A}/24 dev va", "link set va up")
        assert soon(lambda: is_running(a, "va"))
        a.send("va", gre_packet(A, B))
        assert session.wait_for(inode)["iif"] == "vb"
        sleeper.kill()
        sleeper.wait()
        assert soon(lambda: not has_device(a, "va"))
        assert soon(lambda: session.descriptors() == before)


def test_the_run_ends_when_the_one_namespace_is_gone():
    with hosts("a") as (a,), hosts("b") as (b,):
        wire(a, "va", f"{A}/24", b, "vb", f"{B}/24")
        with watching("--netns", b.name) as session:
            assert soon(lambda: is_running(a, "va"))
            a.send("va", gre_packet(A, B), times=3)
            count = session.wait_for(b.namespace.inode)["count"]
            b.close()
            run("ip", "netns", "del", b.name)
            assert soon(lambda: not has_device(a, "va"))
            assert session.process.wait(PATIENCE) == 3
            while record := session.record(0):
                count = record["count"]
            assert count == 3
            said = session.process.stderr.read().decode()
            assert f"the network namespace {b.name} is gone" in said


def test_a_fault_in_a_namespace_is_told_by_its_own_tunnels_after_another_had_its_inode():
    """Inodes are used again at once; the drops of both are apart."""
    with hosts("a", "b") as (a, b), watching("--all-netns", "--remote", A) as session:
        wire(a, "va", f"{A}/24", b, "vb", f"{B}/24")
        assert soon(lambda: is_running(a, "va"))
        a.send("va", gre_packet(A, B), times=2)
        inode = b.namespace.inode
        assert session.wait_for(inode)["count"] <= 2
        b.close()
        run("ip", "netns", "del", b.name)
        assert soon(lambda: not has_device(a, "va"))
        for _ in range(20):
            with hosts("c") as (c,):
                if c.namespace.inode != inode:
                    continue
                wire(a, "va", f"{A}/24", c, "vc", f"{B}/24")
                assert soon(lambda: is_running(a, "va"))
                a.send("va", gre_packet(A, B))
                report = session.wait_for(inode)
                assert (report["iif"], report["count"]) == ("vc", 1)
                return
        pytest.skip("the inode was not used again")
