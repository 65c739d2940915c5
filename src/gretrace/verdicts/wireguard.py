# SPDX-License-Identifier: GPL-2.0-only
"""A tunnel sends by WireGuard, which does not take the packet (wg_xmit() of device.c)."""

from collections.abc import Sequence

from gretrace.commands import run
from gretrace.kernel.wireguard import (
    Peer,
    WireGuard,
    given_up_by_wireguard,
    refused_by_wireguard,
)
from gretrace.model import Address, Confidence, Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import describe_packet, describe_tunnel, host_prefix

# More of them are no command that anybody would read.
NETWORKS_SHOWN, NETWORKS_TYPED, PEERS_SHOWN = 4, 16, 3


@cause(
    "tx-wireguard",
    "the tunnel sends by WireGuard, which has no peer for the remote, or none that answers",
    *(refused_by_wireguard, given_up_by_wireguard),
)
def tx_wireguard(case: Case) -> Finding | None:
    """The peers of the device are read, their allowed-ips and endpoints."""
    sending, packet, device = case.sending, case.packet, case.iif
    if sending.tunnel is None or sending.is_inside or packet is None or not device:
        return None
    link, remote = case.host.wireguard(case.drop.ifindex), packet.local
    if link is None:
        return None
    peer = link.peer_for(remote)
    if case.is_at(given_up_by_wireguard):
        return _silent(case, device, peer) if peer else None
    if peer is None:
        return _not_allowed(case, device, link, remote)
    return _nowhere(case, device, peer) if peer.endpoint is None else None


def _not_allowed(case: Case, device: str, link: WireGuard, remote: Address) -> Finding:
    source = case.packet.remote if case.packet else None
    beyond = Fix(
        Where.PEER,
        f"The peer has to take what comes from {source}, too: it must be in allowed-ips there.",
    )
    peers = link.peers
    outside = next((peer for peer in peers if peer.endpoint == remote), None)
    if outside:
        fix = Fix(
            Where.HERE,
            f"{remote} is where the peer of {device} itself lives: set the tunnel's remote to its "
            f"address inside WireGuard, or route {remote} by another device.",
        )
    elif len(peers) == 1 and link.is_whole and len(peers[0].allowed) < NETWORKS_TYPED:
        allowed = ",".join([*map(str, peers[0].allowed), host_prefix(remote)])
        fix = Fix(
            Where.HERE,
            f"Let the peer have {remote}; the configuration of {device} has to say so as well.",
            run(case.netns, "wg", "set", device, "peer", peers[0].key, "allowed-ips", allowed),
        )
    else:
        set_it = run(case.netns, "wg", "set", device, "peer", "KEY", "allowed-ips", "NETWORKS")
        fix = Fix(
            Where.HERE,
            f"Add {host_prefix(remote)} to the peer behind which {remote} is, all of whose "
            f"networks are to be named: `{set_it}`.",
        )
    return _finding(
        case,
        device,
        f"{remote} is in the allowed-ips of no peer",
        (_described(peers) if peers else f"{device} has no peer.",),
        *((fix,) if outside else (fix, beyond)),
        confidence=Confidence.CERTAIN if link.is_whole else Confidence.LIKELY,
    )


def _nowhere(case: Case, device: str, peer: Peer) -> Finding:
    told = run(case.netns, "wg", "set", device, "peer", peer.key, "endpoint", "ADDRESS:PORT")
    return _finding(
        case,
        device,
        f"its peer {peer.key} has no endpoint, and was never heard",
        (_described([peer]),),
        Fix(Where.HERE, f"Say where the peer is: `{told}`; or wait until it sends first."),
    )


def _silent(case: Case, device: str, peer: Peer) -> Finding:
    ago = max(0, case.drop.last_ns // 1_000_000_000 - peer.handshake)
    since = f"the last was {ago} s before" if peer.handshake else "there was none yet"
    return _finding(
        case,
        device,
        f"its peer {peer.key} at {peer.endpoint or 'no known address'} does not answer its "
        f"handshakes: {since}",
        (_described([peer]),),
        Fix(
            Where.PATH,
            "See that UDP gets there and back, and that either side has the other's public key.",
            run(case.netns, "wg", "show", device),
        ),
    )


def _finding(
    case: Case,
    device: str,
    why: str,
    evidence: tuple[str, ...],
    *fix: Fix,
    confidence: Confidence = Confidence.CERTAIN,
) -> Finding:
    tunnel = case.sending.tunnel
    if tunnel is None:
        raise ValueError("no tunnel sends")
    return Finding(
        summary=f"{tunnel.name} sends to {tunnel.remote or case.sending.remote} by {device}, "
        f"which is WireGuard, and {why}.",
        evidence=(
            *([describe_packet(case.packet)] if case.packet else []),
            describe_tunnel(tunnel),
            *evidence,
        ),
        fix=fix,
        path=(tunnel.name, "encapsulated", device, str(case.drop.place)),
        confidence=confidence,
        tunnel=tunnel.name,
    )


def _described(peers: Sequence[Peer]) -> str:
    shown = []
    for peer in peers[:PEERS_SHOWN]:
        networks = ", ".join(map(str, peer.allowed[:NETWORKS_SHOWN])) or "(none)"
        more = " and more" if len(peer.allowed) > NETWORKS_SHOWN else ""
        shown.append(f"peer {peer.key}, allowed-ips {networks}{more}")
    rest = f"; and {len(peers) - PEERS_SHOWN} peers more" if len(peers) > PEERS_SHOWN else ""
    return f"As `wg show` has it: {'; '.join(shown)}{rest}."
