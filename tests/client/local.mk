# tests/client/
check_PROGRAMS += tests/client/check_words
tests_client_check_words_SOURCES = tests/client/check_words.c
tests_client_check_words_CFLAGS = $(TEST_CFLAGS)
tests_client_check_words_LDADD = $(CLIENT_LIBS) $(TEST_LIBS)
