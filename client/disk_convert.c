/* disk_convert.c - vmctl disk convert and create: new images. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/size.h"
#include "base/strbuf.h"
#include "client/disk.h"
#include "client/words.h"
#include "protocol/errors.h"
#include "storage/copy.h"
#include "storage/target.h"

/* ---- what both print ---- */

void disk_print_made(const struct disk_call *d, const char *path, const char *format, uint64_t size)
{
	json_object *o;
	char text[32];

	if (d->ctl->json) {
		o = json_object_new_object();
		json_object_object_add(o, "path", json_object_new_string(path));
		json_object_object_add(o, "format", json_object_new_string(format));
		json_object_object_add(o, "size", json_object_new_uint64(size));
		printf("%s\n", json_object_to_json_string_ext(
				   o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
					  JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(o);
	} else if (!d->ctl->quiet) {
		printf("%s: %s, %s\n", path, format, size_format(size, text, sizeof(text)));
	}
}

/* ---- the backing image of a new one ---- */

void disk_base_free(struct disk_base *b)
{
	if (b->disk)
		disk_close(b->disk);
	free(b->path);
	free(b->name);
}

/* For the new image while it is filled: what it names is open already, so it is allowed. */
static int backing_gate(void *arg, const struct disk_ref *ref, struct disk_grant *g, struct err *e)
{
	const struct disk_base *b = arg;

	if (ref->depth > 1)
		return b->d->gate.open(b->d->gate.arg, ref, g, e);
	*g = (struct disk_grant){ .path = strdup(b->path) };
	if (!g->path)
		return err_nomem(e);
	g->fd = open(b->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (g->fd >= 0)
		return 0;
	free(g->path);
	return err_sys(e, "cannot open %s", b->path);
}

/*
 * Beneath the directory of the new image it is named from there, so that both may move together;
 * else by its absolute name.
 */
static char *name_for(const char *path, const char *image)
{
	char real[PATH_MAX], dir[PATH_MAX], copy[PATH_MAX];
	const char *slash = strrchr(image, '/');
	size_t n;

	snprintf(copy, sizeof(copy), "%.*s", slash ? (int)(slash - image) + 1 : 1,
		 slash ? image : ".");
	if (!realpath(path, real) || !realpath(copy, dir))
		return strdup(path);
	n = strlen(dir);
	if (n > 1 && !strncmp(real, dir, n) && real[n] == '/')
		return strdup(real + n + 1);
	return strdup(real);
}

/* Words are relative to where vmctl was called; who thinks from the new image is understood, too.
 */
static char *find_backing(const char *word, const char *image)
{
	const char *slash = strrchr(image, '/');
	char *beside = NULL;

	if (word[0] == '/' || access(word, F_OK) == 0 || !slash)
		return strdup(word);
	if (asprintf(&beside, "%.*s/%s", (int)(slash - image), image, word) < 0)
		return NULL;
	if (access(beside, F_OK) == 0)
		return beside;
	free(beside);
	return strdup(word);
}

int disk_base_open(struct disk_call *d, const char *image, struct disk_base *b, struct err *e)
{
	int r;

	b->d = d;
	b->path = find_backing(d->w.v[DISK_OPT_BACKING], image);
	if (!b->path)
		return err_nomem(e);
	r = disk_call_open(d, b->path, d->w.v[DISK_OPT_BACKING_FORMAT], DISK_RDONLY, &b->disk, e);
	if (r < 0)
		return r;
	b->name = name_for(b->path, image);
	return b->name ? 0 : err_nomem(e);
}

static void use_backing(struct disk_create *c, const struct disk_base *b)
{
	if (!b->disk)
		return;
	c->backing = b->name;
	c->backing_format = disk_format_name(b->disk);
	c->parent = b->disk;
}

/* ---- create ---- */

static int create_size(struct disk_call *d, const struct disk_base *b, uint64_t *size,
		       struct err *e)
{
	if (d->w.n < 2 && !b->disk)
		return rpc_error(e, "rpc.params", "how large? usage: vmctl disk create %s",
				 d->cmd->usage);
	if (d->w.n < 2)
		*size = disk_size(b->disk);
	else if (!size_parse(d->w.arg[1], size))
		return rpc_error(e, "rpc.params", "'%s' is no size; write 512M or 20G",
				 d->w.arg[1]);
	return 0;
}

static int create(struct disk_call *d, struct err *e)
{
	const char *path = d->w.arg[0];
	struct disk_secret secret = { d->secret, d->secret_len };
	struct disk_create c = { .format = disk_format_for(d->w.v[DISK_OPT_FORMAT], path),
				 .secret = d->secret ? &secret : NULL,
				 .options = d->w.v[DISK_OPT_OPTIONS] };
	auto_disk_base b = { 0 };
	int r = 0;

	if (disk_given(d, DISK_OPT_BACKING))
		r = disk_base_open(d, path, &b, e);
	if (r == 0)
		r = create_size(d, &b, &c.size, e);
	if (r < 0)
		return r;
	use_backing(&c, &b);
	r = disk_create(path, &c, disk_given(d, DISK_OPT_FORCE), e);
	if (r == 0)
		disk_print_made(d, path, c.format, c.size);
	return r;
}

int disk_create_run(struct disk_call *d)
{
	struct err e = { 0 };

	return create(d, &e) < 0 ? disk_call_fail(d, d->w.arg[0], &e) : EXIT_DONE;
}

/* ---- convert ---- */

struct converting {
	struct disk_call *d;
	struct disk *src;
	struct disk_target *dst;
	struct disk_copy copy;
	struct disk_base backing;
	char *options;
};

static void converting_done(struct converting *v)
{
	if (v->dst)
		disk_target_free(v->dst);
	if (v->src)
		disk_close(v->src);
	disk_base_free(&v->backing);
	free(v->options);
}

static bool has_option(const char *format, const char *name)
{
	const char *have, *value, *doc;

	for (unsigned i = 0; (have = disk_format_option(format, i, &value, &doc)); i++)
		if (!strcmp(have, name))
			return true;
	return false;
}

/*
 * compression=none, =zlib or =zstd among the options says how this copy is written; what the
 * format calls its codec is set along with it. The other options stay.
 */
static int take_compression(struct converting *v, const char *format, struct err *e)
{
	autofree char *copy =
	    strdup(v->d->w.v[DISK_OPT_OPTIONS] ? v->d->w.v[DISK_OPT_OPTIONS] : "");
	auto_strbuf b = { 0 };
	char *save, *word;

	if (!copy)
		return err_nomem(e);
	v->copy.pack = disk_given(v->d, DISK_OPT_COMPRESS);
	for (word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		const char *how = word + strlen("compression=");

		if (strncmp(word, "compression=", strlen("compression=")) ||
		    has_option(format, "compression")) {
			strbuf_printf(&b, "%s%s", b.len ? "," : "", word);
			continue;
		}
		v->copy.pack = strcmp(how, "none") != 0;
		if (v->copy.pack && has_option(format, "compression_type"))
			strbuf_printf(&b, "%scompression_type=%s", b.len ? "," : "", how);
	}
	v->options = strbuf_take(&b);
	return 0;
}

static int number_option(const struct disk_call *d, enum disk_option o, unsigned most,
			 unsigned *ret, struct err *e)
{
	char *end;
	unsigned long v;

	if (!disk_given(d, o))
		return 0;
	v = strtoul(d->w.v[o], &end, 10);
	if (!*d->w.v[o] || *end || v > most)
		return rpc_error(e, "rpc.params", "'%s' is no number from 1 to %u", d->w.v[o],
				 most);
	*ret = (unsigned)v;
	return 0;
}

static int read_options(struct converting *v, const char *format, struct err *e)
{
	unsigned level = 0;
	int r = take_compression(v, format, e);

	if (r == 0)
		r = number_option(v->d, DISK_OPT_THREADS, 64, &v->copy.threads, e);
	if (r == 0)
		r = number_option(v->d, DISK_OPT_LEVEL, 22, &level, e);
	v->copy.level = (int)level;
	v->copy.full = disk_given(v->d, DISK_OPT_FULL);
	return r;
}

/* --backing is the parent of a source that does not name its own; else it is for the new image. */
static int open_both(struct converting *v, const char *format, struct err *e)
{
	struct disk_call *d = v->d;
	const char *dst = d->w.arg[1];
	struct disk_create c = { .format = format, .options = v->options };
	struct disk_gate gate = { backing_gate, &v->backing };
	int r = disk_call_open(d, d->w.arg[0], d->w.v[DISK_OPT_FROM], DISK_RDONLY, &v->src, e);

	if (r == 0 && disk_given(d, DISK_OPT_SNAPSHOT))
		r = disk_snapshot_view(v->src, d->w.v[DISK_OPT_SNAPSHOT], e);
	if (r == 0 && disk_given(d, DISK_OPT_BACKING) && !d->parent_used)
		r = disk_base_open(d, dst, &v->backing, e);
	if (r < 0)
		return r;
	use_backing(&c, &v->backing);
	c.size = disk_size(v->src);
	v->copy.blank = !v->backing.disk;
	v->copy.compare = v->backing.disk;
	return disk_target_new(dst, &c, v->backing.disk ? &gate : NULL, &v->dst, e);
}

static int convert(struct converting *v, struct err *e)
{
	struct disk_call *d = v->d;
	const char *format = disk_format_for(d->w.v[DISK_OPT_FORMAT], d->w.arg[1]);
	struct progress p;
	int r = read_options(v, format, e);

	if (r == 0)
		r = open_both(v, format, e);
	if (r < 0)
		return r;
	progress_begin(&p, d->ctl);
	v->copy.progress = progress_tell;
	v->copy.arg = &p;
	r = disk_copy(v->src, disk_target_disk(v->dst), &v->copy, e);
	progress_end(&p);
	if (r == 0)
		r = disk_target_publish(take(v->dst), e);
	if (r == 0)
		disk_print_made(d, d->w.arg[1], format, disk_size(v->src));
	return r;
}

int disk_convert_run(struct disk_call *d)
{
	struct converting v = { .d = d };
	struct err e = { 0 };
	int r = convert(&v, &e);

	converting_done(&v);
	return r < 0 ? disk_call_fail(d, d->w.arg[0], &e) : EXIT_DONE;
}
