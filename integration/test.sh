#!/usr/bin/env bash
# Runs every test of the project, with what the tests need installed first.
#
#   integration/test.sh                 install (apt, a Python venv), then test
#   integration/test.sh --no-install    test only; the judges must be there already
#
# The independent judges (openssl, xmllint, xmlsec1, signxml, moto, curl, unzip, age, Chromium, PostgreSQL, nginx, node, valgrind, systemd-analyze, Go's checksum database) are part of the
# tests: where one is missing the run stops and says so, it never passes by leaving a judge out. Some tests mount file systems, from images
# (the power-cut test) or in memory (full disks), as root or by sudo; where that cannot be (a container without the right), the run says at
# its beginning and at its end that they were left out.
set -euo pipefail
cd "$(dirname "$0")/.."
# Debian keeps nginx where only root looks.
export PATH="$PATH:/usr/sbin"

say() { printf '\n== %s\n' "$*"; }

install=yes
for argument in "$@"; do
  case "$argument" in
    --no-install) install=no ;;
    -h|--help) sed -n '2,9p' "$0"; exit 0 ;;
    *) echo "unknown argument: $argument (try --help)" >&2; exit 2 ;;
  esac
done

venv="${PASSERELLE_VENV:-$PWD/target/venv}"
if [ "$install" = yes ]; then
  say "installing the judges: openssl xmllint xmlsec1 curl unzip age chromium postgresql go nginx node valgrind (apt), signxml, moto and vectors (Python venv in $venv)"
  need=""
  for package in openssl libxml2-utils xmlsec1 curl unzip procps e2fsprogs mount util-linux systemd age chromium chromium-driver postgresql golang-go golang-golang-x-mod-dev python3-venv gcc g++ make libssl-dev pkg-config nginx-light nodejs valgrind; do
    dpkg -s "$package" >/dev/null 2>&1 || need="$need $package"
  done
  if [ -n "$need" ]; then
    sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -q
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends $need
  fi
  [ -x "$venv/bin/python" ] || { mkdir -p "$(dirname "$venv")"; python3 -m venv "$venv"; }
  "$venv/bin/python" -c 'import signxml' 2>/dev/null || "$venv/bin/pip" install --quiet 'signxml==5.2.0'
  "$venv/bin/python" -c 'import cryptography_vectors' 2>/dev/null || "$venv/bin/pip" install --quiet 'cryptography-vectors==50.0.2'
  "$venv/bin/python" -c 'import moto.server' 2>/dev/null || "$venv/bin/pip" install --quiet 'moto[server]==5.2.5'
fi
export PASSERELLE_PYTHON="${PASSERELLE_PYTHON:-$venv/bin/python}"

for judge in openssl xmllint xmlsec1 curl unzip age chromium chromedriver systemd-analyze setpriv go nginx node valgrind "$PASSERELLE_PYTHON"; do
  command -v "$judge" >/dev/null || { echo "missing: $judge. Run integration/test.sh without --no-install." >&2; exit 1; }
done
for module in signxml moto.server boto3 cryptography_vectors; do
  "$PASSERELLE_PYTHON" -c "import $module" || { echo "missing: $module. Run integration/test.sh without --no-install." >&2; exit 1; }
done
compgen -G '/usr/lib/postgresql/*/bin/pg_ctl' >/dev/null || { echo "missing: PostgreSQL. Run integration/test.sh without --no-install." >&2; exit 1; }

if [ -z "${CONFORMANCE_DIR:-}" ] && [ -d ../shared/conformance ]; then
  CONFORMANCE_DIR="$(cd ../shared/conformance && pwd)"; export CONFORMANCE_DIR
fi
if [ -n "${CONFORMANCE_DIR:-}" ]; then
  say "conformance data: $CONFORMANCE_DIR"
else
  say "CONFORMANCE_DIR is not set: the tests against recorded X-Road data will say that they were not run"
fi

# Whether an image can be mounted here; says why not.
mounts() (
  root=""; [ "$(id -u)" = 0 ] || root="sudo --non-interactive"
  folder=$(mktemp -d)
  trap '$root umount "$folder/mount" >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT
  truncate -s 8M "$folder/image" && mkdir "$folder/mount"
  /usr/sbin/mkfs.ext4 -q -F "$folder/image" >/dev/null && $root mount -t ext4 -o loop "$folder/image" "$folder/mount"
)
# Whether a file system in memory can be.
mounts_in_memory() (
  root=""; [ "$(id -u)" = 0 ] || root="sudo --non-interactive"
  folder=$(mktemp -d)
  trap '$root umount "$folder" >/dev/null 2>&1 || true; rmdir "$folder"' EXIT
  $root mount -t tmpfs -o size=1m tmpfs "$folder"
)
left_out=""
if ! reason=$(mounts_in_memory 2>&1); then
  export PASSERELLE_MOUNT=no
  left_out="NOT RUN: the tests on full and read-only disks, because none can be mounted here: $(head -n 1 <<<"$reason")"
  say "$left_out"
fi
if ! reason=$(mounts 2>&1); then
  export PASSERELLE_POWER_CUT=no
  cut="NOT RUN: the power-cut test, because no image can be mounted here: $(head -n 1 <<<"$reason")"
  say "$cut"
  left_out="${left_out:+$left_out. }$cut"
fi

say "building the programs that the tests start (the first build takes some minutes)"
cargo build --locked --workspace --bins --tests

say "running the tests, as many programs at a time as there are cores"
rm -f target/tmp/attack-table.txt
integration/run_tests.py
cargo test --locked --workspace --doc
say "the attack table: $(tail -n 1 target/tmp/attack-table.txt)"

say "running the tests of TLS over OpenSSL, for peers that have CBC suites only"
cargo test --locked --workspace --features gateway/legacy-tls,integration/legacy-tls --test legacy_tls

say "all tests passed${left_out:+ that were run. $left_out}"
