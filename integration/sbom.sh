#!/usr/bin/env bash
# What each program is made of, as CycloneDX (JSON), valid by its schema: target/sbom/<program>.cdx.json
#
#   integration/sbom.sh [FOLDER]    FOLDER: programs built by reproducible.sh; what is built into each must stand in its list
#
# Needs cargo-cyclonedx (installed from crates.io when it is not there), and a Python (PASSERELLE_PYTHON) with
# cyclonedx-python-lib[json-validation]==11.12.0. Not part of CI: the lock file says the same, and `cargo audit` judges that there.
set -euo pipefail
cd "$(dirname "$0")/.."

programs="passerelle-gateway passerelle-signer passerelle-ca passerelle-conf"
python="${PASSERELLE_PYTHON:-python3}"
"$python" -c 'import cyclonedx.validation.json, jsonschema' || {
  echo "$python needs: pip install 'cyclonedx-python-lib[json-validation]==11.12.0' (PASSERELLE_PYTHON names another one)" >&2
  exit 1
}
command -v cargo-cyclonedx >/dev/null || cargo install --locked cargo-cyclonedx --version 0.5.9
rm -rf target/sbom
mkdir -p target/sbom
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
# It writes beside the Cargo.toml of each package of the workspace, for each program of it; ours to give away are taken from there.
find . -name '*_bin.cdx.json' -not -path './target/*' -delete
cargo cyclonedx --quiet --format json --spec-version 1.5 --describe binaries
for program in $programs; do
  found="$(find . -name "${program}_bin.cdx.json" -not -path './target/*')"
  [ -n "$found" ] || { echo "cargo cyclonedx has made no list for $program: is it still a program of the workspace?" >&2; exit 1; }
  mv "$found" "target/sbom/$program.cdx.json"
done
find . -name '*_bin.cdx.json' -not -path './target/*' -delete
"$python" integration/sbom.py target/sbom "${1:-}"
