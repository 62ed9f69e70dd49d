// SPDX-License-Identifier: GPL-2.0
/* What stands between this kernel and ssi_core: release, signature, types, orders of the administrator. */
#include "core_module.h"

#include <elf.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <ssi/core.h>

#include "userland/lib/cleanup.h"

#define NAME	   "ssi_core"
#define LOADED	   "/sys/module/" NAME
#define LOADED_BTF "/sys/kernel/btf/" NAME
#define INSTALLED  "/lib/modules/*/updates/" NAME ".ko*"

#define WITHOUT "nothing to do: packets of a move wait in netd; to have it, "

static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static void close_pipe(FILE **f)
{
	if (*f)
		pclose(*f);
}

static void line_of(FILE *f, char *out, size_t size)
{
	if (!f || !fgets(out, (int)size, f))
		out[0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

/* The first line of a small file, "" when there is none. */
static void read_line(const char *path, char *out, size_t size)
{
	_cleanup_(close_file) FILE *f = fopen(path, "re");

	line_of(f, out, size);
}

/* ... of what a command says. */
static void ask(const char *command, char *out, size_t size)
{
	_cleanup_(close_pipe) FILE *f = popen(command, "re");

	line_of(f, out, size);
}

/* False, with why and what to do. */
__attribute__((format(printf, 3, 4))) static bool refuse(struct core_module *m, const char *remedy,
							 const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->text, sizeof(m->text), fmt, ap);
	va_end(ap);
	snprintf(m->remedy, sizeof(m->remedy), "%s", remedy);
	return false;
}

/* ---- the file -------------------------------------------------------------------------------- */
static bool is_installed(struct core_module *m, const char *release)
{
	char file[256], other[64] = "";
	glob_t found;

	ask("modinfo -F filename " NAME " 2>/dev/null", file, sizeof(file));
	if (file[0] && !access(file, F_OK))
		return true;
	if (!glob(INSTALLED, 0, NULL, &found))
		sscanf(found.gl_pathv[0], "/lib/modules/%63[^/]", other);
	globfree(&found);
	if (!other[0] || !strcmp(other, release))
		return refuse(m, WITHOUT "install netssi on the kernel that runs",
			      "the module is not installed for this kernel");
	return refuse(m, WITHOUT "boot that kernel, or run make and make install on this one",
		      "the module is installed for kernel %s only, and %s runs", other, release);
}

/* Whoever gave such an order wants it so. */
static bool may_be_loaded(struct core_module *m)
{
	char line[256];

	read_line("/proc/sys/kernel/modules_disabled", line, sizeof(line));
	if (!strcmp(line, "1"))
		return refuse(m,
			      WITHOUT
			      "load ssi_core before kernel.modules_disabled is set (/etc/modules-load.d)",
			      "this kernel loads no modules any more (kernel.modules_disabled)");
	ask("modprobe -n -v " NAME " 2>/dev/null", line, sizeof(line));
	if (!strncmp(line, "install ", 8))
		return refuse(m, WITHOUT "take that line out of /etc/modprobe.d",
			      "modprobe is told not to load the module: %.150s", line);
	return true;
}

/* The kernel's own is nowhere to be read, but each of its modules has it. */
static bool fits_kernel(struct core_module *m, const char *release)
{
	static const char rebuild[] = WITHOUT
		"install this kernel's headers, then make clean, make and make install";
	char magic[256], other[256];
	size_t n = strlen(release);

	ask("modinfo -F vermagic " NAME " 2>/dev/null", magic, sizeof(magic));
	if (strncmp(magic, release, n) || (magic[n] && magic[n] != ' '))
		return refuse(m, rebuild, "the module was built for kernel %.*s, and %s runs",
			      (int)strcspn(magic, " "), magic, release);
	ask("for m in tun veth tipc; do modinfo -F vermagic $m; done 2>/dev/null", other, sizeof(other));
	if (other[0] && strcmp(magic, other))
		return refuse(m, rebuild,
			      "the module was built for \"%.80s\", this kernel's are for \"%.80s\"", magic,
			      other);
	return true;
}

/* ---- signatures ------------------------------------------------------------------------------ */
static const char *who_wants_signatures(void)
{
	char line[128];

	read_line("/sys/module/module/parameters/sig_enforce", line, sizeof(line));
	if (line[0] == 'Y')
		return "module.sig_enforce";
	read_line("/sys/kernel/security/lockdown", line, sizeof(line));
	if (strstr(line, "[integrity]") || strstr(line, "[confidentiality]"))
		return "it is locked down, as with Secure Boot";
	return NULL;
}

/* Who may not see the keys is not told that one is missing. */
static bool key_is_known(const char *signer)
{
	_cleanup_(close_file) FILE *f = fopen("/proc/keys", "re");
	bool any = false;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (!strstr(line, " asymmetri "))
			continue;
		any = true;
		if (strstr(line, signer))
			return true;
	}
	return !any;
}

