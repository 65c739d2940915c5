/* SPDX-License-Identifier: GPL-2.0-only */
/* The headers of a packet, wherever it was when it was freed. */
#ifndef HEADERS_BPF_H
#define HEADERS_BPF_H

#include "compat.bpf.h"
#include "gre.bpf.h"
#include "gretrace.h"

/* Extension headers of IPv6 before GRE; nobody sends more. */
#define EXTENSIONS 4
#define UDP_SIZE 8

/* An IPv4 header without options, GRE and its key: what one read gets of nearly every packet. */
#define HEAD_SIZE 28

/* The linear part of a packet from some header on. */
struct view {
	const unsigned char *start;
	__u32 size;
	__u8 head[HEAD_SIZE]; /* as parse_ip() has read it: of a shorter one, 20 bytes */
};

static __always_inline bool view_from(const struct sk_buff *skb, __u16 offset, struct view *view)
{
	__u32 tail = READ(skb, tail);

	/* An unset header offset is all ones, which lies past every tail. */
	if (offset >= tail)
		return false;
	view->start = READ(skb, head) + offset;
	view->size = tail - offset;
	return true;
}

/*
 * Goes past what may stand between an IPv6 header and GRE; returns where the payload begins. A
 * fragment that is all there is (RFC 6946), or the first, has one.
 */
static __always_inline __u32 skip_extensions(const struct view *view, struct gre_tuple *tuple)
{
	__u32 offset = 40;
	__u8 header[4];

	for (int i = 0; i < EXTENSIONS; i++) {
		__u8 kind = tuple->protocol;

		if (kind != IPV6_DESTINATION_OPTIONS && kind != IPV6_HOP_BY_HOP &&
		    kind != IPV6_FRAGMENT && kind != IPV6_ROUTING)
			break;
		if (offset + 8 > view->size ||
		    bpf_probe_read_kernel(header, sizeof(header), view->start + offset))
			return 0;
		tuple->protocol = header[0];
		if (kind != IPV6_FRAGMENT)
			offset += 8 + header[1] * 8;
		else if (header[2] || header[3] & 0xf8)
			return view->size;
		else
			offset += 8;
	}
	return offset;
}

/*
 * Fills family, protocol, remote and local; returns where the payload begins,
 * or 0 when this is no IP header. A later fragment has no payload of its own.
 */
static __always_inline __u32 parse_ip(struct view *view, struct gre_tuple *tuple)
{
	__u8 *header = view->head;

	if (view->size < 20 ||
	    bpf_probe_read_kernel(header, view->size < HEAD_SIZE ? 20 : HEAD_SIZE, view->start))
		return 0;
	if (header[0] >> 4 == 4) {
		__u32 size = (header[0] & 0xf) * 4;
		bool later_fragment = (header[6] & 0x1f) || header[7];

		if (size < 20)
			return 0;
		tuple->family = 4;
		if ((header[1] & ECN_MASK) == ECN_CE)
			tuple->marks |= DROP_CE;
		tuple->protocol = header[9];
		__builtin_memcpy(tuple->remote, header + 12, 4);
		__builtin_memcpy(tuple->local, header + 16, 4);
		return later_fragment ? view->size : size;
	}
	if (header[0] >> 4 == 6) {
		__u8 rest[20];

		if (view->size < 40 || bpf_probe_read_kernel(rest, 20, view->start + 20))
			return 0;
		tuple->family = 6;
		if ((header[1] >> 4 & ECN_MASK) == ECN_CE)
			tuple->marks |= DROP_CE;
		tuple->protocol = header[6];
		__builtin_memcpy(tuple->remote, header + 8, 16);
		__builtin_memcpy(tuple->local, rest + 4, 16);
		return skip_extensions(view, tuple);
	}
	return 0;
}

static __always_inline void parse_gre(const struct view *view, __u32 offset,
				      struct gre_tuple *tuple)
{
	bool is_read = offset == 20 && view->size >= HEAD_SIZE;
	__be16 base[2] = {};
	__be32 gre_key = 0;

	if (is_read)
		__builtin_memcpy(base, view->head + 20, sizeof(base));
	else if (offset + sizeof(base) > view->size ||
		 bpf_probe_read_kernel(base, sizeof(base), view->start + offset))
		return;
	tuple->gre_flags = bpf_ntohs(base[0]);
	tuple->gre_protocol = bpf_ntohs(base[1]);
	if (!(tuple->gre_flags & GRE_KEY))
		return;
	offset += sizeof(base);
	if (tuple->gre_flags & (GRE_CSUM | GRE_ROUTING)) {
		offset += 4;
		is_read = false;
	}
	if (is_read)
		__builtin_memcpy(&gre_key, view->head + 24, sizeof(gre_key));
	else if (offset + sizeof(gre_key) <= view->size)
		bpf_probe_read_kernel(&gre_key, sizeof(gre_key), view->start + offset);
	tuple->gre_key = bpf_ntohl(gre_key);
}

