/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Checkpoint engine over CRIU: what stands against it, images of a process tree
 * that stays frozen until told what becomes of it, images over a stream, and a
 * restore that stops right before anything runs. Knows nothing of netd.
 *
 * ckpt_dump() and ckpt_restore() are called in the pid and mount namespace of
 * the processes (so neither is part of the images), at pids clear of theirs and
 * outside their IPC namespace (so that is). They block; fork for them.
 */
#ifndef SSI_CKPT_H
#define SSI_CKPT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CKPT_ERROR_MAX	 1024
#define CKPT_AHEAD	 1 /* the least real-time priority */
#define CKPT_LOG_DUMP	 "dump.log"
#define CKPT_LOG_RESTORE "restore.log"

struct ckpt_pipe {
	uint64_t inode; /* at the dump */
	int fd;		/* takes its place */
};

struct ckpt_job {
	const char *criu; /* program; by PATH without '/' */
	const char *dir;  /* images, and CRIU's log */
	const char *
		parent; /* dump: images of before, relative to dir; what did not change since is theirs. NULL: none */
	pid_t root;
	bool close;		   /* without its TCP connections, on both sides */
	bool apart;		   /* the same, but they go by ckpt_conns_*() */
	bool ahead;		   /* from ready() on CRIU runs before what has no real-time priority */
	struct ckpt_pipe pipes[3]; /* restore */
	/* CRIU is started (dump: and set up); nothing is touched yet. 0: begin. */
	int (*ready)(void *arg);
	/*
	 * Dump: all is frozen and written. 0: kill the processes, no packet leaves;
	 * else they run on. Restore: all is there and stopped, TCP still in repair
	 * mode. 0: run; else kill them.
	 */
	int (*hold)(void *arg);
	/* Restore: they run. CRIU itself has some tidying up to do. */
	void (*running)(void *arg);
	void *arg;
	/* Out. */
	int64_t frozen_at_ms;	    /* dump: CLOCK_REALTIME when the freeze began */
	bool held;		    /* hold() was called */
	bool undone;		    /* and did not return 0 */
	char error[CKPT_ERROR_MAX]; /* what failed, with CRIU's last error lines */
};

/* Writes the memory as it is now while the processes run on (they stop for a moment), and marks it clean: the parent
 * of the next. Needs ckpt_tracks(); calls nothing back. 0, or a negative errno with j->error. */
int ckpt_predump(struct ckpt_job *j);

/* 0, or a negative errno with j->error. Undone by hold() is -ECANCELED,
 * with j->error as hold() or
 * ready() left it. */
int ckpt_dump(struct ckpt_job *j);
int ckpt_restore(struct ckpt_job *j);

/* fork() at this pid of the innermost namespace, or the next free one: what works
 * beside the processes stays clear of their pids. -errno on failure. */
pid_t ckpt_fork_at(pid_t pid);

/*
 * The files of dir (flat; logs stay) over a stream: be32 name length | name |
 * be64 size | data | be32 crc32c, a zero length at the end; the receiver answers
 * with one byte when all is well. `progress` may be NULL.
 */
typedef void ckpt_progress_fn(void *arg, uint64_t bytes, uint64_t of);
/* last: all but the end is sent; false: there shall be none. NULL: nobody is asked. */
int ckpt_send(int fd, const char *dir, bool (*last)(void *arg), ckpt_progress_fn *progress, void *arg,
	      char error[CKPT_ERROR_MAX]);
int ckpt_recv(int fd, const char *dir, ckpt_progress_fn *progress, void *arg, uint64_t *bytes,
	      char error[CKPT_ERROR_MAX]);

/* mkdir with parents, empty; remove with its files, and with rounds. bytes: without rounds. */
int ckpt_dir_make(const char *dir);
void ckpt_dir_remove(const char *dir);
uint64_t ckpt_dir_bytes(const char *dir);

/*
 * Rounds: images of running processes in DIR/1, DIR/2 ..., each the parent of the next, the last that of the images in
 * DIR, which are complete only with them. path: of a round, 0: DIR itself. link: makes the one before it its parent.
 * blank: what was sent gives its memory back; it can still be a parent of a dump, not of a restore.
 */
#define CKPT_PARENT "parent" /* a symbolic link beside the images, made by CRIU and by link */
void ckpt_round_path(char *out, size_t size, const char *dir, unsigned int round);
/* What CRIU is to be told as parent of images in a directory of that depth. */
void ckpt_round_parent(char *out, size_t size, unsigned int before, bool inner);
/* Has it images, or only directories? */
bool ckpt_round_memory(const char *dir, unsigned int round);
int ckpt_round_link(const char *dir, unsigned int round, unsigned int before);
void ckpt_round_blank(const char *dir, unsigned int round);

/*
 * Directories that move with the processes (lists end with NULL, absolute
 * paths). Source, frozen: pack. Target: unpack, swap into place, then either undo
 * or, when all runs, forget what was there before.
 */
