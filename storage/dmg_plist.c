/*
 * The property list of a dmg image: XML in which resource-fork/blkx is an array of dictionaries
 * whose Data is a table of chunks in base64. The document type that every such list names is
 * passed over and never fetched; one that declares entities is refused. Called while an image is
 * opened.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_EXPAT
#include <expat.h>
#endif

#include "storage/dmg.h"

#ifdef HAVE_EXPAT

enum { NESTING = 16, KEY_MAX_LEN = 32, PIECE = 64 << 10 };

struct plist {
	struct disk *d;
	XML_Parser xml;
	char key[NESTING][KEY_MAX_LEN]; /* the last <key> at each depth */
	char text[KEY_MAX_LEN];
	size_t text_n;
	unsigned depth;
	bool in_key, in_table, seen;
	uint8_t *table; /* decoded so far */
	size_t n, room;
	uint32_t bits; /* base64 that gives no whole byte yet */
	unsigned bits_n;
	int result;
	struct err *e;
};

static void stop(struct plist *p, int result)
{
	p->result = result;
	XML_StopParser(p->xml, XML_FALSE);
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool reserve(struct plist *p, size_t more)
{
	size_t room = MAX(2 * p->room, p->n + more);
	uint8_t *t;

	if (p->n + more <= p->room)
		return true;
	t = realloc(p->table, room);
	if (!t)
		return false;
	p->table = t;
	p->room = room;
	return true;
}

static void decode(struct plist *p, const char *s, int len)
{
	if (!reserve(p, (size_t)len))
		return stop(p, err_nomem(p->e));
	for (int i = 0; i < len; i++) {
		int v = value_of(s[i]);

		if (v < 0)
			continue; /* white space and padding */
		p->bits = p->bits << 6 | (uint32_t)v;
		p->bits_n += 6;
		if (p->bits_n < 8)
			continue;
		p->bits_n -= 8;
		p->table[p->n++] = (uint8_t)(p->bits >> p->bits_n);
	}
}

/* resource-fork { blkx [ { Data: here } ] } */
static bool is_table(const struct plist *p, const char *name)
{
	return !strcmp(name, "data") && p->depth >= 5 && !strcmp(p->key[p->depth - 1], "Data") &&
	       !strcmp(p->key[p->depth - 3], "blkx");
}

static void XMLCALL opened(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct plist *p = arg;

	(void)attributes;
	if (p->depth == NESTING)
		return stop(
		    p, err_damaged(p->e, "%s: too deep a property list", disk_file(p->d)->name));
	p->seen = true;
	p->in_key = !strcmp(name, "key");
	p->in_table = is_table(p, name);
	p->text_n = p->n = p->bits_n = 0;
	p->key[p->depth++][0] = 0;
}

static void XMLCALL characters(void *arg, const XML_Char *s, int len)
{
	struct plist *p = arg;

	if (p->in_table)
		decode(p, s, len);
	for (int i = 0; p->in_key && i < len; i++)
		if (p->text_n + 1 < sizeof(p->text))
			p->text[p->text_n++] = s[i];
}

static void XMLCALL closed(void *arg, const XML_Char *name)
{
	struct plist *p = arg;
	int r;

	(void)name;
	p->depth--;
	if (p->in_key && p->depth) {
		p->text[p->text_n] = 0;
		memcpy(p->key[p->depth - 1], p->text, p->text_n + 1);
	}
	if (p->in_table) {
		r = dmg_add_table(p->d, p->table, p->n, p->e);
		if (r < 0)
			stop(p, r);
	}
	p->in_key = p->in_table = false;
}

static void XMLCALL entity(void *arg, const XML_Char *name, int is_parameter, const XML_Char *value,
			   int len, const XML_Char *base, const XML_Char *system_id,
			   const XML_Char *public_id, const XML_Char *notation)
{
	struct plist *p = arg;

	(void)name, (void)is_parameter, (void)value, (void)len, (void)base;
	(void)system_id, (void)public_id, (void)notation;
	stop(p,
	     err_damaged(p->e, "%s: the property list declares an entity", disk_file(p->d)->name));
}

static int parse(struct plist *p, uint64_t off, uint64_t len)
{
	while (len && p->result == 0) {
		size_t step = MIN(len, PIECE);
		void *buf = XML_GetBuffer(p->xml, PIECE);
		int r;

		if (!buf)
			return err_nomem(p->e);
		r = file_pread(disk_file(p->d), off, buf, step, p->e);
		if (r < 0)
			return r;
		/* What follows the list's last element may be anything. */
		if (XML_ParseBuffer(p->xml, (int)step, len == step) != XML_STATUS_OK &&
		    p->result == 0 && (p->depth || !p->seen))
			return err_damaged(p->e, "%s: the property list is none: %s",
					   disk_file(p->d)->name,
					   XML_ErrorString(XML_GetErrorCode(p->xml)));
		off += step;
		len -= step;
	}
	return p->result;
}

int dmg_read_plist(struct disk *d, uint64_t off, uint64_t len, struct err *e)
{
	struct plist *p;
	int r;

	if (len > DMG_TABLES_MAX || !file_has(disk_file(d), off, len))
		return err_damaged(e, "%s: the property list is not in the file",
				   disk_file(d)->name);
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_nomem(e);
	p->d = d;
	p->e = e;
	p->xml = XML_ParserCreate(NULL);
	if (p->xml) {
		XML_SetUserData(p->xml, p);
		XML_SetElementHandler(p->xml, opened, closed);
		XML_SetCharacterDataHandler(p->xml, characters);
		XML_SetEntityDeclHandler(p->xml, entity);
		r = parse(p, off, len);
		XML_ParserFree(p->xml);
	} else {
		r = err_nomem(e);
	}
	free(p->table);
	free(p);
	return r;
}

#else

int dmg_read_plist(struct disk *d, uint64_t off, uint64_t len, struct err *e)
{
	(void)off;
	(void)len;
	return err_lacking(e, "%s: this vmd was built without expat, and cannot read this image",
			   disk_file(d)->name);
}

#endif
