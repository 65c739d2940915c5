# SPDX-License-Identifier: GPL-2.0-only
"""Netfilter dropped the packet: which rule, as far as the ruleset tells."""

from collections.abc import Sequence

from gretrace.commands import (
    HERE,
    NFT_WORDS,
    Command,
    Identifier,
    Quoted,
    Word,
    iptables,
    nft,
    run,
    sysctl,
)
from gretrace.kernel import stack
from gretrace.kernel.droppers import Dropper, Found, Ruleset
from gretrace.kernel.ruleset import Chain
from gretrace.kernel.settings import read_number
from gretrace.model import GRE, Confidence, Finding, Fix, Packet, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.ends import inner, outer, owner_name
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_death, describe_packet

SHOWN = 4
# Of conntrack's table: how many entries it has, and may have.
TABLE = ("net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max")
LEAST_TABLE = 1024
# What may drop at a hook without a rule that can be read.
SEE = (("nft", "list", "ruleset"), ("conntrack", "-S"), ("bpftool", "net"))


@cause("firewall", "netfilter drops the packet inside the tunnel", *stack.NETFILTER)
def firewall(case: Case) -> Finding | None:
    """A packet without outer headers is freed with NETFILTER_DROP, or in netfilter's functions.

    The ruleset is read, and its rules are held against the packet.
    """
    packet = inner(case)
    return _filtered(case, packet, is_outer=False) if packet else None


@cause("firewall-outer", "netfilter drops the GRE packet itself", *stack.NETFILTER)
def firewall_outer(case: Case) -> Finding | None:
    """A GRE packet, received or sent, is freed with NETFILTER_DROP or in netfilter's functions.

    The ruleset is read, and its rules are held against the packet.
    """
    packet = outer(case)
    return _filtered(case, packet, is_outer=True) if packet else None


@cause("conntrack-full", "the table of conntrack has no room for one more", *stack.NETFILTER)
def conntrack_full(case: Case) -> Finding | None:
    """Netfilter freed it, no rule does that, and the table is as full as it may be."""
    packet = inner(case) or outer(case)
    if packet is None or not _is_table_full(case, packet):
        return None
    count, most = (read_number(case.host.sysctl, name) or 0 for name in TABLE)
    return Finding(
        summary=f"conntrack drops packets from {packet.remote} to {packet.local}: its table has "
        f"{count} entries of {most}, and no room for another connection.",
        evidence=(
            describe_packet(packet),
            describe_death(case.drop),
            *(f"{name} is {value}." for name, value in zip(TABLE, (count, most), strict=True)),
            "No rule or policy of nft or iptables at that hook drops it.",
        ),
        fix=(
            Fix(
                Where.HERE,
                "Give the table more room; each entry takes about 300 bytes of the kernel's "
                "memory. What fills it, conntrack -L tells.",
                # One for all namespaces, and no other than the first may change it.
                sysctl(HERE, {TABLE[1]: max(2 * most, LEAST_TABLE)}),
            ),
        ),
        path=(case.iif or "?", "conntrack", str(case.drop.place)),
        confidence=Confidence.LIKELY,
        tunnel=owner_name(case),
    )


def _is_table_full(case: Case, packet: Packet) -> bool:
    """Whether conntrack has no room, and no rule that can be read would have dropped it."""
    count, most = (read_number(case.host.sysctl, name) for name in TABLE)
    if not most or count is None or count < most or not case.iif:
        return False
    hooks = tuple(stack.hook_of(step) for step in case.steps)
    ruleset = case.host.firewall()
    found = ruleset.droppers(hooks, _facts(case, packet, case.iif, _enters_by(case)))
    return not (ruleset.unread or found.suspects)


def _filtered(case: Case, packet: Packet, *, is_outer: bool) -> Finding | None:
    device = case.iif
    if not device or _is_table_full(case, packet):
        return None
    hooks = tuple(stack.hook_of(step) for step in case.steps)
    enters = _enters_by(case)
    facts = _facts(case, packet, device, enters)
    ruleset = case.host.firewall()
    found = ruleset.droppers(hooks, facts)
    suspects = found.suspects
    subject = (
        f"the GRE packets from {packet.remote} to {packet.local}"
        if is_outer
        else f"packets of {device}, {packet.remote} > {packet.local}"
    )
    at = " or ".join(hooks)
    return Finding(
        summary=f"The firewall drops {subject} at {at}: {_name(suspects, ruleset)}.",
        evidence=(
            describe_packet(packet),
            describe_death(case.drop),
            *_describe(suspects, ruleset, found),
        ),
        fix=_let_pass(case, packet, found.droppers, is_outer=is_outer),
        path=(device, f"netfilter {at}", str(case.drop.place)),
        confidence=(
            Confidence.CERTAIN if len(suspects) == 1 and found.is_whole else Confidence.LIKELY
        ),
        tunnel=owner_name(case),
    )


def _enters_by(case: Case) -> str | None:
    """Return the device that the hook takes a received packet to have come by; None: not known.

    In a VRF the hook before routing is gone through twice, by the device and by the VRF
    (vrf_rcv_nfhook()), and those behind it by the VRF.
    """
    if case.vrf and stack.netfilter_prerouting in case.steps:
        return None
    is_behind = case.vrf is not None and stack.netfilter_ingress not in case.steps
    return case.vrf.vrf if case.vrf and is_behind else case.iif


