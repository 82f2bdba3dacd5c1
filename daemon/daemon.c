/* daemon.c - small things that all nouns use: the daemon's own record, times, names, texts. */
#include "daemon/daemon.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/strbuf.h"
#include "daemon/vm.h"

/* Ids of VMs that a daemon may give before it writes its record again. */
enum { VM_IDS_AHEAD = 32 };

int daemon_save(struct daemon *d, struct err *e)
{
	struct daemon_record r = { .epoch = d->epoch,
				   .next_vm = d->next_vm + (d->stopping ? 0 : VM_IDS_AHEAD),
				   .next_job = d->next_job };
	int ret = state_save(d->state_dir, "daemon.json", &daemon_record_object, &r, e);

	if (ret == 0)
		d->vm_ids = r.next_vm;
	return ret;
}

void time_text(char *buf, size_t len)
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(buf, len, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, len - n, ".%03ldZ", ts.tv_nsec / 1000000);
}

void user_name(uid_t uid, char *buf, size_t len)
{
	struct passwd pw, *found;
	char room[4096];

	if (getpwuid_r(uid, &pw, room, sizeof(room), &found) == 0 && found)
		snprintf(buf, len, "%s", pw.pw_name);
	else
		snprintf(buf, len, "%u", uid);
}

/* Length of the UTF-8 sequence at p (RFC 3629, section 4), or 0 when it is none. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
	size_t len = p[0] < 0x80   ? 1
		     : p[0] < 0xc2 ? 0
		     : p[0] < 0xe0 ? 2
		     : p[0] < 0xf0 ? 3
		     : p[0] < 0xf5 ? 4
				   : 0;

	if (!len || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

char *clean_text(struct arena *mem, const char *data, size_t len)
{
	const unsigned char *p = (const unsigned char *)data, *end = p + len;
	char *out = arena_alloc(mem, 3, len + 1), *o = out;

	while (out && p < end) {
		size_t n = utf8_length(p, (size_t)(end - p));

		if (n == 0) {
			memcpy(o, "\xef\xbf\xbd", 3);
			o += 3;
			p++;
			continue;
		}
		if (*p && *p != '\r') {
			memcpy(o, p, n);
			o += n;
		}
		p += n;
	}
	return out;
}

static bool something_runs(struct daemon *d)
{
	struct vm *vm;

	list_for_each(vm, &d->vms, struct vm, node)
		if (vm_has_process(vm) || vm->temporary)
			return true;
	return d->n_clients > 0;
}

void daemon_check_idle(struct daemon *d)
{
	if (d->idle)
		loop_timer_set(d->idle, d->idle_ns < 0 || something_runs(d) ? -1 : d->idle_ns);
}