static bool signature_fits(struct core_module *m)
{
	static const char sign[] = WITHOUT
		"sign it with a key that the machine trusts (OPERATIONS, Secure Boot)";
	const char *who = who_wants_signatures();
	char id[64], signer[128];

	if (!who)
		return true;
	ask("modinfo -F sig_id " NAME " 2>/dev/null", id, sizeof(id));
	if (!id[0])
		return refuse(m, sign,
			      "this kernel takes signed modules only (%s), and this one is not signed", who);
	ask("modinfo -F signer " NAME " 2>/dev/null", signer, sizeof(signer));
	if (signer[0] && !key_is_known(signer))
		return refuse(
			m, sign,
			"this kernel takes signed modules only (%s), and does not know the key of \"%.80s\"",
			who, signer);
	return true;
}

/* ---- types ----------------------------------------------------------------------------------- */
static bool within(size_t size, uint64_t at, uint64_t len)
{
	return at <= size && len <= size - at;
}

static bool has_section(const uint8_t *elf, size_t size, const char *name)
{
	const Elf64_Ehdr *h = (const void *)elf;
	const Elf64_Shdr *s, *names;

	if (size < sizeof(*h) || memcmp(h->e_ident, ELFMAG, SELFMAG) || h->e_ident[EI_CLASS] != ELFCLASS64 ||
	    h->e_shentsize != sizeof(*s) || h->e_shstrndx >= h->e_shnum || h->e_shoff % 8 ||
	    !within(size, h->e_shoff, (uint64_t)h->e_shnum * sizeof(*s)))
		return false;
	s = (const void *)(elf + h->e_shoff);
	names = &s[h->e_shstrndx];
	if (!within(size, names->sh_offset, names->sh_size))
		return false;
	for (int i = 0; i < h->e_shnum; i++)
		if (within(names->sh_size, s[i].sh_name, strlen(name) + 1) &&
		    !strcmp((const char *)elf + names->sh_offset + s[i].sh_name, name))
			return true;
	return false;
}

/* Compressed ones are somebody's package, and not looked into. */
static bool file_has_types(const char *path)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = strlen(path);
	struct stat st;
	void *elf;
	bool has;

	if (len < 3 || strcmp(path + len - 3, ".ko") || fd < 0 || fstat(fd, &st) || !st.st_size)
		return true;
	elf = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (elf == MAP_FAILED)
		return true;
	has = has_section(elf, (size_t)st.st_size, ".BTF");
	munmap(elf, (size_t)st.st_size);
	return has;
}

static void look_at_types(struct core_module *m, bool loaded)
{
	char file[256];

	if (access("/sys/kernel/btf/vmlinux", F_OK)) {
		refuse(m, "use a kernel with CONFIG_DEBUG_INFO_BTF, as Debian's are",
		       "packets of a move wait in the kernel; it does not describe its types (BTF), so no "
		       "program waits in listen()");
		return;
	}
	ask("modinfo -F filename " NAME " 2>/dev/null", file, sizeof(file));
	m->claims = loaded ? !access(LOADED_BTF, F_OK) : file_has_types(file);
	if (!m->claims)
		refuse(m,
		       "build it with pahole and the kernel's headers (make deps), then rmmod ssi_core; "
		       "systemctl restart netd",
		       "packets of a move wait in the kernel; the module has no types (BTF), so no program "
		       "waits in listen()");
}

/* ---- all of it ------------------------------------------------------------------------------- */
/* One that is loaded stays until somebody unloads it, whatever was installed since. */
static bool loaded_fits(struct core_module *m)
{
	char version[16];

	read_line(LOADED "/version", version, sizeof(version));
	if (atoi(version) == SSI_CORE_VERSION)
		return true;
	return refuse(m,
		      "until the next boot packets of a move wait in netd; to have it now: rmmod ssi_core; "
		      "systemctl restart netd",
		      "the module that is loaded is of another release");
}

void core_module_look(struct core_module *m)
{
	bool loaded = access(LOADED, F_OK) == 0;
	struct utsname u;

	*m = (struct core_module){.text = "packets of a move wait in the kernel"};
	uname(&u);
	m->queue = loaded ? loaded_fits(m)
			  : is_installed(m, u.release) && may_be_loaded(m) && fits_kernel(m, u.release) &&
				    signature_fits(m);
	if (m->queue)
		look_at_types(m, loaded);
}
