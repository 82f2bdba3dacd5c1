/*
 * Making a new image: options are checked against the format's list, the file is written aside,
 * synced and renamed. Called by jobs and vmctl; may wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/format.h"

enum { OPTIONS_MAX = 32 };

static unsigned option_count(const struct disk_format *f)
{
	unsigned n = 0;

	while (f->options && f->options[n].name)
		n++;
	return n;
}

static int unknown_option(const struct disk_format *f, const char *name, struct err *e)
{
	int r = err_set(e, -EINVAL, "%s images have no option \"%.40s\"", f->name, name);
	char list[200] = "";

	for (unsigned i = 0; i < option_count(f); i++) {
		size_t n = strlen(list);

		snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", f->options[i].name);
	}
	err_hint(e, list[0] ? "there are: %s" : "there are none%s", list);
	return r;
}

/* text is cut into pieces that values[] points to. */
static int parse_options(const struct disk_format *f, char *text, const char **values,
			 struct err *e)
{
	unsigned n = option_count(f), i;
	char *save, *word;

	for (i = 0; i < n; i++)
		values[i] = f->options[i].value;
	for (word = strtok_r(text, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		char *eq = strchr(word, '=');

		if (eq)
			*eq = 0;
		for (i = 0; i < n && strcmp(f->options[i].name, word); i++)
			;
		if (i == n)
			return unknown_option(f, word, e);
		values[i] = eq ? eq + 1 : "on";
	}
	return 0;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int disk_create_files(struct file *f, const struct disk_create *c, disk_more_fn *more, void *arg,
		      struct err *e)
{
	const struct disk_format *format = format_find(c->format ? c->format : "");
	autofree char *text = strdup(c->options ? c->options : "");
	const char *values[OPTIONS_MAX];
	struct create_args a = { .name = last_part(f->name),
				 .size = c->size,
				 .backing = c->backing,
				 .backing_format = c->backing_format,
				 .secret = c->secret,
				 .parent = c->parent,
				 .values = values,
				 .more = more,
				 .arg = arg };
	int r;

	if (!text)
		return err_nomem(e);
	if (!format)
		return err_lacking(e, "there is no disk format \"%.40s\"",
				   c->format ? c->format : "");
	if (!format->create)
		return err_lacking(e, "%s images can be read but not made", format->name);
	if (c->size > INT64_MAX - GiB)
		return err_set(e, -EINVAL, "a disk of %llu bytes is too big",
			       (unsigned long long)c->size);
	if (c->backing && !c->backing_format)
		return err_set(e, -EINVAL, "say which format the backing image %.200s has",
			       c->backing);
	r = parse_options(format, text, values, e);
	return r < 0 ? r : format->create(f, &a, e);
}

int disk_create_file(struct file *f, const struct disk_create *c, struct err *e)
{
	return disk_create_files(f, c, NULL, NULL, e);
}

static int create_synced(int fd, const char *name, const struct disk_create *c, disk_more_fn *more,
			 void *arg, struct err *e)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3), r;
	struct file *f;

	if (own < 0)
		return err_sys(e, "cannot keep %s open", name);
	r = file_from_fd(own, name, true, &f, e);
	if (r < 0)
		return r;
	r = disk_create_files(f, c, more, arg, e);
	if (r == 0)
		r = file_sync(f, e);
	file_close(f);
	return r;
}

int disk_create_fd(int fd, const char *name, const struct disk_create *c, struct err *e)
{
	return create_synced(fd, name, c, NULL, NULL, e);
}

