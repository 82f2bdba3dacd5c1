# systemd/: what a service and its parts ask of systemd, and the units.
noinst_LTLIBRARIES += systemd/libsystemdglue.la
systemd_libsystemdglue_la_SOURCES = \
	systemd/journal.c \
	systemd/scope.c systemd/scope.h \
	systemd/service.c systemd/service.h
systemd_libsystemdglue_la_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
systemd_libsystemdglue_la_LIBADD = base/libbase.la $(SYSTEMD_LIBS)

# Units: @sbindir@ is filled in here, so that it follows "make sbindir=...".
systemd_units = systemd/vmd.socket systemd/vmd.service
systemd_user_units = systemd/vmd-user.socket systemd/vmd-user.service
systemsystemunitdir = $(systemdunitdir)/system
systemsystemunit_DATA = $(systemd_units)
EXTRA_DIST += systemd/vmd.socket.in systemd/vmd.service.in systemd/vmd-user.socket.in \
	systemd/vmd-user.service.in systemd/sysusers.conf systemd/tmpfiles.conf
CLEANFILES += $(systemd_units) $(systemd_user_units)
all-local: $(systemd_units) $(systemd_user_units)
systemd/vmd.socket systemd/vmd.service systemd/vmd-user.socket systemd/vmd-user.service: %: %.in
	$(AM_V_GEN)$(MKDIR_P) systemd && sed 's|@sbindir[@]|$(sbindir)|g' $< > $@.tmp && mv $@.tmp $@

# The user's units have the same names in another directory; sysusers.d and tmpfiles.d likewise.
install-data-hook:
	$(MKDIR_P) '$(DESTDIR)$(systemdunitdir)/user' '$(DESTDIR)$(prefix)/lib/sysusers.d' \
		'$(DESTDIR)$(prefix)/lib/tmpfiles.d'
	$(INSTALL_DATA) systemd/vmd-user.socket '$(DESTDIR)$(systemdunitdir)/user/vmd.socket'
	$(INSTALL_DATA) systemd/vmd-user.service '$(DESTDIR)$(systemdunitdir)/user/vmd.service'
	$(INSTALL_DATA) $(srcdir)/systemd/sysusers.conf '$(DESTDIR)$(prefix)/lib/sysusers.d/vmd.conf'
	$(INSTALL_DATA) $(srcdir)/systemd/tmpfiles.conf '$(DESTDIR)$(prefix)/lib/tmpfiles.d/vmd.conf'
uninstall-hook:
	rm -f '$(DESTDIR)$(systemdunitdir)/user/vmd.socket' '$(DESTDIR)$(systemdunitdir)/user/vmd.service' \
		'$(DESTDIR)$(prefix)/lib/sysusers.d/vmd.conf' '$(DESTDIR)$(prefix)/lib/tmpfiles.d/vmd.conf'
