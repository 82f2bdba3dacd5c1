#!/bin/sh -eu
# Every manual page is right mdoc, without a warning.
cd "${top_builddir:-.}"
command -v mandoc >/dev/null || { echo "skipped: mandoc is not installed"; exit 77; }
mandoc -Tlint -W warning man/*.[1-8]
