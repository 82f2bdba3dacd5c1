# tests/e2e/: whole programs together, and with programs of others.
dist_check_SCRIPTS += tests/e2e/npm/run.sh
EXTRA_DIST += tests/e2e/npm/clients.golden tests/e2e/npm/clients.js tests/e2e/npm/package-lock.json \
	tests/e2e/npm/package.json tests/e2e/npm/proxy.js
