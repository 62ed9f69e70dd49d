// SPDX-License-Identifier: GPL-2.0
/* The map of connections that are to begin; see dip_bpf.h. */
#include <fcntl.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "cleanup.h"
#include "dip_bpf_int.h"

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
