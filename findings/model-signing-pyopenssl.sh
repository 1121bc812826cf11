#!/usr/bin/env bash
# model-signing imports OpenSSL (pyOpenSSL) for certificates and does not name it among what it needs. It used to come with
# sigstore; sigstore 4.5 no longer brings it, and a fresh installation cannot verify anything, keys neither. We name it
# ourselves (extra `packages`).
#
# Version: model-signing 1.1.1, sigstore 4.5.1 (PyPI), Python 3.11 to 3.13.
# Seen: "import model_signing" ends with ModuleNotFoundError: No module named 'OpenSSL'; after "pip install pyopenssl" it
# imports.
# Run by hand; it fails when the behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q model-signing==1.1.1 sigstore==4.5.1
"$work/venv/bin/pip" list 2>/dev/null | grep -iE '^(model-signing|sigstore|pyopenssl) '
said=$("$work/venv/bin/python" -c 'import model_signing.verifying' 2>&1 | tail -1) || true
echo "$said"
[ "$said" = "ModuleNotFoundError: No module named 'OpenSSL'" ] || { echo "the behaviour changed"; exit 1; }
"$work/venv/bin/pip" install -q pyopenssl==26.4.0
"$work/venv/bin/python" -c 'import model_signing.verifying' || { echo "the behaviour changed"; exit 1; }
echo "with pyopenssl it imports"
