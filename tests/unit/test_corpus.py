# SPDX-License-Identifier: GPL-2.0-only
"""The model's answers to random tunnels and packets, to the letter, and its rows as they are.

That these answers are the kernel's is held by tests/lab, which draws packets in the same way
(test_way.py, test_differential.py); here no change of the model passes unnoticed, without a
kernel. `python -m tests.unit.test_corpus` writes corpus/ anew: where it changed, run those two.
"""

import random
from hashlib import blake2b
from ipaddress import ip_address
from pathlib import Path

import pytest

from gretrace.kernel import receive, send, stack
from gretrace.kernel.kinds import KINDS, default_mtu, largest_segment, mtu_that_fits, overhead
from gretrace.kernel.lookup import Query, Tables
from gretrace.kernel.receiver import Ended, Receiver
from gretrace.model import Encap
from gretrace.verdicts import explain
from gretrace.wire.packet import parse_packet
from tests.lab.test_differential import ERSPAN, GROUPS, KEYS, OURS, TEB, THEIRS, WCCP
from tests.lab.test_way import Plain, random_packet
from tests.unit.cases import tunnel
from tests.unit.expected import EXPECTED
from tests.unit.test_words import case_lines
from tests.unit.variants import variant

DIRECTORY = Path(__file__).with_name("corpus")
TABLES, PACKETS, QUERIES, VARIANTS = 100, 40, 12, 16
LINKS = (5, 6)
WAYS = {
    "receive, IPv4": receive.WAYS[4], "receive, IPv6": receive.WAYS[6],
    "stack, IPv4": stack.WAYS[4], "stack, IPv6": stack.WAYS[6], "send": send.WAY,
}  # fmt: skip


def random_tunnel(rng, number):
    kind = rng.choice(("gre", "gre", "gretap", "erspan", "ip6gre", "ip6gre", "ip6gretap"))
    family = KINDS[kind].family
    return tunnel(
        f"t{number}",
        kind=kind,
        ifindex=100 + number,
        local=rng.choice((*OURS[family], None)),
        remote=rng.choice((*THEIRS[family], *THEIRS[family], None, GROUPS[family])),
        key=rng.choice(KEYS),
        link=rng.choice((0, 0, *LINKS)),
        up=rng.random() < 0.85,
        external=rng.random() < 0.06,
        iseq=kind == "erspan" or rng.random() < 0.2,
        icsum=rng.random() < 0.2,
        stray_ikey=rng.choice((0, 0, 0, 1)),
        erspan_version=rng.choice((0, 1, 1, 2)),
    )


def random_table(rng):
    made = [random_tunnel(rng, number) for number in range(rng.randrange(1, 16))]
    made += [
        tunnel(
            kind.fallback, kind=kind.name, ifindex=10 + number, local=None, remote=None,
            up=rng.random() < 0.3, fallback=True,
        )
        for number, kind in enumerate(KINDS.values())
        if kind.fallback
    ]  # fmt: skip
    return Tables(made)


def outcome_of(host, data, link):
    packet = parse_packet(data)
    outcome = host.receive(packet, link)
    if not isinstance(outcome, Ended):
        return outcome.name if outcome else "?"
    drop = outcome.drop(1, 1)
    marks = "".join(
        letter
        for letter, is_so in (
            ("t", drop.on_tunnel),
            ("p", drop.is_pulled),
            ("i", drop.ifindex in LINKS),
        )
        if is_so
    )
    return f"{outcome.step}@{drop.place.function}/{marks}"


def ways():
    """Where each packet of each table ends, a table a line."""
    lines = []
    for seed in range(TABLES):
        rng = random.Random(seed)
        host = Receiver(random_table(rng), Plain())
        ends = (outcome_of(host, random_packet(rng), rng.choice(LINKS)) for _ in range(PACKETS))
        lines.append(f"{seed}: {' '.join(ends)}")
    return "\n".join(lines) + "\n"


def walked(tables, query):
    walk = tables.walk(query)
    for step in walk.steps:
        met = " ".join(
            f"{c.tunnel.name}({','.join(m.value for m in c.mismatches)})" for c in step.met
        )
        yield f"  {step.decided_by.value}, {step.kind} {step.bucket}: {met}"
    match = walk.match
    yield f"  = {match.tunnel.name} by {match.decided_by.value}" if match else "  = none"
    near = (
        f"{c.tunnel.name}({','.join(m.value for m in c.mismatches)})"
        for c in tables.candidates(query)
    )
    yield f"  near: {' '.join(near)}"


