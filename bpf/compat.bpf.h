/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel as the programs see it: only the fields that are read, relocated
 * when the program is loaded (CO-RE), and one accessor for each thing that
 * differs between kernels, with the change that made it differ.
 */
#ifndef COMPAT_BPF_H
#define COMPAT_BPF_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define RELOCATED __attribute__((preserve_access_index))

struct ns_common {
	unsigned int inum;
} RELOCATED;

struct net {
	struct ns_common ns;
} RELOCATED;

typedef struct {
	struct net *net;
} RELOCATED possible_net_t;

struct rtnl_link_ops {
	const char *kind;
} RELOCATED;

struct net_device {
	char name[16];
	int ifindex;
	unsigned short type;
	const struct rtnl_link_ops *rtnl_link_ops;
	possible_net_t nd_net;
} RELOCATED;

struct sk_buff {
	struct net_device *dev;
	unsigned long _skb_refdst;
	unsigned char *head;
	unsigned char *data;
	int skb_iif;
	__be16 protocol;
	__u16 transport_header;
	__u16 network_header;
	__u32 tail; /* an offset: sk_buff_data_t on every 64-bit kernel */
	unsigned int len;
	unsigned int data_len;
} RELOCATED;

struct ip_tunnel {
	struct net_device *dev;
} RELOCATED;

struct ip6_tnl {
	struct net_device *dev;
} RELOCATED;

enum skb_drop_reason {
	SKB_NOT_DROPPED_YET = 0,
};

/*
 * The reason is the third argument of the tracepoint since it came to be, v5.17
 * c504e5c2f964 ("net: skb: introduce kfree_skb_reason()"); before, there is none.
 */
static __always_inline __u32 drop_reason(const unsigned long long *ctx)
{
	if (bpf_core_type_exists(enum skb_drop_reason))
		return ctx[2];
	return 0;
}

enum bpf_func_id___snprintf {
	BPF_FUNC_snprintf___snprintf = 165,
};

/*
 * The kernel's own name for an address, module included, which three functions called
 * gre_rcv need. bpf_snprintf() is of v5.13, 7b15523a989b ("bpf: Add a bpf_snprintf helper");
 * where it is missing the name stays empty and user space looks the address up.
 */
static __always_inline void name_place(char *place, __u32 size, __u64 location)
{
	static const char symbol[] = "%pB";

	if (bpf_core_enum_value_exists(enum bpf_func_id___snprintf, BPF_FUNC_snprintf___snprintf))
		bpf_snprintf(place, size, symbol, &location, sizeof(location));
}

#endif
