# SPDX-License-Identifier: GPL-2.0-only
"""Numbers of protocols that stand in headers, and what an address is."""

from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

GRE = 47  # IPPROTO_GRE
ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD
ETH_P_TEB = 0x6558  # transparent Ethernet bridging: what a gretap tunnel carries
ETH_P_WCCP = 0x883E
ETH_P_MPLS_UC, ETH_P_MPLS_MC = 0x8847, 0x8848
MPLS = (ETH_P_MPLS_UC, ETH_P_MPLS_MC)
ETH_P_ERSPAN, ETH_P_ERSPAN2 = 0x88BE, 0x22EB  # uapi/linux/if_ether.h; net/erspan.h has II as 0x88BE
