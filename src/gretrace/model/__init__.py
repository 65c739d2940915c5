# SPDX-License-Identifier: GPL-2.0-only
"""The things gretrace speaks of: tunnels, packets, drops and verdicts.

Plain values. Addresses are `ipaddress` objects, keys and protocols integers in
host byte order. None as an address is iproute2's "any"; None as a key means that
there is no key field, which is not the same as key 0.
"""

from gretrace.model.drop import (
    Decision,
    Drop,
    Label,
    Place,
    Tuple,
)
from gretrace.model.filter import (
    Filter,
    Program,
)
from gretrace.model.keepalive import (
    Keepalive,
    Responder,
)
from gretrace.model.packet import (
    GreHeader,
    Inner,
    Packet,
)
from gretrace.model.protocols import (
    ETH_P_ERSPAN,
    ETH_P_ERSPAN2,
    ETH_P_IP,
    ETH_P_IPV6,
    ETH_P_MPLS_UC,
    ETH_P_TEB,
    ETH_P_WCCP,
    GRE,
    MPLS,
    Address,
)
from gretrace.model.queue import (
    Queue,
    show_handle,
)
from gretrace.model.report import (
    Ask,
    Change,
    Confidence,
    Fault,
    Finding,
    Fix,
    Report,
    Total,
    Verdict,
    Where,
)
from gretrace.model.tunnel import (
    BridgePort,
    Device,
    Encap,
    Metadata,
    RefusingRule,
    Route,
    Traffic,
    Tunnel,
)

__all__ = [
    "ETH_P_ERSPAN",
    "ETH_P_ERSPAN2",
    "ETH_P_IP",
    "ETH_P_IPV6",
    "ETH_P_MPLS_UC",
    "ETH_P_TEB",
    "ETH_P_WCCP",
    "GRE",
    "MPLS",
    "Address",
    "Ask",
    "BridgePort",
    "Change",
    "Confidence",
    "Decision",
    "Device",
    "Drop",
    "Encap",
    "Fault",
    "Filter",
    "Finding",
    "Fix",
    "GreHeader",
    "Inner",
    "Keepalive",
    "Label",
    "Metadata",
    "Packet",
    "Place",
    "Program",
    "Queue",
    "RefusingRule",
    "Report",
    "Responder",
    "Route",
    "Total",
    "Traffic",
    "Tunnel",
    "Tuple",
    "Verdict",
    "Where",
    "show_handle",
]
