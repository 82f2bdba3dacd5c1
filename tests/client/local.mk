# tests/client/: vmctl's own work; scripts use the frame of tests/e2e.
check_PROGRAMS += tests/client/check_words
tests_client_check_words_SOURCES = tests/client/check_words.c
tests_client_check_words_CFLAGS = $(TEST_CFLAGS)
tests_client_check_words_LDADD = $(CLIENT_LIBS) $(TEST_LIBS)

dist_check_SCRIPTS += tests/client/disk-jobs.sh tests/client/disk-kill.sh tests/client/disk-like.sh \
	tests/client/disk-measure.sh tests/client/disk-nbd.sh
