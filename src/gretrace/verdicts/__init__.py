# SPDX-License-Identifier: GPL-2.0-only
"""Why a packet was dropped: pure functions from what was observed to a verdict.

Each module holds one family of causes; to import it is to enter them.
"""

from gretrace.verdicts import (  # noqa: F401
    arrival,
    bridge,
    delivery,
    destination,
    device,
    elsewhere,
    endpoints,
    filtering,
    forwarding,
    fragments,
    handlers,
    header,
    keepalive,
    keys,
    labels,
    leaving,
    links,
    metadata,
    nbma,
    other,
    over_ipv6,
    ports,
    programs,
    protection,
    queues,
    refused,
    sending,
    unrouted,
    wireguard,
)
from gretrace.verdicts.case import Case
from gretrace.verdicts.registry import CAUSES, Cause, explain

__all__ = ["CAUSES", "Case", "Cause", "explain"]
