// SPDX-License-Identifier: GPL-2.0
/*
 * Loading and attaching of bpf/claim_hooks.bpf.c. A link of an LSM program cannot be
 * given another program: the new one is attached beside the old, takes over its pin,
 * and the old one ends; nobody slips through, some are asked for twice.
 */
#include "claim_lsm.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/lsm.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <ssi/core.h>
#include <ssi/dip.h>

#include "cleanup.h"
#include "genl.h"

#include "claim_hooks.skel.h"

#define LINKS	   "links"
#define MODULE_BTF "/sys/kernel/btf/ssi_core"
#define LSMS_MAX   64

#ifndef __NR_lsm_list_modules
#define __NR_lsm_list_modules 461
#endif

struct claim_lsm {
	struct claim_hooks *skel;
	char dir[PATH_MAX / 2];
};

static char error_text[256];

const char *claim_lsm_error(void)
{
	return error_text;
}

__attribute__((format(printf, 2, 3))) static int fail(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error_text, sizeof(error_text), fmt, ap);
	va_end(ap);
	return err;
}

/* A program can be attached where it would never run. */
static bool lsm_runs_bpf(void)
{
	uint64_t id[LSMS_MAX];
	uint32_t size = sizeof(id);
	long n = syscall(__NR_lsm_list_modules, id, &size, 0);

	for (long i = 0; i < n; i++)
		if (id[i] == LSM_ID_BPF)
			return true;
	return false;
}

static int reuse(struct bpf_map *map, const char *dir, const char *name)
{
	char path[PATH_MAX];
	int fd, err;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fail(fd, "%s: %s", path, strerror(-fd));
	err = bpf_map__reuse_fd(map, fd);
	close(fd);
	return err ? fail(err, "%s: %s", path, strerror(-err)) : 0;
}

/* The kernel loads the module for who asks for its netlink family. */
static int module_ready(void)
{
	struct genl *genl;
	int err = genl_open(SSI_CORE_FAMILY, SSI_CORE_VERSION, &genl);

	if (err == -EPROTONOSUPPORT)
		return fail(err,
			    "the module ssi_core that is loaded is of another release, see netctl check");
	if (!err)
		genl_close(genl);
	if (err || access(MODULE_BTF, R_OK))
		return fail(-EOPNOTSUPP, "the module ssi_core is not loaded; modprobe ssi_core");
	return 0;
}

static int load(struct claim_lsm *h)
{
	int err = module_ready();

	if (err)
		return err;
	if (!lsm_runs_bpf())
		return fail(-EOPNOTSUPP, "this kernel runs no BPF LSM programs; boot it with lsm=...,bpf");
	h->skel = claim_hooks__open();
	if (!h->skel)
		return fail(-errno, "BPF object: %s", strerror(errno));
	err = reuse(h->skel->maps.claim_conf, h->dir, "dip_conf");
	err = err ? err : reuse(h->skel->maps.dip_socks, h->dir, "dip_socks");
	if (err)
		return err;
	err = claim_hooks__load(h->skel);
	return err ? fail(err, "the LSM programs do not load: %s", strerror(-err)) : 0;
}

int claim_lsm_load(struct claim_lsm **out, const char *pin_dir)
{
	struct claim_lsm *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return fail(-ENOMEM, "out of memory");
	snprintf(h->dir, sizeof(h->dir), "%s", pin_dir ? pin_dir : DIP_PIN_DIR);
	err = load(h);
	if (err) {
		claim_lsm_close(h);
		return err;
	}
	*out = h;
	return 0;
}

static int attach(const struct claim_lsm *h, const struct bpf_program *prog)
{
	_close_ int link = bpf_link_create(bpf_program__fd(prog), 0, BPF_LSM_MAC, NULL);
	char path[PATH_MAX - 8], next[PATH_MAX];

	if (link < 0)
		return fail(link, "%s: %s", bpf_program__name(prog), strerror(-link));
	snprintf(path, sizeof(path), "%s/" LINKS "/%s", h->dir, bpf_program__name(prog));
	snprintf(next, sizeof(next), "%s_next", path);
	unlink(next);
	if (bpf_obj_pin(link, next) || rename(next, path)) {
		int err = -errno;

		unlink(next);
		return fail(err, "%s: %s", path, strerror(-err));
	}
	return 0;
}

int claim_lsm_attach(struct claim_lsm *h)
{
	char path[PATH_MAX];
	int err;

	snprintf(path, sizeof(path), "%s/" LINKS, h->dir);
	if (mkdir(path, 0700) && errno != EEXIST)
		return fail(-errno, "%s: %s", path, strerror(errno));
	err = attach(h, h->skel->progs.dip_claim_listen);
	return err ? err : attach(h, h->skel->progs.dip_claim_bind);
}

void claim_lsm_detach(const char *pin_dir)
{
	static const char *const names[] = {"dip_claim_listen", "dip_claim_bind"};
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/" LINKS "/%s", pin_dir ? pin_dir : DIP_PIN_DIR, names[i]);
		unlink(path);
	}
}

void claim_lsm_close(struct claim_lsm *h)
{
	if (!h)
		return;
	if (h->skel)
		claim_hooks__destroy(h->skel);
	free(h);
}
