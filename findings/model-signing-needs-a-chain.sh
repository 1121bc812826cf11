#!/usr/bin/env bash
# model-signing's "sign certificate" fails where no --certificate_chain is given, which its help calls optional: it joins
# the chain's files, and cryptography refuses to read certificates from nothing. A private key with a password cannot be
# used from its command line or its documented API either: the password goes on as text, and cryptography takes bytes.
# We give the signer's own certificate as the chain, and the password as bytes.
#
# Version: model-signing 1.1.1 (PyPI), cryptography 46 to 50, Python 3.11 to 3.13.
# Seen: "Signing failed with error: Unable to load PEM file. ... MalformedFraming"; with the certificate as its own chain
# "Signing succeeded". "sign key --password": a TypeError about bytes; with the password as bytes it signs.
# Run by hand; it fails when the behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q model-signing==1.1.1 sigstore==4.5.1 cryptography==50.0.2 pyopenssl==26.4.0
"$work/venv/bin/pip" list 2>/dev/null | grep -iE '^(model-signing|cryptography) '
cd "$work"
echo model >model.bin
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl req -new -x509 -key key.pem -subj /CN=signer -days 2 -out cert.pem \
  -addext keyUsage=critical,digitalSignature -addext extendedKeyUsage=codeSigning
openssl pkcs8 -topk8 -in key.pem -passout pass:secret -out locked.pem
sign() { "$work/venv/bin/python" -m model_signing sign "$@" 2>&1 | tail -1; }
alone=$(sign certificate model.bin --signature a.sig --private_key key.pem --signing_certificate cert.pem || true)
echo "without a chain: $alone"
with=$(sign certificate model.bin --signature b.sig --private_key key.pem --signing_certificate cert.pem --certificate_chain cert.pem)
echo "with a chain:    $with"
locked=$(sign key model.bin --signature c.sig --private_key locked.pem --password secret || true)
echo "with a password: $locked"
bytes=$("$work/venv/bin/python" -c '
from model_signing import signing
signing.Config().use_elliptic_key_signer(private_key="locked.pem", password=b"secret").sign("model.bin", "d.sig")
print("signed")')
echo "as bytes:        $bytes"
case $alone/$with/$locked/$bytes in
  *MalformedFraming*/*succeeded*/*bytes*/signed) ;;
  *) echo "the behaviour changed"; exit 1 ;;
esac
