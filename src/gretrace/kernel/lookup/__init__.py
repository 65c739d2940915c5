# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's choice of a tunnel for a received packet, as a pure function.

`Tables` answers as ip_tunnel_lookup() of net/ipv4/ip_tunnel.c and ip6gre_tunnel_lookup() of
net/ipv6/ip6_gre.c do. `Tables.candidates` is what the kernel does not have: how far each
tunnel that was not chosen is from fitting.
"""

from gretrace.kernel.lookup.tables import Tables
from gretrace.kernel.lookup.terms import (
    Answer,
    Candidate,
    Match,
    Mismatch,
    Pass,
    Query,
    Step,
    Walk,
)

__all__ = [
    "Answer",
    "Candidate",
    "Match",
    "Mismatch",
    "Pass",
    "Query",
    "Step",
    "Tables",
    "Walk",
]
