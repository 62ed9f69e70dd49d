// SPDX-License-Identifier: GPL-2.0
/* The map of connections that are to begin; see dip_bpf.h. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "cleanup.h"
#include "bpf/half_open.h"
#include "dip_bpf_int.h"

#include "handshakes.skel.h"

#define MAKES_THEM "bpf_sk_assign_tcp_reqsk"

static int map_of(const struct dip_bpf *d)
{
	return bpf_map__fd(d->skel->maps.dip_embryos);
}

bool dip_embryo_known(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool known = btf && btf__find_by_name_kind(btf, MAKES_THEM, BTF_KIND_FUNC) > 0;

	btf__free(btf);
	return known;
}

void dip_half_open_load(struct dip_bpf *d)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts);
	struct handshakes *skel = handshakes__open_and_load();

	d->half_open_fd = -1;
	if (!skel)
		return;
	d->half_open_fd =
		bpf_link_create(bpf_program__fd(skel->progs.half_open_each), 0, BPF_TRACE_ITER, &opts);
	handshakes__destroy(skel); /* the link keeps the program */
}

int dip_bpf_half_open(const struct dip_bpf *d, dip_half_open_fn *fn, void *arg)
{
	_close_ int fd = d->half_open_fd < 0 ? -1 : bpf_iter_create(d->half_open_fd);
	struct half_open h;
	ssize_t n;

	if (fd < 0)
		return d->half_open_fd < 0 ? -EOPNOTSUPP : fd;
	while ((n = read(fd, &h, sizeof(h))) == sizeof(h))
		fn(arg, &h);
	return n < 0 ? -errno : 0;
}

/* Where nobody may have them, the kernel does not look at ours either. */
static bool cookies_on(void)
{
	_close_ int fd = open("/proc/sys/net/ipv4/tcp_syncookies", O_RDONLY | O_CLOEXEC);
	char c = '0';

	return fd >= 0 && read(fd, &c, 1) == 1 && c != '0';
}

bool dip_bpf_embryo_can(const struct dip_bpf *d)
{
	return d->embryos && cookies_on();
}

int dip_bpf_embryo_put(struct dip_bpf *d, const struct dip_embryo_key *k, const struct dip_embryo *e)
{
	int err = bpf_map_update_elem(map_of(d), k, e, BPF_ANY);

	if (!err)
		d->skel->bss->dip_embryos_any = 1;
	return err;
}

void dip_bpf_embryo_del(struct dip_bpf *d, const struct dip_embryo_key *k)
{
	struct dip_embryo_key next;

	bpf_map_delete_elem(map_of(d), k);
	if (bpf_map_get_next_key(map_of(d), NULL, &next))
		d->skel->bss->dip_embryos_any = 0;
}

bool dip_bpf_embryo_has(const struct dip_bpf *d, const struct dip_embryo_key *k)
{
	struct dip_embryo e;

	return !bpf_map_lookup_elem(map_of(d), k, &e);
}
