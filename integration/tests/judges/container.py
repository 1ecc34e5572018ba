"""Judges the signature of an ASiC-E container with signxml: python container.py CONTAINER SIGNER.pem

Every reference must be found in the container and fit, and the signature must be the signer's. Who the signer is
signxml does not judge: its path validation is the Web's, which refuses certificates for non-repudiation alone.
Prints the start of what was signed, one reference a line; exits with 1 and the reason otherwise.
"""

import sys
import zipfile

from signxml import SignatureConfiguration, XMLVerifier
from signxml.exceptions import InvalidInput, InvalidSignature

container, signer = sys.argv[1:]
parts = zipfile.ZipFile(container)
# The data object and the signed properties: nothing less, nothing more.
config = SignatureConfiguration(location=".//", expect_references=2)
try:
    results = XMLVerifier().verify(
        parts.read("META-INF/signatures.xml"),
        x509_cert=open(signer).read(),
        uri_resolver=lambda uri: parts.read(uri.lstrip("/")),
        expect_config=config,
    )
except (InvalidInput, InvalidSignature, KeyError) as reason:
    sys.exit(f"refused: {type(reason).__name__}: {reason}")
for result in results:
    print(result.signed_data.split(b"\n", 1)[0][:60].decode("utf-8", "replace"))
