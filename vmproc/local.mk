# vmproc/: vmd-vm, the process of one virtual machine.
noinst_LTLIBRARIES += vmproc/libvmproc.la
vmproc_libvmproc_la_SOURCES = \
	vmproc/blob.c vmproc/blob.h \
	vmproc/console.c vmproc/console.h \
	vmproc/console_log.c vmproc/console_log.h \
	vmproc/crew.c vmproc/crew.h \
	vmproc/kernel.c vmproc/kernel.h \
	vmproc/phase.c vmproc/phase.h \
	vmproc/ring.c vmproc/ring.h \
	vmproc/sandbox.c vmproc/sandbox.h \
	vmproc/text.c vmproc/text.h \
	vmproc/thread.c vmproc/thread.h
vmproc_libvmproc_la_LIBADD = \
	protocol/libprotocol.la base/libjail.la base/libbase.la

# The system calls a worker may make, from the comments beside the code that makes them.
vmproc_call_files = $(wildcard $(addprefix $(top_srcdir)/, \
	base/*.c protocol/*.c storage/*.c netdev/netdev.c emul/*/*.c emul/*/*/*.c virtio/*.c kvm/*.c \
	vmproc/*.c))
vmproc/jail_calls.inc: $(top_srcdir)/base/jail_calls.awk $(vmproc_call_files)
	$(AM_V_GEN)$(MKDIR_P) vmproc && $(AWK) -f $(top_srcdir)/base/jail_calls.awk \
		$(vmproc_call_files) > $@.tmp && mv $@.tmp $@
vmproc/sandbox.lo: vmproc/jail_calls.inc
BUILT_SOURCES += vmproc/jail_calls.inc
CLEANFILES += vmproc/jail_calls.inc
