/* SPDX-License-Identifier: GPL-2.0-only */
/* Which packets the user asked to see. */
#ifndef FILTER_BPF_H
#define FILTER_BPF_H

#include "gre.bpf.h"
#include "gretrace.h"

CONSTANT(struct tuple_filter, filter);

static __always_inline bool same_address(const __u8 *a, const SET_LATER __u8 *b)
{
	/* Both lie at a multiple of four in their records. */
	for (int i = 0; i < 4; i++)
		if (((const __u32 *)a)[i] != ((const SET_LATER __u32 *)b)[i])
			return false;
	return true;
}

static __always_inline bool has_key(const struct gre_tuple *tuple)
{
	return (tuple->gre_flags & GRE_KEY) || (tuple->marks & LOOKUP_SESSION_KEY);
}

static __always_inline bool is_wanted(const struct gre_tuple *tuple)
{
	__u32 match = filter.match;

	if ((match & MATCH_NETNS) && tuple->netns != filter.netns)
		return false;
	if ((match & MATCH_IFINDEX) && tuple->ifindex != filter.ifindex)
		return false;
	/* On a tunnel the outer header is gone: user space, which knows the tunnel, decides. */
	if (tuple->marks & DROP_ON_TUNNEL)
		return true;
	if ((match & MATCH_REMOTE) && !same_address(tuple->remote, filter.remote))
		return false;
	if ((match & MATCH_LOCAL) && !same_address(tuple->local, filter.local))
		return false;
	if ((match & MATCH_KEY) && (!has_key(tuple) || tuple->gre_key != filter.gre_key))
		return false;
	return !((match & MATCH_NO_KEY) && has_key(tuple));
}

#endif
