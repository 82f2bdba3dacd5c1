/*
 * VMDK: the descriptor, a text of lines. Keys are compared as whole words at the start of a line,
 * so that "CID" is not found inside "parentCID" or a comment. Called while an image is opened,
 * and once before it is first written.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>

#include "base/strbuf.h"
#include "storage/vmdk.h"

bool vmdk_is_descriptor(const uint8_t *p, size_t n)
{
	static const char one[] = "# Disk DescriptorFile", two[] = "# Disk Descriptor File";

	return (n >= sizeof(one) && !strncasecmp((const char *)p, one, sizeof(one) - 1)) ||
	       (n >= sizeof(two) && !strncasecmp((const char *)p, two, sizeof(two) - 1));
}

static const char *skip_blanks(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

static const char *line_end(const char *p)
{
	while (*p && *p != '\n' && *p != '\r')
		p++;
	return p;
}

/* The value behind "key =", without quotes and blanks around it; NULL: this line is another. */
static const char *value_in(const char *line, const char *key, size_t *len)
{
	size_t n = strlen(key);
	const char *end;

	line = skip_blanks(line);
	if (strncasecmp(line, key, n))
		return NULL;
	line = skip_blanks(line + n);
	if (*line != '=')
		return NULL;
	line = skip_blanks(line + 1);
	end = line_end(line);
	while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (end - line >= 2 && *line == '"' && end[-1] == '"') {
		line++;
		end--;
	}
	*len = (size_t)(end - line);
	return line;
}

static const char *find_value(const char *text, const char *key, size_t *len)
{
	while (*text) {
		const char *v = value_in(text, key, len);

		if (v)
			return v;
		text = line_end(text);
		while (*text == '\n' || *text == '\r')
			text++;
	}
	return NULL;
}

bool vmdk_get(const char *text, const char *key, char *out, size_t room)
{
	size_t n;
	const char *v = find_value(text, key, &n);

	if (!v || n >= room)
		return false;
	memcpy(out, v, n);
	out[n] = 0;
	return true;
}

int vmdk_set(char **text, const char *key, const char *value, struct err *e)
{
	auto_strbuf b = { 0 };
	size_t n;
	const char *v = find_value(*text, key, &n);
	char *s;

	if (!v)
		return err_damaged(e, "the descriptor has no %s", key);
	strbuf_add(&b, *text, (size_t)(v - *text));
	strbuf_puts(&b, value);
	strbuf_puts(&b, v + n);
	s = strbuf_take(&b);
	if (!s)
		return err_nomem(e);
	free(*text);
	*text = s;
	return 0;
}

static const char *word(const char *p, char *out, size_t room)
{
	size_t n = 0;

	p = skip_blanks(p);
	while (*p && !isspace((unsigned char)*p) && n + 1 < room)
		out[n++] = *p++;
	out[n] = 0;
	return skip_blanks(p);
}

static bool number(const char **p, uint64_t *v)
{
	uint64_t n = 0;
	const char *s = skip_blanks(*p);

	if (!isdigit((unsigned char)*s))
		return false;
	for (; isdigit((unsigned char)*s); s++) {
		if (n > INT64_MAX / 1024)
			return false;
		n = n * 10 + (uint64_t)(*s - '0');
	}
	*p = skip_blanks(s);
	*v = n;
	return true;
}

/* What is behind the access word: sectors, type, and perhaps a name and an offset. */
static bool parse_line(const char *p, struct vmdk_line *l)
{
	const char *end;

	if (!number(&p, &l->sectors))
		return false;
	p = word(p, l->type, sizeof(l->type));
	if (*p == '"') {
		end = strpbrk(p + 1, "\"\r\n");
		if (!end || *end != '"' || (size_t)(end - p - 1) >= sizeof(l->name))
			return false;
		memcpy(l->name, p + 1, (size_t)(end - p - 1));
		l->name[end - p - 1] = 0;
		l->has_name = l->name[0];
		p = end + 1;
		number(&p, &l->offset);
	}
	return l->type[0];
}

int vmdk_next_line(const char **p, struct vmdk_line *l, const char *file, struct err *e)
{
	while (**p) {
		const char *line = *p, *rest;

		*p = line_end(line);
		while (**p == '\n' || **p == '\r')
			++*p;
		memset(l, 0, sizeof(*l));
		rest = word(line, l->access, sizeof(l->access));
		if (strcasecmp(l->access, "RW") && strcasecmp(l->access, "RDONLY") &&
		    strcasecmp(l->access, "NOACCESS"))
			continue;
		if (parse_line(rest, l))
			return 1;
		return err_damaged(e, "%s: the extent line \"%.*s\" makes no sense", file,
				   (int)MIN(line_end(line) - line, 100), line);
	}
	return 0;
}

