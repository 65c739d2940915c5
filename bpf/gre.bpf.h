/* SPDX-License-Identifier: GPL-2.0-only */
/* GRE on the wire (RFC 2784, RFC 2890) and the devices that speak it. */
#ifndef GRE_BPF_H
#define GRE_BPF_H

#include "compat.bpf.h"

#define UDP_PROTOCOL 17
#define GRE_PROTOCOL 47

/* What may come between an IPv6 header and GRE (RFC 8200 section 4). */
#define IPV6_HOP_BY_HOP 0
#define IPV6_ROUTING 43
#define IPV6_FRAGMENT 44
#define IPV6_DESTINATION_OPTIONS 60

#define GRE_CSUM 0x8000
#define GRE_ROUTING 0x4000
#define GRE_KEY 0x2000
#define GRE_SEQ 0x1000
#define GRE_VERSION 0x0007

/* RFC 3168 section 5 */
#define ECN_MASK 3
#define ECN_CE 3

/* uapi/linux/if_ether.h; net/erspan.h has ERSPAN II as 0x88be too, and III as 0x22eb. */
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_TEB 0x6558
#define ETH_P_ERSPAN 0x88be
#define VLAN_ID 0xfff /* of a tag of IEEE 802.1Q */
#define ETH_P_MPLS_UC 0x8847
#define ETH_P_MPLS_MC 0x8848
/* Of an entry of its stack (RFC 3032, section 2.1): the label, and whether it is the last. */
#define MPLS_LABEL 0xfffff100
#define ETH_P_ERSPAN2 0x22eb

#endif
