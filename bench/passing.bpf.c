// SPDX-License-Identifier: GPL-2.0-only
/* The least that a program on a tunnel can cost: it lets every packet pass. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("xdp")
int pass_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("tc")
int pass_tc(struct __sk_buff *skb)
{
	return -1; /* TC_ACT_UNSPEC */
}
