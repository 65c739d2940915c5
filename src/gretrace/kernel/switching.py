# SPDX-License-Identifier: GPL-2.0-only
"""What is switched and not routed: frames by a bridge (net/bridge/br_input.c), and MPLS."""

from typing import Any

from gretrace.kernel.way import UNTOLD, By, Free, step

# v6.14
STP_STATE = "BRIDGE_INGRESS_STP_STATE"


@step(Free(("br_allowed_ingress", "__allowed_ingress"), by_then=By.INNER))
def bridge_vlan(_: Any) -> bool | None:
    """The port does not let its VLAN in."""
    return None


@step(
    Free(("br_handle_frame*",), reasons=(STP_STATE,), by_then=By.INNER),
    Free(("br_handle_frame", "br_handle_frame_finish"), reasons=UNTOLD, by_then=By.INNER),
)
def bridge_state(_: Any) -> bool | None:
    """The port does not forward."""
    return None


@step(Free(("mpls_forward",)))
def mpls_refused(_: Any) -> bool | None:
    """MPLS is not let in on its device, or cannot be sent on (net/mpls/af_mpls.c)."""
    return None