int vmdk_write_text(struct disk *d, struct err *e)
{
	struct vmdk *v = vmdk_of(d);
	size_t n = strlen(v->text), room = v->text_room ? v->text_room : n;
	autofree char *buf = calloc(1, room + 1);
	int r;

	if (!buf)
		return err_nomem(e);
	if (n > room)
		return err_set(e, -ENOSPC, "%s: the descriptor has no room for more",
			       disk_file(d)->name);
	memcpy(buf, v->text, n);
	r = file_pwrite(disk_file(d), v->text_off, buf, room, e);
	if (r == 0 && !v->text_room && file_size(disk_file(d)) > n)
		r = file_truncate(disk_file(d), n, e);
	return r;
}

/* Children compare the CID (and those of VirtualBox the modification UUID) with what they saw. */
int vmdk_before_write(struct disk *d, struct err *e)
{
	struct vmdk *v = vmdk_of(d);
	autofree char *old = v->text ? strdup(v->text) : NULL;
	char text[GUID_TEXT];
	uint8_t guid[GUID_BYTES];
	uint32_t cid;
	int r = 0;

	if (!v->text || v->stream)
		return 0;
	if (!old)
		return err_nomem(e);
	guid_make(guid);
	cid = le32(guid) & 0x7fffffff;
	snprintf(text, sizeof(text), "%08x", cid);
	if (vmdk_get(v->text, "CID", text + 9, 20))
		r = vmdk_set(&v->text, "CID", text, e);
	guid_make(guid);
	guid_text_le(guid, text);
	if (r == 0 && vmdk_get(v->text, "ddb.uuid.modification", (char[64]){ 0 }, 64))
		r = vmdk_set(&v->text, "ddb.uuid.modification", text, e);
	if (r == 0)
		r = vmdk_write_text(d, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r < 0) {
		free(v->text);
		v->text = take(old);
		return r;
	}
	v->cid = cid;
	return 0;
}

static bool get_guid(const char *text, const char *key, uint8_t g[GUID_BYTES])
{
	char buf[64];

	return vmdk_get(text, key, buf, sizeof(buf)) && guid_parse_le(buf, g) && !guid_is_zero(g);
}

static int check_by_uuid(struct disk *d, struct err *e)
{
	const char *mine = vmdk_of(d)->text, *theirs = vmdk_of(d->backing)->text;
	uint8_t a[GUID_BYTES], b[GUID_BYTES];

	if (get_guid(mine, "ddb.uuid.parent", a) &&
	    (!theirs || !get_guid(theirs, "ddb.uuid.image", b) || memcmp(a, b, GUID_BYTES)))
		return err_damaged(e, "%s: %s is not the parent it was made from",
				   disk_file(d)->name, disk_file(d->backing)->name);
	if (get_guid(mine, "ddb.uuid.parentmodification", a) &&
	    get_guid(theirs, "ddb.uuid.modification", b) && memcmp(a, b, GUID_BYTES))
		return err_damaged(e, "%s: its parent %s was changed after it was made",
				   disk_file(d)->name, disk_file(d->backing)->name);
	return 0;
}

int vmdk_open_parent(struct disk *d, struct err *e)
{
	struct vmdk *v = vmdk_of(d);
	char name[VMDK_NAME_MAX] = "";
	uint8_t uuid[GUID_BYTES];
	bool by_uuid;
	int r;

	if (!v->text)
		return 0;
	by_uuid = get_guid(v->text, "ddb.uuid.parent", uuid);
	if (v->parent_cid == VMDK_NO_PARENT && !by_uuid)
		return 0;
	vmdk_get(v->text, "parentFileNameHint", name, sizeof(name));
	d->backing_name = name[0] ? strdup(name) : NULL;
	d->backing_format = strdup("vmdk");
	if (!d->backing_format || (name[0] && !d->backing_name))
		return err_nomem(e);
	r = disk_need_backing(d, e);
	if (r < 0 || !d->backing || d->backing->format != &vmdk_format)
		return r;
	if (v->parent_cid != VMDK_NO_PARENT && v->parent_cid != vmdk_of(d->backing)->cid)
		return err_damaged(
		    e, "%s: its parent %s was changed after it was made (CID %08x, not %08x)",
		    disk_file(d)->name, disk_file(d->backing)->name, vmdk_of(d->backing)->cid,
		    v->parent_cid);
	return v->parent_cid == VMDK_NO_PARENT ? check_by_uuid(d, e) : 0;
}
