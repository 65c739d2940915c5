/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The first of the few headers that bcc's own want from a kernel: enough of a source
 * tree to compile gretrace's programs, which bring the kernel's types with them.
 */
#define CONFIG_BPF_SYSCALL 1
