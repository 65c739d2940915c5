/* SPDX-License-Identifier: GPL-2.0-only */
/* bcc includes it; nothing here needs it. */