def _facts(case: Case, packet: Packet, device: str, enters: str | None) -> dict[str, str]:
    facts = {
        "nfproto": f"ipv{packet.family}",
        "l4proto": str(packet.protocol),
        "saddr": str(packet.remote),
        "daddr": str(packet.local),
    }
    if case.drop.is_sent:
        # At the output of the tunnel's own packets, the device is the underlay's already.
        way = case.route(packet.local).name
        facts |= {"oifname": device} if not (case.drop.on_tunnel and outer(case)) else {}
        facts |= {"oifname": way} if "oifname" not in facts and way else {}
        return facts
    if case.leaving_by:
        # What it came by is not told any more (ip_output()).
        return facts | {"oifname": case.leaving_by}
    return facts | ({"iifname": enters} if enters else {})


def _name(suspects: Sequence[Dropper], ruleset: Ruleset) -> str:
    if ruleset.unread:
        return f"by which rule cannot be told {ruleset.unread}"
    if not suspects:
        return "by no rule that can be read"
    first = suspects[0]
    invalid = ", as conntrack takes them for INVALID" if _is_invalid(first) else ""
    if len(suspects) == 1:
        return f"{first}{invalid}"
    return f"by one of {len(suspects)} rules or policies, the first of them {first}"


def _is_invalid(dropper: Dropper) -> bool:
    return bool(dropper.rule and dropper.rule.wants_invalid)


def _describe(suspects: Sequence[Dropper], ruleset: Ruleset, found: Found) -> list[str]:
    if ruleset.unread:
        return [f"The rules could not be read, {ruleset.unread}."]
    cut = [] if found.is_whole else ["There are more rules than were looked at."]
    if not suspects:
        unexplained = (
            "No rule or policy of nft or iptables at that hook drops it as far as they can be "
            "read: conntrack itself (a full table), or a program of BPF may have."
        )
        return cut or [unexplained]
    said = [f"It can be {suspect}." for suspect in suspects[:SHOWN]]
    if len(suspects) == 1 and found.is_whole:
        said = [f"Of all that is at that hook, only {suspects[0]} drops such a packet."]
    if any(_is_invalid(suspect) for suspect in suspects[:SHOWN]):
        said.append(
            "INVALID is what conntrack says of a packet that belongs to no connection as it has "
            "seen it: mostly, the other direction takes another way."
        )
    return said + cut


def _let_pass(
    case: Case, packet: Packet, found: Sequence[Sequence[Dropper]], *, is_outer: bool
) -> tuple[Fix, ...]:
    """Build one command that lets the packet pass in every chain that would drop it."""
    bases = [droppers[0].base for droppers in found]
    if not bases:
        see = [run(case.netns, *words) for words in SEE]
        return (Fix(Where.HERE, f"See what is at that hook: {'; '.join(map(str, see))}."),)
    of_nft = [base for base in bases if base.tool == "nft"]
    rules = [_accept_by_nft(case, packet, base, is_outer=is_outer) for base in of_nft]
    commands = [nft(case.netns, *rules)] if rules else []
    commands += [
        _accept_by_iptables(case, packet, base, is_outer=is_outer)
        for base in bases
        if base.tool != "nft"
    ]
    many = f" in each of the {len(bases)} chains that drop them" if len(bases) > 1 else ""
    what = "GRE with this host" if is_outer else "these packets"
    return (
        Fix(
            Where.HERE,
            f"Accept {what} before anything else{many}; keep it in the firewall's own "
            "configuration, too.",
            sum(commands[1:], commands[0]),
        ),
    )


def _accept_by_nft(case: Case, packet: Packet, base: Chain, *, is_outer: bool) -> list[Word]:
    """Write the rule: of GRE with one host, or of one pair of addresses on a tunnel."""
    sent, device, enters = case.drop.is_sent, Quoted(case.iif or ""), _enters_by(case)
    header = "ip" if packet.family == 4 else "ip6"
    far: tuple[Word, ...] = (header, "saddr", packet.remote)
    if sent:
        far = (header, "daddr", packet.local)
    match: tuple[Word, ...]
    if is_outer:
        match = (*far, "meta", "l4proto", "gre")
    elif sent:
        match = ("oifname", device, *far)
    elif case.leaving_by:
        match = ("oifname", Quoted(case.leaving_by), *far, header, "daddr", packet.local)
    else:
        by: tuple[Word, ...] = ("iifname", Quoted(enters)) if enters else ()
        match = (*by, *far, header, "daddr", packet.local)
    # A family is one of nft's own words.
    family = base.family if base.family in NFT_WORDS else Identifier(base.family)
    owner = (family, Identifier(base.table), Identifier(base.name))
    return ["insert", "rule", *owner, *match, "accept"]


def _accept_by_iptables(case: Case, packet: Packet, base: Chain, *, is_outer: bool) -> Command:
    """Build the same as a command of its own."""
    sent = case.drop.is_sent
    leaves = sent or case.leaving_by
    device = None if is_outer else case.leaving_by or (case.iif if sent else _enters_by(case))
    words: tuple[Word, ...] = ("-p", GRE) if is_outer else ()
    if device is not None:
        words = ("-o" if leaves else "-i", device)
    words += ("-d", packet.local) if sent else ("-s", packet.remote)
    words += () if is_outer or sent else ("-d", packet.local)
    rule = ("-t", base.table, "-I", base.name, *words, "-j", "ACCEPT")
    return iptables(case.netns, base.tool, *rule, device=device)
