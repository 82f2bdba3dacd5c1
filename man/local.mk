# man/: manual pages, made from templates and the tables of the programs.
noinst_PROGRAMS += man/mangen
man_mangen_SOURCES = man/mangen.c daemon/config.c
man_mangen_LDADD = $(CLIENT_LIBS)

man_templates = man/vmctl.1.in man/vm.json.5.in man/vmd-rpc.7.in man/vmd.8.in
EXTRA_DIST += $(man_templates)
nodist_man_MANS += man/vmctl.1 man/vm.json.5 man/vmd-rpc.7 man/vmd.8
man/vmctl.1 man/vm.json.5 man/vmd-rpc.7 man/vmd.8: man/mangen$(EXEEXT) $(man_templates)
	$(AM_V_GEN)man/mangen$(EXEEXT) $(top_srcdir)/$@.in > $@.tmp && mv $@.tmp $@
CLEANFILES += $(nodist_man_MANS)
