# SPDX-License-Identifier: GPL-2.0-only
"""An external tunnel, which takes from each packet's metadata where to send it."""

from gretrace.commands import Word, run
from gretrace.kernel import send
from gretrace.kernel.kinds import kind_of
from gretrace.model import Confidence, Finding, Fix, Tunnel, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import cause
from gretrace.verdicts.standing import in_vrf
from gretrace.verdicts.words import describe_packet, describe_tunnel, host_prefix

# Where a packet dies for which no metadata can be the reason: it was sent by them.
SENT_BY_METADATA = (send.no_route_to_remote, send.route_into_itself, send.too_big_to_send)


@cause(
    "tx-no-metadata",
    "an external tunnel, and neither route nor tc action says where to send",
    *(send.no_metadata, *SENT_BY_METADATA),
)
def tx_no_metadata(case: Case) -> Finding | None:
    """A tunnel that takes the addresses from each packet's metadata gets a packet without.

    Over IPv6 all that cannot be sent is freed in one place.
    """
    sending, packet = case.sending, case.packet
    tunnel, told = sending.tunnel, sending.metadata
    if (
        tunnel is None
        or not tunnel.external
        or packet is None
        or send.no_metadata not in case.steps
    ):
        return None
    family = kind_of(tunnel).family
    words: tuple[Word, ...] = ("ip", "route", "replace", *in_vrf(case), host_prefix(packet.local))
    header = "ip6" if family == 6 else "ip"
    # Without the word "key" ip_tun_build_state() leaves it out of the header, whatever the id.
    words += ("encap", header, "id", "KEY", "dst", "PEER", "key", "dev", tunnel.name)
    said = f"and for {packet.local} none does"
    if told:
        said = f"but what that for {packet.local} says, {told.remote}, is no IPv{family}"
    return Finding(
        summary=f"{tunnel.name} is external: the route, or a tc action, has to say where each "
        f"packet goes, {said}.",
        evidence=(
            describe_packet(packet),
            describe_tunnel(tunnel),
            f"The kernel freed it in {case.drop.place}.",
        ),
        fix=(
            Fix(
                Where.HERE,
                "Say it by the route, with PEER the underlay's address of the peer: "
                f"`{run(case.netns, *words)}`; for a peer without key, without `id KEY` and "
                "`key`. Or by tc's action tunnel_key.",
            ),
        ),
        path=(case.iif or tunnel.name, "metadata", str(case.drop.place)),
        confidence=Confidence.CERTAIN if case.is_at(send.no_metadata) else Confidence.LIKELY,
        tunnel=tunnel.name,
    )


def lost_by_metadata(case: Case, tunnel: Tunnel) -> Finding | None:
    """Tell of a packet that had metadata, of which nobody here knows what they say.

    A tc action or a program has set them. That this host has no route for them is the most
    likely of what ip_md_tunnel_xmit() gives up for.
    """
    packet = case.packet
    if packet is None or not case.is_at(*SENT_BY_METADATA):
        return None
    return Finding(
        summary=f"{tunnel.name} is external, and cannot send to where the metadata of a packet "
        f"to {packet.local} say: most likely this host has no route there.",
        evidence=(
            describe_packet(packet),
            describe_tunnel(tunnel),
            "The metadata are none of a route's, so a tc action or a program has set them.",
            f"Else the way leads back into {tunnel.name}, or is too narrow.",
        ),
        fix=(
            Fix(
                Where.HERE,
                "See which remote the action (tc's tunnel_key) or program sets, and route that by "
                "the underlay.",
            ),
        ),
        path=(case.iif or tunnel.name, str(case.drop.place), "route"),
        confidence=Confidence.LIKELY,
        tunnel=tunnel.name,
    )