static int sync_directory(const char *path, struct err *e)
{
	char buf[PATH_MAX];
	autoclose int fd = -1;

	snprintf(buf, sizeof(buf), "%s", path);
	fd = open(dirname(buf), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_sys(e, "cannot sync the directory of %s", path);
	return 0;
}

static int create_failed(const char *path, struct err *e)
{
	int r = err_sys(e, "cannot create %s", path);

	if (r == -EACCES || r == -EPERM || r == -EROFS)
		err_kind(e, "disk.permission");
	else if (r == -ENOENT)
		err_kind(e, "disk.not-found");
	else if (r == -ENOSPC)
		err_kind(e, "disk.full");
	return r;
}

/* A new name that nobody has, or, without overwrite, one that must still be free. */
static int publish(const char *aside, const char *path, bool overwrite, struct err *e)
{
	if (overwrite ? rename(aside, path) < 0 : link(aside, path) < 0) {
		if (errno == EEXIST)
			return err_set(e, -EEXIST, "%s exists", path);
		return create_failed(path, e);
	}
	if (!overwrite)
		unlink(aside);
	return sync_directory(path, e);
}

/* A file in use by another must not be replaced under it. */
static int check_target(const char *path, bool overwrite, struct err *e)
{
	autoclose int fd = -1;
	struct stat st;

	if (stat(path, &st) < 0)
		return 0;
	if (!overwrite) {
		err_set(e, -EEXIST, "%s exists", path);
		return err_kind(e, "disk.exists");
	}
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s is not a regular file", path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? create_failed(path, e) : image_lock(fd, path, true, e);
}

/* The image and the files beside it, under their temporary names until all are complete. */
struct aside {
	char *temporary, *path;
};

struct making {
	const char *path;
	bool overwrite;
	struct aside *v; /* [0] is the image itself */
	unsigned n, published;
};

/* Opens a temporary file that will become path; returns its fd. */
static int make_aside(struct making *m, const char *path, struct err *e)
{
	struct aside *all;
	char name[PATH_MAX];
	int r = check_target(path, m->overwrite, e), fd;

	if (r < 0)
		return r;
	if (m->n == FILES_MAX)
		return err_set(e, -EINVAL, "%s would be more than %d files", m->path, FILES_MAX);
	if (snprintf(name, sizeof(name), "%s.XXXXXX", path) >= (int)sizeof(name))
		return err_set(e, -ENAMETOOLONG, "%.100s...: the name is too long", path);
	all = realloc(m->v, (m->n + 1) * sizeof(*all));
	if (!all)
		return err_nomem(e);
	m->v = all;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return create_failed(path, e);
	all[m->n] = (struct aside){ strdup(name), strdup(path) };
	if (fchmod(fd, 0644) < 0)
		r = create_failed(path, e);
	else if (!all[m->n].temporary || !all[m->n].path)
		r = err_nomem(e);
	if (r < 0) {
		unlink(name);
		free(all[m->n].temporary);
		free(all[m->n].path);
		close(fd);
		return r;
	}
	m->n++;
	return fd;
}

static int more_aside(void *arg, const char *name, struct file **ret, struct err *e)
{
	struct making *m = arg;
	const char *slash = strrchr(m->path, '/');
	char path[PATH_MAX];
	int fd, dir = slash ? (int)(slash - m->path) + 1 : 0;

	if (snprintf(path, sizeof(path), "%.*s%s", dir, m->path, name) >= (int)sizeof(path))
		return err_set(e, -ENAMETOOLONG, "%.100s...: the name is too long", name);
	fd = make_aside(m, path, e);
	return fd < 0 ? fd : file_from_fd(fd, path, true, ret, e);
}

/* The image itself comes last: who sees it finds all that it names. */
static int publish_all(struct making *m, struct err *e)
{
	int r = 0;

	for (unsigned i = m->n; r == 0 && i--;) {
		r = publish(m->v[i].temporary, m->v[i].path, m->overwrite, e);
		if (r == 0)
			m->published++;
	}
	return r;
}

static void making_done(struct making *m, bool failed)
{
	for (unsigned i = 0; i < m->n; i++) {
		bool public = m->n - i <= m->published;

		if (failed && !public)
			unlink(m->v[i].temporary);
		if (failed && public)
			unlink(m->v[i].path);
		free(m->v[i].temporary);
		free(m->v[i].path);
	}
	free(m->v);
}

int disk_create(const char *path, const struct disk_create *c, bool overwrite, struct err *e)
{
	struct making m = { .path = path, .overwrite = overwrite };
	autoclose int fd = make_aside(&m, path, e);
	int r = fd < 0 ? fd : create_synced(fd, path, c, more_aside, &m, e);

	if (r == 0)
		r = publish_all(&m, e);
	making_done(&m, r < 0);
	return r;
}
