#include "systemd/scope.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

bool scope_available(bool system)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	char path[256];

	if (system)
		return access("/run/systemd/system", F_OK) == 0;
	if (!dir)
		return false;
	snprintf(path, sizeof(path), "%s/systemd/private", dir);
	return access(path, F_OK) == 0;
}

/* The properties a(sv) of StartTransientUnit (org.freedesktop.systemd1(5)). */
static int add_properties(sd_bus_message *m, bool system, const char *name, pid_t pid,
			  int64_t stop_ns)
{
	char description[128];
	int r;

	snprintf(description, sizeof(description), "Virtual machine %s", name);
	r = sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)", "Description", "s", description);
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)", "PIDs", "au", 1, (uint32_t)pid);
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)", "TimeoutStopUSec", "t",
					  (uint64_t)(stop_ns / 1000));
	if (r >= 0)
		r = sd_bus_message_append(m, "(sv)", "CollectMode", "s", "inactive-or-failed");
	if (r >= 0 && system)
		r = sd_bus_message_append(m, "(sv)", "Slice", "s", "machine.slice");
	/* Stopped before what stands here: the guest may still write to a remote disk. */
	if (r >= 0 && system)
		r = sd_bus_message_append(m, "(sv)", "After", "as", 3, "vmd.service",
					  "network-online.target", "remote-fs.target");
	return r < 0 ? r : sd_bus_message_close_container(m);
}

int scope_create(bool system, const char *name, pid_t pid, int64_t stop_ns, struct err *e)
{
	__attribute__((cleanup(sd_bus_flush_close_unrefp))) sd_bus *bus = NULL;
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;
	__attribute__((cleanup(sd_bus_error_free))) sd_bus_error error = SD_BUS_ERROR_NULL;
	char unit[128];
	int r;

	snprintf(unit, sizeof(unit), "vmd-vm-%s.scope", name);
	r = system ? sd_bus_open_system(&bus) : sd_bus_open_user(&bus);
	if (r >= 0)
		r = sd_bus_message_new_method_call(
		    bus, &m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
		    "org.freedesktop.systemd1.Manager", "StartTransientUnit");
	if (r >= 0)
		r = sd_bus_message_append(m, "ss", unit, "replace");
	if (r >= 0)
		r = add_properties(m, system, name, pid, stop_ns);
	if (r >= 0)
		r = sd_bus_message_append(m, "a(sa(sv))", 0);
	if (r >= 0)
		r = sd_bus_call(bus, m, UINT64_C(10000000), &error, NULL);
	if (r >= 0 || sd_bus_error_has_name(&error, "org.freedesktop.systemd1.UnitExists"))
		return 0;
	return err_set(e, r, "systemd does not make the scope %s: %s", unit,
		       error.message ? error.message : strerror(-r));
}
