// SPDX-License-Identifier: GPL-2.0
/*
 * Reading and writing the file of ssi/conn.h.  No locks: a file belongs to one request.
 */
#include <linux/align.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "conn.h"

#define CONN_BUF (64u << 10)

static size_t padded(size_t len)
{
	return ALIGN(len, 8);
}

int conn_file_open(struct conn_file *f, u32 fd, fmode_t mode, struct netlink_ext_ack *extack)
{
	*f = (struct conn_file){.file = fget(fd)};
	if (!f->file) {
		NL_SET_ERR_MSG(extack, "FD is not open");
		return -EBADF;
	}
	/* Anything else could make a request wait for somebody. */
	if (!S_ISREG(file_inode(f->file)->i_mode) || !(f->file->f_mode & mode)) {
		NL_SET_ERR_MSG(extack, "FD is to be a regular file, open for this");
		fput(f->file);
		return -EINVAL;
	}
	f->room = CONN_BUF;
	f->buf = kvmalloc(f->room, GFP_KERNEL_ACCOUNT);
	if (f->buf)
		return 0;
	fput(f->file);
	return -ENOMEM;
}

void conn_file_close(struct conn_file *f)
{
	kvfree(f->buf);
	fput(f->file);
}

/* Room for so many bytes from the beginning; what is in the buffer stays. */
static int make_room(struct conn_file *f, size_t need)
{
	size_t room = f->room;
	u8 *buf;

	if (need <= room)
		return 0;
	while (room < need)
		room *= 2;
	buf = kvmalloc(room, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return -ENOMEM;
	memcpy(buf, f->buf, f->len);
	kvfree(f->buf);
	f->buf = buf;
	f->room = room;
	return 0;
}

/* ---- writing ------------------------------------------------------------------------ */
static void *append(struct conn_file *f, size_t len)
{
	size_t at = f->len;

	if (make_room(f, at + padded(len)))
		return NULL;
	memset(f->buf + at + len, 0, padded(len) - len);
	f->len += padded(len);
	return f->buf + at;
}

int conn_put_head(struct conn_file *f)
{
	struct ssi_conn_head *head = append(f, sizeof(*head));

	if (!head)
		return -ENOMEM;
	*head = (struct ssi_conn_head){.magic = SSI_CONN_MAGIC, .format = SSI_CONN_FORMAT};
	return 0;
}

void *conn_put_room(struct conn_file *f, u16 type, u32 len)
{
	struct ssi_conn_part *part = append(f, sizeof(*part) + len);

	if (!part)
		return NULL;
	*part = (struct ssi_conn_part){.type = type, .len = len};
	return part + 1;
}

int conn_put(struct conn_file *f, u16 type, const void *data, u32 len)
{
	void *to = conn_put_room(f, type, len);

	if (!to)
		return -ENOMEM;
	if (len)
		memcpy(to, data, len);
	return 0;
}

int conn_put_begin(struct conn_file *f, u16 type, size_t *at)
{
	*at = f->len;
	return conn_put(f, type, NULL, 0);
}

void conn_put_end(struct conn_file *f, size_t at)
{
	struct ssi_conn_part *part = (void *)(f->buf + at);

	part->len = f->len - at - sizeof(*part);
}

int conn_flush(struct conn_file *f)
{
	size_t done = 0;
	ssize_t n;

	while (done < f->len) {
		n = kernel_write(f->file, f->buf + done, f->len - done, &f->pos);
		if (n <= 0)
			return n ?: -EIO;
		done += n;
	}
	f->len = 0;
	return 0;
}

/* ---- reading ------------------------------------------------------------------------ */
/* The next `need` bytes are in the buffer. -EINVAL: the file ends before. */
static int fill(struct conn_file *f, size_t need)
{
	ssize_t n;
	int err;

	if (f->len - f->at >= need)
		return 0;
	memmove(f->buf, f->buf + f->at, f->len - f->at);
	f->len -= f->at;
	f->at = 0;
	err = make_room(f, need);
	if (err)
		return err;
	while (f->len < need) {
		n = kernel_read(f->file, f->buf + f->len, f->room - f->len, &f->pos);
		if (n <= 0)
			return n ?: -EINVAL;
		f->len += n;
	}
	return 0;
}

int conn_get_head(struct conn_file *f)
{
	struct ssi_conn_head head;
	int err = fill(f, sizeof(head));

	if (err)
		return err;
	memcpy(&head, f->buf + f->at, sizeof(head));
	f->at += sizeof(head);
	if (head.magic != SSI_CONN_MAGIC)
		return -EINVAL;
	return head.format == SSI_CONN_FORMAT ? 0 : -EPROTONOSUPPORT;
}

int conn_get(struct conn_file *f, struct conn_part *part)
{
	struct ssi_conn_part head;
	int err = fill(f, sizeof(head));

	if (err)
		return err;
	memcpy(&head, f->buf + f->at, sizeof(head));
	if (head.len > SSI_CONN_RECORD_MAX)
		return -EMSGSIZE;
	/* Memory is for what is there, not for what is said to be. */
	if (i_size_read(file_inode(f->file)) - f->pos + (loff_t)(f->len - f->at) <
	    (loff_t)(sizeof(head) + padded(head.len)))
		return -EINVAL;
	err = fill(f, sizeof(head) + padded(head.len));
	if (err)
		return err;
	part->type = head.type;
	part->flags = head.flags;
	part->len = head.len;
	part->data = f->buf + f->at + sizeof(head);
	f->at += sizeof(head) + padded(head.len);
	return 0;
}

bool conn_inside(struct conn_part *outer, struct conn_part *part, int *err)
{
	const struct ssi_conn_part *head = (const void *)outer->data;
	size_t size;

	*err = 0;
	if (!outer->len)
		return false;
	*err = -EINVAL;
	if (outer->len < sizeof(*head))
		return false;
	size = sizeof(*head) + padded(head->len);
	if (size > outer->len)
		return false;
	part->type = head->type;
	part->flags = head->flags;
	part->len = head->len;
	part->data = outer->data + sizeof(*head);
	outer->data += size;
	outer->len -= size;
	*err = 0;
	return true;
}

void conn_read(void *to, size_t size, const struct conn_part *part)
{
	size_t n = min_t(size_t, size, part->len);

	memcpy(to, part->data, n);
	memset(to + n, 0, size - n);
}
