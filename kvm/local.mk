# kvm/: the KVM engine.
EXTRA_DIST += kvm/kvm_caps.def
noinst_LTLIBRARIES += kvm/libkvm.la
kvm_libkvm_la_SOURCES = \
	kvm/kvm.h kvm/kvm_vm.h \
	kvm/kvm_cpuid.c \
	kvm/kvm_doorbell.c \
	kvm/kvm_exit.c \
	kvm/kvm_irq.c \
	kvm/kvm_log.c \
	kvm/kvm_probe.c \
	kvm/kvm_slots.c \
	kvm/kvm_state.c \
	kvm/kvm_system.c \
	kvm/kvm_vcpu.c \
	kvm/kvm_vm.c \
	kvm/kvm_xsave.c
