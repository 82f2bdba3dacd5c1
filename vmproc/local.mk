# vmproc/: vmd-vm, the process of one virtual machine.
noinst_LTLIBRARIES += vmproc/libvmproc.la
vmproc_libvmproc_la_SOURCES = \
	vmproc/accel.c vmproc/accel.h \
	vmproc/blob.c vmproc/blob.h \
	vmproc/console.c vmproc/console.h \
	vmproc/console_log.c vmproc/console_log.h \
	vmproc/crew.c vmproc/crew.h \
	vmproc/describe.c \
	vmproc/kernel.c vmproc/kernel.h \
	vmproc/phase.c vmproc/phase.h \
	vmproc/rpc.c \
	vmproc/sandbox.c vmproc/sandbox.h \
	vmproc/scroll.c vmproc/scroll.h \
	vmproc/setup.c vmproc/setup.h \
	vmproc/setup_media.c vmproc/setup_media.h \
	vmproc/text.c vmproc/text.h \
	vmproc/thread.c vmproc/thread.h \
	vmproc/vm.c vmproc/vm.h \
	vmproc/worker.c vmproc/worker.h
vmproc_libvmproc_la_LIBADD = kvm/libkvm.la emul/libemul.la storage/libstorage.la netdev/libnetdev.la \
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

pkglibexec_PROGRAMS += vmd-vm
vmd_vm_SOURCES = vmproc/main.c
vmd_vm_LDADD = vmproc/libvmproc.la $(EMUL_LIBS)
