# SPDX-License-Identifier: GPL-2.0-only
"""What the responder costs a packet, natively: nanoseconds by BPF_PROG_TEST_RUN."""

import json
import subprocess
import tempfile
from contextlib import closing, contextmanager
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from statistics import median

from gretrace.engine.contract import ResponderDialect
from gretrace.engine.core import open_object
from gretrace.engine.maps import write_element
from gretrace.engine.objects import BpfObject
from gretrace.keepalive.responder import make_config
from gretrace.model import Tunnel
from tests.bpf.testrun import run_program
from tests.frames import answer, gre_packet, udp

LOCAL, REMOTE = "20.1.1.1", "20.1.1.2"
ETHERNET = bytes(12) + b"\x08\x00"
REPEAT = 2_000_000
ROUNDS = 5
DATA = udp("10.10.10.2", "10.10.10.1", bytes(992))
KEEPALIVE = answer(LOCAL, REMOTE)
PASSING = Path(__file__).with_name("passing.bpf.c")


def measure(against):
    """Return rows of nanoseconds for a packet; `against` are other objects (XDP), or none."""
    with compiled(PASSING) as image, closing(BpfObject("passing", image)) as passing:
        passing.load()
        with closing(open_object("keepalive")) as ours:
            ours.load()
            tunnel = Tunnel(
                "gre1", 10, 1, "gre", local=ip_address(LOCAL), remote=ip_address(REMOTE)
            )
            write_element(ours.map_fd("config"), make_config(tunnel, ResponderDialect(0), None))
            programs = {
                "XDP, only passes": (passing.program_fd("pass_xdp"), b""),
                "XDP, gretrace": (ours.program_fd("gretrace_xdp"), b""),
                "tc, only passes": (passing.program_fd("pass_tc"), ETHERNET),
                "tc, gretrace": (ours.program_fd("gretrace_tc"), ETHERNET),
            }
            rows = _in_turn(programs)
    for path in against:
        rows += _foreign(Path(path))
    return rows


def _in_turn(programs):
    spent = {}
    for _ in range(ROUNDS):
        for name, (fd, head) in programs.items():
            for kind, packet in (("ordinary", DATA), ("keepalive", KEEPALIVE)):
                _, _, nanoseconds = run_program(fd, head + packet, REPEAT)
                spent.setdefault((name, kind), []).append(nanoseconds)
    return [
        {"program": name, "packet": kind, "ns": median(times)}
        for (name, kind), times in spent.items()
    ]


@contextmanager
def compiled(source):
    """Build a BPF program as bpf/Makefile does."""
    multiarch = next(Path("/usr/include").glob("*-linux-gnu"))
    with tempfile.NamedTemporaryFile(suffix=".o") as target:
        command = ["clang", "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-idirafter", multiarch]
        subprocess.run([*command, "-c", source, "-o", target.name], check=True)
        yield Path(target.name).read_bytes()


def _load(path, pins):
    """Load an object; one whose sections have names of its own is taken for XDP, as ip does."""
    command = ["bpftool", "prog", "loadall", path, pins]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        subprocess.run([*command, "type", "xdp"], capture_output=True, check=True)


def _foreign(path):
    """Run every XDP program of another's object on an ordinary packet, by bpftool.

    A program that strips headers meets its own result from the second run on, since a test
    run does not restore the packet: so keepalives are left out.
    """
    rows = []
    with tempfile.TemporaryDirectory(dir="/sys/fs/bpf") as pins, tempfile.NamedTemporaryFile() as f:
        loaded = f"{pins}/programs"
        _load(path, loaded)
        views = {"inner": DATA, "outer": gre_packet(REMOTE, LOCAL, DATA)}
        for program, (view, packet) in product(sorted(Path(loaded).iterdir()), views.items()):
            Path(f.name).write_bytes(packet)
            command = ["bpftool", "-j", "prog", "run", "pinned", program]
            command += ["data_in", f.name, "repeat", str(REPEAT)]
            done = [
                json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
                for _ in range(ROUNDS)
            ]
            rows.append({
                "program": f"{path.name}:{program.name}",
                "packet": f"ordinary, {view} header first",
                "ns": median(run["duration"] for run in done),
            })  # fmt: skip
        for program in Path(loaded).iterdir():
            program.unlink()
        Path(loaded).rmdir()
    return rows
