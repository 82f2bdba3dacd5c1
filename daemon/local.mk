# daemon/: the program vmd.
sbin_PROGRAMS += vmd
vmd_SOURCES = \
	daemon/adopt.c \
	daemon/chain.c \
	daemon/child.c daemon/child.h \
	daemon/config.c daemon/config.def daemon/config.h \
	daemon/daemon.c daemon/daemon.h \
	daemon/disk_jobs.c \
	daemon/disks.c \
	daemon/dispatch.c \
	daemon/doctor.c \
	daemon/events.c \
	daemon/files.c \
	daemon/host.c \
	daemon/jobs.c daemon/jobs.h \
	daemon/machines.c \
	daemon/main.c \
	daemon/netproc.c daemon/netproc.h \
	daemon/nets.c \
	daemon/process.c daemon/process.h \
	daemon/requests.c \
	daemon/scope.c \
	daemon/server.c \
	daemon/state.c daemon/state.def daemon/state.h \
	daemon/vm.h \
	daemon/vm_apply.c \
	daemon/vm_console.c \
	daemon/vm_life.c \
	daemon/vm_power.c \
	daemon/vm_start.c \
	daemon/vms.c \
	daemon/worker.c
vmd_LDADD = systemd/libsystemdglue.la storage/libstorage.la protocol/libprotocol.la \
	base/libbase.la
