/* journal.c - log lines with their fields in the journal: VMD_VM=web finds all about one VM. */
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "systemd/service.h"

enum { FIELDS_MAX = 16, TEXT_MAX = 512 };

/* Fields of ours get a prefix, so that they cannot be taken for those of others. */
static void to_journal(enum log_level level, const char *message, const char *const *fields, int n)
{
	char text[FIELDS_MAX][TEXT_MAX];
	struct iovec iov[FIELDS_MAX];
	int k = 0;

	snprintf(text[k++], TEXT_MAX, "MESSAGE=%s", message);
	snprintf(text[k++], TEXT_MAX, "PRIORITY=%d", level);
	snprintf(text[k++], TEXT_MAX, "SYSLOG_IDENTIFIER=vmd");
	for (int i = 0; i < n && k < FIELDS_MAX; i++)
		snprintf(text[k++], TEXT_MAX, "VMD_%s", fields[i]);
	for (int i = 0; i < k; i++)
		iov[i] = (struct iovec){ text[i], strlen(text[i]) };
	sd_journal_sendv(iov, k);
}

/* sd_journal_sendv() reports success when there is no journal: look for its socket. */
log_sink *journal_sink(void)
{
	return access("/run/systemd/journal/socket", W_OK) == 0 ? to_journal : NULL;
}
