/* SPDX-License-Identifier: GPL-2.0-only */
#define KERNEL_VERSION(major, minor, patch) (((major) << 16) + ((minor) << 8) + (patch))
/* bcc asks whether the kernel can tell the processor, which all can since v4.8. */
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 0, 0)