int ckpt_data_pack(const char *images, char *const *dirs, char error[CKPT_ERROR_MAX]);
int ckpt_data_unpack(const char *images, char *const *dirs, char error[CKPT_ERROR_MAX]);
/*
 * The same in rounds. Source: what is new or changed since the round before goes to `images`, with a list of all there
 * is; what was seen is kept in `base` for the next. The processes run, but for the last (frozen). Target: each is put
 * upon what came before it, of which what is not listed is removed.
 */
int ckpt_data_round(const char *images, const char *base, char *const *dirs, bool first, bool frozen,
		    char error[CKPT_ERROR_MAX]);
int ckpt_data_take(const char *images, char *const *dirs, bool first, char error[CKPT_ERROR_MAX]);
int ckpt_data_swap(char *const *dirs, char error[CKPT_ERROR_MAX]);
void ckpt_data_undo(char *const *dirs);
void ckpt_data_forget(char *const *dirs);

/*
 * Kept images. place: is the directory fit for one more version, and which number would that have? seal: writes the
 * manifest `about` with the checksums of the files in `dir`, and renames it when all is on disk. load: copies a version
 * to `dir`, refusing what is damaged. bytes: out. 0 or -errno with a line.
 */
#define CKPT_MANIFEST "manifest.json"
#define CKPT_FORMAT   1 /* "netssi" in the manifest */
int ckpt_place(const char *dir, unsigned int *number, char error[CKPT_ERROR_MAX]);
int ckpt_seal(const char *dir, const char *to, json_t *about, uint64_t *bytes, char error[CKPT_ERROR_MAX]);
int ckpt_load(const char *from, const char *dir, uint64_t *bytes, char error[CKPT_ERROR_MAX]);

uint32_t ckpt_crc32c(uint32_t crc, const void *data, size_t len);

/* ---- what stands against a move; pids of this node, ends with 0 ------------------- */

/* Array of {"reason","fd","path","pid","remedy"}, empty: nothing. `pipes`: inodes
 * of the three that may lead outside. */
json_t *ckpt_check(const pid_t *pids, const uint64_t pipes[3], bool ipc_host);
/* What must be there on a target: {PATH: {"size": of a directory -1, "grows": it is written}}. Without what
 * lies in `data`, which travels. */
json_t *ckpt_files(const pid_t *pids, char *const *data);
/* Connections that wait for accept() in the listeners of the processes. */
int ckpt_backlog(const pid_t *pids);
/* How many fds of the processes refer to each of the pipes. */
void ckpt_pipe_users(const pid_t *pids, const uint64_t pipes[3], int users[3]);
/* How many TCP connections they hold. */
int ckpt_connections(const pid_t *pids);
/* Take TCP sockets out of repair mode: CRIU went away without doing so. */
void ckpt_repair_off(const pid_t *pids);
/* Restored and still held: let the clocks of TCP connections be ahead by so much. */
void ckpt_advance_clock(const pid_t *pids, uint32_t ms);

/*
 * Options of TCP and UDP sockets that CRIU does not know: into a file of the images, frozen, and, restored and
 * still held, back. 0 or -errno.
 */
#define CKPT_OPTIONS_FILE "sockopts"
int ckpt_options_save(const pid_t *pids, const char *dir);
void ckpt_options_load(const pid_t *pids, const char *dir);

/*
 * TCP connections by the module ssi_core, when CRIU leaves them alone (`apart`). try: of running processes, the format
 * in which it would write them; 0 with a line: CRIU has to. export: of frozen ones, into a file of the images; they are
 * silent then. import: restored and still held, out of it; silent, too. run: silent no longer, with clocks that are
 * ahead by so much. How many, or -errno with a line.
 */
#define CKPT_CONNS_FILE "connections"
int ckpt_conns_try(const pid_t *pids, char error[CKPT_ERROR_MAX]);
int ckpt_conns_export(const pid_t *pids, const char *dir, char error[CKPT_ERROR_MAX]);
int ckpt_conns_import(const pid_t *pids, const char *dir, char error[CKPT_ERROR_MAX]);
int ckpt_conns_run(const pid_t *pids, uint32_t advance_ms, char error[CKPT_ERROR_MAX]);

/*
 * What frozen sockets hold for their program, into a file of the images (lib/queued.h) unless that is nothing. They
 * keep datagrams; connections that wait for accept() are this process's then, until drop: silent, for they are, or will
 * be, made anew out of the file; else the peers are told. 0 or -errno.
 */
int ckpt_queues_save(const pid_t *pids, const char *dir);
void ckpt_queues_drop(bool silent);

/* Does someone, CRIU, hold the first of them? */
bool ckpt_traced(const pid_t *pids);

/* ---- memory: what changed since ---------------------------------------------------- */

/* Does this kernel tell which pages were written (soft-dirty)? Without, there are no rounds. */
bool ckpt_tracks(void);
/* The memory that a dump would write, about. */
uint64_t ckpt_memory(const pid_t *pids);
/*
 * Transparent huge pages of these processes become small ones: written to, a huge page counts as dirty as a whole.
 * Nothing is switched off; the kernel may make new ones. Returns how many there were.
 */
unsigned int ckpt_split_huge(const pid_t *pids);

/* Keep one perf event open around a dump: the kernel's first and last cost 10 ms. */
int ckpt_perf_open(void);

#endif