def lookups():
    """Every comparison of each lookup, and how near each tunnel is."""
    lines = []
    for seed in range(TABLES // 5):
        rng = random.Random(1000 + seed)
        tables = random_table(rng)
        for _ in range(QUERIES):
            family = rng.choice((4, 6))
            query = Query(
                ip_address(rng.choice(THEIRS[family])),
                ip_address(rng.choice((*OURS[family], GROUPS[family]))),
                rng.choice(KEYS),
                rng.choice((0x0800, 0x86DD, TEB, ERSPAN, WCCP)),
                rng.choice((None, *LINKS)),
            )
            asked = f"{query.remote} {query.local} key {query.key} {query.protocol:#06x}"
            lines += [f"{seed}: {asked} on {query.link}", *walked(tables, query)]
    return "\n".join(lines) + "\n"


def rows():
    """Every step of every way: what it says, and how the kernel frees packets there."""
    lines = []
    for name, way in WAYS.items():
        lines.append(f"== {name}")
        for step in way.steps:
            lines.append(f"{step}: {step.says}")
            if step.counts:
                lines.append(f"  counts {', '.join(step.counts)}")
            lines += [
                f"  {', '.join(free.functions) or 'anywhere'} [{free.module}] "
                f"{', '.join(map(str, free.reasons)) or 'any reason'}; family {free.family}; "
                f"{free.by_then.value}{'; told' if free.is_told else ''}"
                for free in step.frees
            ]
    return "\n".join(lines) + "\n"


def sizes():
    """What each kind of tunnel puts in front, with each of its options."""
    lines = []
    for kind in KINDS.values():
        plain = {"kind": kind.name, "local": None, "remote": None, "encap_limit": None}
        for more in (
            *({}, {"key": 1}, {"ikey": 1, "okey": None}, {"ocsum": True}, {"oseq": True}),
            *({"okey": 1, "ocsum": True, "oseq": True}, {"icsum": True, "iseq": True}),
            *({"erspan_version": version} for version in range(3)),
            *({"encap": Encap(of)} for of in ("fou", "gue")),
            *({"encap": Encap("gue", remcsum=True)}, {"encap_limit": 4}, {"external": True}),
        ):
            ours = tunnel(**plain | more)
            said = " ".join(f"{word}={value}" for word, value in more.items()) or "plain"
            sizes_of = (
                overhead(ours),
                default_mtu(ours),
                default_mtu(ours, 1300),
                mtu_that_fits(9000, ours),
            )
            lines.append(f"{kind.name}, {said}: {' '.join(map(str, sizes_of))}")
    lines += [
        f"segment of {mtu}: {largest_segment(mtu, 4)} {largest_segment(mtu, 6)}"
        for mtu in (1280, 1476)
    ]
    return "\n".join(lines) + "\n"


# This host has all of GRE, and sends no multicast packets; of a cut frame over IPv6 the lookup
# has freed what would be freed behind it.
NEVER_MET = {"no-receiver", "multicast-loop", "cut-frame-over-ipv6"}


def told(judged):
    verdict = explain(judged)
    finding = verdict.finding
    words = "\n".join(case_lines("", verdict))
    digest = blake2b(words.encode(), digest_size=4).hexdigest()
    return f"{verdict.cause} {finding.tunnel} {finding.confidence.value} {digest}"


def verdicts():
    """What is said of cases that are almost those of expected/, a digest of the words each."""
    lines, others = [], [judged for judged, _ in EXPECTED.values()]
    for name, (judged, _) in EXPECTED.items():
        rng = random.Random(name)
        lines.append(f"== {name}")
        lines += [told(variant(rng, judged, others)) for _ in range(VARIANTS)]
    return "\n".join(lines) + "\n"


FILES = {
    "ways": ways, "lookups": lookups, "rows": rows, "sizes": sizes, "verdicts": verdicts,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_corpus(name):
    expected = (DIRECTORY / f"{name}.txt").read_text()
    assert FILES[name]().splitlines() == expected.splitlines(), (
        "if the model is right, write it down: python -m tests.unit.test_corpus"
    )


def test_every_step_of_received_gre_is_met():
    met = {word.partition("@")[0] for word in (DIRECTORY / "ways.txt").read_text().split()}
    never = {str(step) for family in (4, 6) for step in receive.WAYS[family].steps} - met
    assert never == NEVER_MET


if __name__ == "__main__":
    for each, make in FILES.items():
        (DIRECTORY / f"{each}.txt").write_text(make())
