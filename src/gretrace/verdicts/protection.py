# SPDX-License-Identifier: GPL-2.0-only
"""IPsec lets a packet of a tunnel neither in nor out (xfrm_policy_check(), xfrm_lookup())."""

from gretrace.commands import Command, Netns, run
from gretrace.kernel import send, stack
from gretrace.kernel.ipsec import Policy
from gretrace.model import GRE, Address, Confidence, Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.ends import outer, owner_name
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_death, describe_packet, describe_tunnel

WHOLE_KEY = 0xFFFFFFFF
SEE_STATES = "ip xfrm state"


@cause(
    "ipsec-policy",
    "a policy of IPsec blocks the GRE packet, or wants it protected and it came plain",
    stack.ipsec_policy,
)
def ipsec_policy(case: Case) -> Finding | None:
    """The kernel's reason says so; the policy is read, and whether there is a state."""
    packet = outer(case)
    if packet is None or packet.gre is None or case.drop.is_sent:
        return None
    ipsec, peer = case.host.ipsec(), packet.remote
    policy = ipsec.decisive("in", peer, packet.local, packet.gre.key, case.drop.ifindex)
    what = f"the GRE packets from {peer} to {packet.local}"
    if policy is None:
        summary = f"A policy of IPsec refused {what}, and none that can be read does now."
        fix: tuple[Fix, ...] = (
            Fix(
                Where.HERE,
                "See the policies; those with a mark or an xfrm interface are not looked at here.",
                run(case.netns, "ip", "xfrm", "policy"),
            ),
        )
    elif policy.block:
        summary = f"IPsec blocks {what}: {policy}."
        fix = (_delete(case.netns, policy, "If they should pass, delete the policy that blocks."),)
    else:
        summary = f"IPsec refuses {what}, which came in plain text: {policy} wants them protected."
        fix = (
            Fix(
                Where.PEER,
                f"Have {peer} protect GRE to {packet.local} by IPsec, as this host expects it; "
                "the IKE daemon of either side says why it does not.",
            ),
            _delete(case.netns, policy, "Or, if no IPsec is wanted, delete the policy."),
        )
    return Finding(
        summary=summary,
        evidence=(
            describe_packet(packet),
            describe_death(case.drop),
            *([] if policy and policy.block else [_states(case, peer, packet.local)]),
            *([] if ipsec.is_whole else ["There are more policies or states than were read."]),
        ),
        fix=fix,
        path=(case.iif or "?", "IPsec", str(case.drop.place)),
        confidence=Confidence.CERTAIN if policy and ipsec.is_whole else Confidence.LIKELY,
        tunnel=owner_name(case),
    )


@cause(
    "tx-ipsec",
    "a policy of IPsec blocks what the tunnel sends, or there is no state to send it by",
    send.refused_by_ipsec,
)
def tx_ipsec(case: Case) -> Finding | None:
    """The policy that decides about the way to the remote is read, and the states."""
    sending = case.sending
    tunnel, policy, remote = sending.tunnel, sending.policy, sending.remote
    if tunnel is None or policy is None or remote is None:
        return None
    source = tunnel.local or sending.way.source
    if policy.block:
        why = f"IPsec blocks it ({policy})"
        fix: tuple[Fix, ...] = (
            _delete(case.netns, policy, "If it should pass, delete the policy that blocks."),
        )
    else:
        why = f"{policy} wants IPsec, and there is no state from {source} to {remote}"
        fix = (
            Fix(
                Where.HERE,
                "Have the IKE daemon set the connection up, and see what it says of the peer; "
                f"once `{SEE_STATES}` shows a state in each direction, the tunnel sends.",
            ),
            _delete(case.netns, policy, "Or, if no IPsec is wanted, delete the policy."),
        )
    return Finding(
        summary=f"{tunnel.name} cannot send to {remote}: {why}.",
        evidence=(
            *([describe_packet(case.packet)] if case.packet else []),
            describe_tunnel(tunnel),
            f"The route to {remote} is there: what refuses is the policy.",
        ),
        fix=fix,
        path=(tunnel.name, "encapsulated", "IPsec", str(case.drop.place)),
        tunnel=tunnel.name,
    )


def _states(case: Case, source: Address, destination: Address) -> str:
    states = case.host.ipsec().between(source, destination)
    if not states:
        return f"There is no state from {source} to {destination} (ip xfrm state)."
    shown = ", ".join(f"{state.spi:#010x}" for state in states[:3])
    return f"States from {source} to {destination} are there, SPI {shown}: it came past them."


def _delete(netns: Netns, policy: Policy, note: str) -> Fix:
    return Fix(Where.HERE, note, _deletion(netns, policy))


def _deletion(netns: Netns, policy: Policy) -> Command | None:
    """Build the command that deletes a policy, if its selector can be written in full."""
    if policy.ifindex or policy.key_mask not in (0, WHOLE_KEY):
        return None
    if policy.key_mask and policy.protocol != GRE:
        return None
    words = ("ip", "xfrm", "policy", "delete", *policy.selector, "dir", policy.direction)
    return run(netns, *words)
