/* SPDX-License-Identifier: GPL-2.0-only */
/* The registers at a kprobe: arch/ARCH/include/asm/ptrace.h, under the names that bcc uses. */
#if defined(__x86_64__)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax, ip, cs, flags, sp, ss;
};
#elif defined(__aarch64__)
struct pt_regs {
	unsigned long regs[31];
	unsigned long sp, pc, pstate;
};
#else
#error "gretrace does not know the registers of this machine"
#endif
