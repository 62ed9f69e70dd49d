/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The BPF LSM programs by which listen() and bind() wait for the cluster's answer. They
 * need the module ssi_core and a kernel that runs BPF LSM programs, and stand beside
 * those of dip_bpf.h, whose pinned maps they read. Not thread safe.
 */
#ifndef SSI_CLAIM_LSM_H
#define SSI_CLAIM_LSM_H

struct claim_lsm;

/*
 * Loads them over the maps pinned in `pin_dir` (NULL: DIP_PIN_DIR). -EOPNOTSUPP: this
 * kernel cannot; claim_lsm_error() names what is missing.
 */
int claim_lsm_load(struct claim_lsm **out, const char *pin_dir);
/*
 * Attaches them by pinned links, which outlive this process, in place of those that an
 * earlier one pinned. dip_bpf_unpin() ends them.
 */
int claim_lsm_attach(struct claim_lsm *h);
void claim_lsm_close(struct claim_lsm *h); /* pins stay; NULL is fine */
/* Ends the pinned ones: this process cannot answer who waits there. */
void claim_lsm_detach(const char *pin_dir);
const char *claim_lsm_error(void);

#endif
