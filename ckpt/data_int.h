/* SPDX-License-Identifier: GPL-2.0 */
/* What data.c and data_rounds.c share. */
#ifndef SSI_CKPT_DATA_INT_H
#define SSI_CKPT_DATA_INT_H

#include <stddef.h>

/* Its exit status, 128 + the signal that ended it, or a negative errno. */
int data_run(char *const argv[]);
/* Where the new one is made: beside the directory. */
void data_beside(char *out, size_t size, const char *dir);
/* ... from nothing: an empty directory. 0 or -errno. */
int data_make(const char *fresh);
/* tar's archive of directory number i in these images. */
void data_archive(char *out, size_t size, const char *images, int i);
/* Extracts it, and removes it. tar's exit status. */
int data_extract(const char *archive, const char *into);

#endif
