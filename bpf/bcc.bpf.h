/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The vocabulary of core.bpf.h in the words of bcc, which compiles a program where it
 * runs. The sources are preprocessed when gretrace is built, since bcc rewrites no map
 * operation that hides in a macro. What is in capitals and defined nowhere here is
 * defined by user space, which knows the kernel by then: OFFSET_structure__field,
 * HAS_ENUM_name, CONSTANT_name, CAPACITY and PAGE_SIZE. So are the registers (PT_REGS_*), by bcc.
 */
#ifndef BCC_BPF_H
#define BCC_BPF_H

/* --- the kernel's types --------------------------------------------------------- */

#define RELOCATED
#define STRUCT(name, ...) struct name { union { __VA_ARGS__ }; }
#define FIELD(structure, type, name, ...)                                                          \
	struct {                                                                                   \
		char before_##name[OFFSET_##structure##__##name];                                  \
		type name __VA_ARGS__;                                                             \
	};

/* The comma takes "const" off the type. */
#define READ(pointer, field)                                                                       \
	({                                                                                         \
		__typeof__((void)0, (pointer)->field) value = 0;                                   \
		bpf_probe_read_kernel((void *)&value, sizeof(value), &(pointer)->field);           \
		value;                                                                             \
	})
#define PEEK READ
#define OFFSET(structure, field) OFFSET_##structure##__##field

#define KERNEL_HAS_ENUM(name) HAS_ENUM_##name
#define KERNEL_HAS_FIELD(structure, field) HAS_FIELD_##structure##__##field
#define ENUM_VALUE(name, value) ENUM_##name##__##value

/* --- maps and constants --------------------------------------------------------- */

#define TABLE_HASH "hash"
#define TABLE_ARRAY "array"
#define TABLE_PERCPU_ARRAY "percpu_array"

#define MAP(kind, map, key_type, value_type, size)                                                 \
	BPF_TABLE(TABLE_##kind, key_type, value_type, map, size)
#define LOOK_UP(map, key) map.lookup(key)
#define INSERT(map, key, value) map.insert(key, value)

/* Ring buffers are of v5.8, 457f44363a88 ("bpf: Implement BPF ring buffer and verifier support"). */
#ifdef WITHOUT_RINGS
#define RING(ring, size) BPF_PERF_OUTPUT(ring)
/* What finds no room is counted by the ring itself. */
#define SEND(ctx, ring, record, flags) (ring.perf_submit(ctx, record, sizeof(*(record))), 0)
#else
#define RING(ring, size) BPF_RINGBUF_OUTPUT(ring, ((size) + PAGE_SIZE - 1) / PAGE_SIZE)
#define SEND(ctx, ring, record, flags) ring.ringbuf_output(record, sizeof(*(record)), flags)
#endif

/* Known when it is compiled, and so well that nothing of it is left to be loaded. */
#define SET_LATER
#define CONSTANT(type, name) static const type name = CONSTANT_##name

/* --- programs ------------------------------------------------------------------- */

/* bcc makes all functions part of the program. */
#define OUT_OF_LINE(result, function, ...) static __always_inline result function(__VA_ARGS__)

#define AT_TRACEPOINT(tracepoint, program)                                                         \
	static __always_inline int program##_body(void *ctx, const unsigned long long *args);      \
	int program(unsigned long long *ctx)                                                       \
	{                                                                                          \
		return program##_body(ctx, ctx);                                                   \
	}                                                                                          \
	static __always_inline int program##_body(void *ctx, const unsigned long long *args)

/* At its return a function's arguments are gone, so they are kept from its entry on. */
#define AT_EXIT(function, count, program)                                                          \
	struct program##_call {                                                                    \
		unsigned long long values[7];                                                      \
	};                                                                                         \
	MAP(PERCPU_ARRAY, program##_calls, __u32, struct program##_call, 1);                       \
	int program##_entry(struct pt_regs *ctx)                                                   \
	{                                                                                          \
		__u32 first = 0;                                                                   \
		struct program##_call *call = LOOK_UP(program##_calls, &first);                    \
                                                                                                   \
		if (!call)                                                                         \
			return 0;                                                                  \
		call->values[0] = PT_REGS_PARM1(ctx);                                              \
		call->values[1] = PT_REGS_PARM2(ctx);                                              \
		call->values[2] = PT_REGS_PARM3(ctx);                                              \
		call->values[3] = PT_REGS_PARM4(ctx);                                              \
		call->values[4] = PT_REGS_PARM5(ctx);                                              \
		call->values[5] = PT_REGS_PARM6(ctx);                                              \
		return 0;                                                                          \
	}                                                                                          \
	static __always_inline int program##_body(void *ctx, const unsigned long long *args);      \
	int program(struct pt_regs *ctx)                                                           \
	{                                                                                          \
		__u32 first = 0;                                                                   \
		struct program##_call *call = LOOK_UP(program##_calls, &first);                    \
                                                                                                   \
		if (!call)                                                                         \
			return 0;                                                                  \
		call->values[count] = PT_REGS_RC(ctx);                                             \
		return program##_body(ctx, call->values);                                          \
	}                                                                                          \
	static __always_inline int program##_body(void *ctx, const unsigned long long *args)

/* --- what only some kernels have ------------------------------------------------ */

/* bpf_snprintf() wants its format in a map, which bcc does not give it: user space does it. */
static __always_inline void name_place(char *place, __u32 size, __u64 location)
{
}

#endif
