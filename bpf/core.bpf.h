/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The vocabulary of the tracing programs, for objects built ahead of time: libbpf
 * relocates each field that is read when it loads them (CO-RE). bcc.bpf.h has the
 * same words for kernels whose types libbpf cannot know.
 */
#ifndef CORE_BPF_H
#define CORE_BPF_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

/* --- the kernel's types --------------------------------------------------------- */

#define RELOCATED __attribute__((preserve_access_index))
#define STRUCT(name, ...) struct name { __VA_ARGS__ } RELOCATED
#define FIELD(structure, type, name, ...) type name __VA_ARGS__;

/* A pointer that the verifier knows the type of is read directly; what cannot be read is 0. */
#define READ(pointer, field) ((pointer)->field)
/*
 * Of another pointer, which is a number to the verifier; what cannot be read is 0 as well.
 * The comma takes "const" off the type.
 */
#define PEEK(pointer, field)                                                                       \
	({                                                                                         \
		__typeof__((void)0, (pointer)->field) value;                                       \
		bpf_core_read(&value, sizeof(value), &(pointer)->field);                           \
		value;                                                                             \
	})
#define OFFSET(structure, field) bpf_core_field_offset(struct structure, field)

#define KERNEL_HAS_ENUM(name) bpf_core_type_exists(enum name)
#define KERNEL_HAS_FIELD(structure, field) bpf_core_field_exists(struct structure, field)
/* 0 where the kernel's enum has no such value, or there is no such enum. */
#define ENUM_VALUE(name, value)                                                                    \
	(bpf_core_enum_value_exists(enum name, value) ? bpf_core_enum_value(enum name, value) : 0)

/* --- maps and constants --------------------------------------------------------- */

/* How many kinds are kept apart; user space has the last word. */
#define CAPACITY 16384

#define MAP(kind, map, key_type, value_type, size)                                                 \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##kind);                                                 \
		__uint(max_entries, size);                                                         \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} map SEC(".maps")
#define LOOK_UP(map, key) bpf_map_lookup_elem(&map, key)
/* 0 unless the key is there already, or the map is full. */
#define INSERT(map, key, value) bpf_map_update_elem(&map, key, value, BPF_NOEXIST)

#define RING(ring, size)                                                                           \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                \
		__uint(max_entries, size);                                                         \
	} ring SEC(".maps")
/* 0 unless the ring is full. `ctx` is that of the program, which bcc may need. */
#define SEND(ctx, ring, record, flags)                                                             \
	((void)(ctx), bpf_ringbuf_output(&ring, record, sizeof(*(record)), flags))

/* What user space sets when it loads the object: the compiler must not believe the zeros. */
#define SET_LATER volatile
/* A section of its own, so that it is filled without asking for an offset. */
#define CONSTANT(type, name) const SET_LATER type name SEC(".rodata." #name) = {}

/* --- programs ------------------------------------------------------------------- */

#define PROGRAM(place, program)                                                                    \
	static __always_inline int program##_body(void *ctx, const unsigned long long *args);      \
	SEC(place) int program(unsigned long long *ctx)                                            \
	{                                                                                          \
		return program##_body(ctx, ctx);                                                   \
	}                                                                                          \
	static __always_inline int program##_body(void *ctx __attribute__((unused)),               \
						  const unsigned long long *args)

/* A function that the verifier looks at once, whoever calls it (v5.6); of numbers alone. */
#define OUT_OF_LINE(result, function, ...)                                                         \
	__attribute__((noinline)) result function(__VA_ARGS__);                                    \
	__attribute__((noinline)) result function(__VA_ARGS__)

/* The body that follows has the arguments in `args`, those of the tracepoint in order. */
#define AT_TRACEPOINT(tracepoint, program) PROGRAM("tp_btf/" #tracepoint, program)
/* The arguments of the function, `count` of them, and behind them what it returned. */
#define AT_EXIT(function, count, program) PROGRAM("fexit/" #function, program)

/* --- what only some kernels have ------------------------------------------------ */

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
