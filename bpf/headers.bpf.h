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
/* struct guehdr of net/gue.h: version, control bit and length in words are its first byte. */
#define GUE_SIZE 4
#define GUE_VERSION_OR_CONTROL 0xe0
#define GUE_WORDS 0x1f

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
 * The size of the IP header that ends where GRE begins, told by little of it; 0: there is none.
 * Out of line, as is what else goes through many places, since the verifier would go through
 * them again for each way that leads there.
 */
OUT_OF_LINE(__u32, header_before, __u64 head, __u32 gre)
{
	const unsigned char *end = (const unsigned char *)head + gre;
	__u8 first[10];

	for (__u32 size = 20; size <= 60 && size <= gre; size += 4) {
		if (bpf_probe_read_kernel(first, sizeof(first), end - size))
			return 0;
		if (first[0] == (0x40 | size / 4) && first[9] == GRE_PROTOCOL)
			return size;
		if (first[0] >> 4 == 6 && size >= 40 && size % 8 == 0 &&
		    (size == 40) == (first[6] == GRE_PROTOCOL))
			return size;
	}
	return 0;
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
	__u32 ifindex = tuple->ifindex, size;

	if (gre >= READ(skb, network_header))
		return 0;
	size = header_before((__u64)PEEK(skb, head), gre);
	if (!size || size > gre || !view_from(skb, gre - size, view))
		return 0;
	*tuple = (struct gre_tuple){ .ifindex = ifindex };
	return parse_ip(view, tuple) == size && tuple->protocol == GRE_PROTOCOL ? size : 0;
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

/*
 * The same in a packet of UDP that this host sends, or that nothing here has received, which only
 * its bytes can tell: a GUE header of version 0 that announces GRE, or a GRE header whose protocol
 * tunnels carry.
 */
static __always_inline __u32 find_unclaimed(const struct view *view, __u32 payload)
{
	__u32 inside = payload + UDP_SIZE;
	__u8 first[4];

	if (inside + sizeof(first) > view->size ||
	    bpf_probe_read_kernel(first, sizeof(first), view->start + inside))
		return 0;
	if (!(first[0] & GUE_VERSION_OR_CONTROL) && first[1] == GRE_PROTOCOL) {
		inside += GUE_SIZE + 4 * (first[0] & GUE_WORDS);
		return inside + sizeof(first) <= view->size ? inside : 0;
	}
	if ((first[0] << 8 | first[1]) & ~(GRE_CSUM | GRE_KEY | GRE_SEQ))
		return 0;
	switch (first[2] << 8 | first[3]) {
	case ETH_P_IP:
	case ETH_P_IPV6:
	case ETH_P_TEB:
	case ETH_P_ERSPAN:
	case ETH_P_ERSPAN2:
		return inside;
	}
	return 0;
}

/* The size of the outer header of a frame's tunnel that ends at `end`, within `room`; or 0. */
static __always_inline __u32 outer_before(const unsigned char *end, __u32 room)
{
	__u8 ip[10];

	if (!bpf_probe_read_kernel(ip, sizeof(ip), end - 20) && ip[0] == 0x45 &&
	    ip[9] == GRE_PROTOCOL)
		return 20;
	if (room >= 40 && !bpf_probe_read_kernel(ip, sizeof(ip), end - 40) && ip[0] >> 4 == 6 &&
	    ip[6] == GRE_PROTOCOL)
		return 40;
	if (room >= 48 && !bpf_probe_read_kernel(ip, sizeof(ip), end - 48) && ip[0] >> 4 == 6 &&
	    ip[6] == IPV6_DESTINATION_OPTIONS)
		return 48;
	return 0;
}

/*
 * The sizes of the outer IP header and, above its lowest byte, of the GRE header that lie before
 * a frame; 0 where there are none. What is before them may be little: no more than is there is
 * read.
 */
OUT_OF_LINE(__u32, headers_before, __u64 head, __u32 frame)
{
	const unsigned char *start = (const unsigned char *)head + frame;
	__u32 outer;
	__u8 gre[4];

	for (__u32 size = 4; size <= 16; size += 4) {
		if (frame < size + 20 || bpf_probe_read_kernel(gre, sizeof(gre), start - size))
			return 0;
		if ((gre[2] << 8 | gre[3]) != ETH_P_TEB ||
		    size != 4 + 4 * (!!(gre[0] & GRE_CSUM >> 8) + !!(gre[0] & GRE_KEY >> 8) +
				     !!(gre[0] & GRE_SEQ >> 8)))
			continue;
		outer = outer_before(start - size, frame - size);
		if (outer)
			return size << 8 | outer;
	}
	return 0;
}

/*
 * Whether the headers of a tunnel still lie before the frame that a bridge hands up; then fills
 * the tuple from them. Nothing is written there until the frame leaves again.
 */
static __always_inline bool find_before_frame(const struct sk_buff *skb, struct gre_tuple *tuple)
{
	__u16 frame = READ(skb, mac_header);
	const unsigned char *gre;
	__be32 fields[3] = {};
	__u32 sizes, outer;

	if (frame >= READ(skb, tail))
		return false;
	sizes = headers_before((__u64)PEEK(skb, head), frame);
	if (!sizes)
		return false;
	outer = sizes & 0xff;
	gre = READ(skb, head) + frame - (sizes >> 8);
	/* What a shorter header lacks is of the frame, and is not looked at. */
	bpf_probe_read_kernel(fields, sizeof(fields), gre);
	__builtin_memset(tuple->remote, 0, sizeof(tuple->remote));
	__builtin_memset(tuple->local, 0, sizeof(tuple->local));
	if (outer == 20) {
		tuple->family = 4;
		bpf_probe_read_kernel(tuple->remote, 4, gre - outer + 12);
		bpf_probe_read_kernel(tuple->local, 4, gre - outer + 16);
	} else {
		tuple->family = 6;
		bpf_probe_read_kernel(tuple->remote, 16, gre - outer + 8);
		bpf_probe_read_kernel(tuple->local, 16, gre - outer + 24);
	}
	tuple->gre_flags = bpf_ntohl(fields[0]) >> 16;
	tuple->gre_protocol = ETH_P_TEB;
	if (tuple->gre_flags & GRE_KEY)
		tuple->gre_key = bpf_ntohl(tuple->gre_flags & GRE_CSUM ? fields[2] : fields[1]);
	return true;
}

#endif