/*
 * ip_tunnel_rcv() moves the network header to the inner packet before it checks
 * the ECN bits, while the device is still the underlay's. The transport header
 * stays at GRE, so the outer header is the one that ends there. Returns the
 * size of that header, or 0.
 */
static __always_inline __u32 find_pulled(const struct sk_buff *skb, struct view *view,
					 struct gre_tuple *tuple)
{
	__u16 gre = READ(skb, transport_header);
	__u32 ifindex = tuple->ifindex;

	if (gre >= READ(skb, network_header))
		return 0;
	for (__u32 size = 20; size <= 60; size += 4) {
		if (gre < size || !view_from(skb, gre - size, view))
			return 0;
		*tuple = (struct gre_tuple){ .ifindex = ifindex };
		if (parse_ip(view, tuple) == size && tuple->protocol == GRE_PROTOCOL)
			return size;
	}
	return 0;
}

/*
 * Where GRE begins in a packet of UDP that FOU or GUE has received, which sets the transport
 * header behind their own (fou_udp_recv() of net/ipv4/fou_core.c), or 0. What they carry may be
 * something else: its first bits would be no flags of GRE.
 */
static __always_inline __u32 find_in_udp(const struct sk_buff *skb, const struct view *view,
					 __u32 payload)
{
	__u32 inside = (__u32)READ(skb, transport_header) - READ(skb, network_header);
	__be16 flags;

	if (inside < payload + UDP_SIZE || inside + sizeof(flags) > view->size)
		return 0;
	bpf_probe_read_kernel(&flags, sizeof(flags), view->start + inside);
	return bpf_ntohs(flags) & ~(GRE_CSUM | GRE_KEY | GRE_SEQ) ? 0 : inside;
}

/* Fills the addresses of the outer header that ends at `end` and is `size` bytes long, if it is one. */
static __always_inline bool read_outer(const unsigned char *end, const int size,
				       struct gre_tuple *tuple)
{
	__u8 ip[48];

	if (bpf_probe_read_kernel(ip, size, end - size))
		return false;
	if (size == 20 ? ip[0] != 0x45 || ip[9] != GRE_PROTOCOL
		       : ip[0] >> 4 != 6 ||
				 ip[6] != (size == 40 ? GRE_PROTOCOL : IPV6_DESTINATION_OPTIONS))
		return false;
	__builtin_memset(tuple->remote, 0, sizeof(tuple->remote));
	__builtin_memset(tuple->local, 0, sizeof(tuple->local));
	if (size == 20) {
		__builtin_memcpy(tuple->remote, ip + 12, 4);
		__builtin_memcpy(tuple->local, ip + 16, 4);
	} else {
		__builtin_memcpy(tuple->remote, ip + 8, 16);
		__builtin_memcpy(tuple->local, ip + 24, 16);
	}
	tuple->family = size == 20 ? 4 : 6;
	return true;
}

/*
 * Whether the headers of a tunnel still lie before the frame that a bridge hands up; then fills
 * the tuple from them. Nothing is written there until the frame leaves again. What is before the
 * outer headers may be little: no more than is there is read.
 */
static __always_inline bool find_before_frame(const struct sk_buff *skb, struct gre_tuple *tuple)
{
	const unsigned char *head = READ(skb, head);
	__u16 frame = READ(skb, mac_header);
	__u8 gre[16] = {};

	if (frame >= READ(skb, tail))
		return false;
#pragma unroll
	for (int size = 4; size <= 16; size += 4) {
		const unsigned char *start = head + frame - size;
		__be32 fields[3];
		__u16 flags;

		if (frame < size + 20 || bpf_probe_read_kernel(gre, size, start))
			return false;
		flags = gre[0] << 8 | gre[1];
		if ((gre[2] << 8 | gre[3]) != ETH_P_TEB ||
		    size != 4 + 4 * (!!(flags & GRE_CSUM) + !!(flags & GRE_KEY) + !!(flags & GRE_SEQ)))
			continue;
		if (!read_outer(start, 20, tuple) &&
		    (frame < size + 40 || !read_outer(start, 40, tuple)) &&
		    (frame < size + 48 || !read_outer(start, 48, tuple)))
			continue;
		__builtin_memcpy(fields, gre + 4, sizeof(fields));
		tuple->gre_flags = flags;
		tuple->gre_protocol = ETH_P_TEB;
		if (flags & GRE_KEY)
			tuple->gre_key = bpf_ntohl(flags & GRE_CSUM ? fields[1] : fields[0]);
		return true;
	}
	return false;
}

#endif
