# SPDX-License-Identifier: GPL-2.0-only
"""No tunnel between these two hosts, or one that knows a host by another address."""

from gretrace.kernel import receive
from gretrace.kernel.kinds import unpacker_of
from gretrace.kernel.lookup import Mismatch
from gretrace.model import Ask, Change, Confidence, Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.choice import lookup_path, make_tunnel, missed_lookup, near_miss
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import (
    change_command,
    describe_packet,
    describe_traffic,
    describe_tunnel,
    show_protocol,
)
from gretrace.wire.keys import show_key


@cause(
    "nat-remote",
    "all fits but the outer source: NAT on the way, or the peer's other address",
    receive.no_tunnel,
)
def nat_remote(case: Case) -> Finding | None:
    """A tunnel that waits for its peer, and packets that fit it from somewhere else."""
    near, query = near_miss(case, Mismatch.REMOTE), case.missed
    if not near or not query:
        return None
    tunnel = near.tunnel
    traffic = case.traffic.get(tunnel.ifindex)
    return missed_lookup(
        case,
        near,
        f"{tunnel.name} expects its peer at {tunnel.remote}, but packets that fit it in all else "
        f"come from {query.remote}: NAT on the way, or the peer sends from another address.",
        Fix(
            Where.HERE,
            f"Take {query.remote} as the peer's address, if it stays so; behind NAT the peer "
            "has to send first, and often enough to keep the mapping.",
            change_command(case.netns, tunnel, remote=query.remote),
        ),
        Fix(
            Where.PATH,
            f"Exempt GRE (protocol 47) from source NAT between {tunnel.remote} and "
            f"{query.local}, at the router that has {query.remote}.",
        ),
        Fix(
            Where.PEER,
            f"If {query.remote} is the peer's own, set its local address to {tunnel.remote}.",
            ask=Ask(Change.SOURCE, tunnel.kind, tunnel.remote),
        ),
        certain=bool(traffic and traffic.sent and not traffic.received),
    )


@cause(
    "local-mismatch",
    "all fits but the outer destination: the peer sends to another address",
    receive.no_tunnel,
)
def local_mismatch(case: Case) -> Finding | None:
    """The peer reaches this host by an address that is not the tunnel's."""
    near, query = near_miss(case, Mismatch.LOCAL), case.missed
    if not near or not query:
        return None
    tunnel = near.tunnel
    ask = Ask(Change.DESTINATION, tunnel.kind, tunnel.local)
    if not case.can_be_local(query.local):
        kind = "a group" if query.local.is_multicast else "the broadcast address of a network"
        return missed_lookup(
            case,
            near,
            f"{tunnel.name} listens on {tunnel.local}, but {query.remote} sends to "
            f"{query.local}, {kind}, which no tunnel can have as its own.",
            None,
            Fix(
                Where.PEER,
                f"Set the peer's remote (tunnel destination) to {tunnel.local}.",
                ask=ask,
            ),
        )
    return missed_lookup(
        case,
        near,
        f"{tunnel.name} listens on {tunnel.local}, but {query.remote} sends to {query.local}.",
        Fix(
            Where.HERE,
            f"Listen on {query.local}.",
            change_command(case.netns, tunnel, local=query.local),
        ),
        Fix(
            Where.PEER,
            f"Or set the peer's remote (tunnel destination) to {tunnel.local}.",
            ask=ask,
        ),
    )


@cause("no-tunnel", "no tunnel of this host comes near the packet", receive.no_tunnel)
def no_tunnel(case: Case) -> Finding | None:
    """Nothing here is meant for these packets."""
    query = case.missed
    if not query or not case.packet or case.near_miss or case.fits_elsewhere:
        return None
    nearest = case.candidates[0] if case.candidates else None
    evidence = [describe_packet(case.packet)]
    if nearest:
        evidence.append(
            f"The nearest differs in its {' and '.join(nearest.mismatches)}: "
            f"{describe_tunnel(nearest.tunnel)}"
        )
        traffic = describe_traffic(nearest.tunnel, case.traffic.get(nearest.tunnel.ifindex))
        evidence += [traffic] if traffic else []
    else:
        evidence.append("This namespace has no GRE tunnel.")
    if unseen := case.host.elsewhere().left_out:
        evidence.append(
            f"{unseen} other network namespaces were not looked into, as that takes too long: the "
            "tunnel may be there."
        )
    return Finding(
        summary=f"No tunnel takes packets from {query.remote} to {query.local} with "
        f"{show_key(query.key)} and protocol {show_protocol(query.protocol)}.",
        evidence=tuple(evidence),
        fix=(
            make_tunnel(case, "If this peer should have a tunnel, make one."),
            Fix(
                Where.PEER,
                f"Otherwise remove the peer's tunnel to {query.local}.",
                ask=Ask(Change.NO_TUNNEL, unpacker_of(query.remote.version, query.protocol).name),
            ),
        ),
        path=lookup_path(case),
        confidence=Confidence.LIKELY if case.checksum_unverified else Confidence.CERTAIN,
    )
