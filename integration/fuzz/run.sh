#!/usr/bin/env bash
# Runs fuzz targets, each for some seconds, and prints what came of it.
#
#   integration/fuzz/run.sh                     every target, 20 s each
#   integration/fuzz/run.sh 600 multipart note  these, 10 minutes each
#   integration/fuzz/run.sh 20 --part 2/3       every third target, from the second on
#
# Builds the targets with the stable toolchain: coverage, no sanitizer, the checks of a debug build. Seeds are made into
# target/fuzz-corpus (CONFORMANCE_DIR is needed), and what is found stays there; what fails lies in target/fuzz-crashes.
# Fails when a target does: a panic, an oracle that does not hold, more than 10 s for one input, more than 2 GiB.
set -euo pipefail
cd "$(dirname "$0")"
root="$(cd ../.. && pwd)"

seconds=20
part=""
targets=()
while [ $# -gt 0 ]; do
  case "$1" in
    --part) part="$2"; shift ;;
    -h | --help) sed -n '2,10p' "$0"; exit 0 ;;
    *[!0-9]*) targets+=("$1") ;;
    *) seconds="$1" ;;
  esac
  shift
done
if [ -z "${CONFORMANCE_DIR:-}" ] && [ -d "$root/../shared/conformance" ]; then
  CONFORMANCE_DIR="$(cd "$root/../shared/conformance" && pwd)"
fi
[ -d "${CONFORMANCE_DIR:-}" ] || { echo "CONFORMANCE_DIR must name the conformance data" >&2; exit 1; }
export CONFORMANCE_DIR

if [ ${#targets[@]} = 0 ]; then
  mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs)
fi
if [ -n "$part" ]; then
  all=("${targets[@]}")
  targets=()
  for index in "${!all[@]}"; do
    [ $((index % ${part#*/})) != $((${part%/*} - 1)) ] || targets+=("${all[$index]}")
  done
fi

# Among the workspace's own: what is not instrumented is built once for both.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
begun=$SECONDS
bins=(--bin corpus)
for target in "${targets[@]}"; do bins+=(--bin "$target"); done
RUSTC_WRAPPER="$PWD/instrument.sh" cargo build --locked --quiet "${bins[@]}"
corpus="$root/target/fuzz-corpus"
crashes="$root/target/fuzz-crashes"
mkdir -p "$corpus" "$crashes"
FUZZ_CORPUS="$corpus" "$CARGO_TARGET_DIR/debug/corpus"
echo "built in $((SECONDS - begun)) s; ${#targets[@]} targets, $seconds s each"

printf '%-22s %12s %9s %7s %8s %6s\n' target runs exec/s cov corpus crashes
failed=()
for target in "${targets[@]}"; do
  log="$crashes/$target.log"
  mkdir -p "$corpus/$target"
  found=0
  "$CARGO_TARGET_DIR/debug/$target" "$corpus/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$crashes/$target-" >"$log" 2>&1 || found=1
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
  cov=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2 || true)
  size=$(find "$corpus/$target" -type f | wc -l)
  printf '%-22s %12s %9s %7s %8s %6s\n' "$target" "${runs:--}" "${rate:--}" "${cov:--}" "$size" "$found"
  [ "$found" = 0 ] || failed+=("$target")
done
if [ ${#failed[@]} != 0 ]; then
  for target in "${failed[@]}"; do
    echo "== $target"
    tail -n 40 "$crashes/$target.log"
  done
  echo "failed: ${failed[*]} (inputs in $crashes)" >&2
  exit 1
fi
