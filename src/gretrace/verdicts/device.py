"""The right tunnel, but its device cannot take the packet."""

from dataclasses import replace

from gretrace.lookup import Mismatch
from gretrace.model import ETH_P_TEB, Finding, Fix, Where
from gretrace.verdicts.case import Case
from gretrace.verdicts.choice import missed_lookup, near_miss, set_up
from gretrace.verdicts.registry import cause
from gretrace.verdicts.words import add_command, show_protocol


@cause("tunnel-down", "the tunnel that fits is administratively down")
def tunnel_down(case: Case) -> Finding | None:
    """The lookup passes by every device without IFF_UP."""
    near = near_miss(case, Mismatch.DOWN)
    if not near:
        return None
    name = near.tunnel.name
    return missed_lookup(
        case,
        near,
        f"{name} fits these packets, but it is down.",
        set_up(case, near.tunnel, f"Set {name} up."),
    )


@cause("wrong-type", "a gretap tunnel, which carries Ethernet frames, gets IP packets")
def wrong_type(case: Case) -> Finding | None:
    """The peer's tunnel carries another payload than ours."""
    near, query = near_miss(case, Mismatch.TYPE), case.missed
    if not near or not query:
        return None
    tunnel = near.tunnel
    wanted = "gretap" if query.protocol == ETH_P_TEB else "gre"
    return missed_lookup(
        case,
        near,
        f"{tunnel.name} is a {tunnel.kind} tunnel, but the packets from {query.remote} carry "
        f"protocol {show_protocol(query.protocol)}, which only a {wanted} tunnel takes.",
        Fix(
            Where.HERE,
            f"Make {tunnel.name} anew as {wanted}: a device cannot change its type, and its "
            "addresses and routes go with it.",
            f"{case.ip} link del {tunnel.name} && "
            + add_command(case.ip, replace(tunnel, kind=wanted)),
        ),
        Fix(Where.PEER, f"Or make the peer's tunnel a {tunnel.kind} tunnel."),
    )
