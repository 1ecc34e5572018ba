#!/usr/bin/env bash
# Runs fuzz targets, each for some seconds, and prints what came of it.
#
#   integration/fuzz/run.sh                     every target, 20 s each
#   integration/fuzz/run.sh 600 multipart note  these, 10 minutes each
#   integration/fuzz/run.sh 20 --part 2/5       every fifth target, from the second on; the others read their seeds, and no more
#   integration/fuzz/run.sh 20 --jobs 2         two at a time
#
# Builds the targets with the stable toolchain: coverage, no sanitizer, the checks of a debug build. Seeds are made into
# target/fuzz-corpus (CONFORMANCE_DIR is needed), and what is found stays there; what fails lies in target/fuzz-crashes.
# Fails when a target does: a panic, an oracle that does not hold, more than 10 s for one input, more than 2 GiB. The last
# line says what was run and what was not.
set -euo pipefail
cd "$(dirname "$0")"
root="$(cd ../.. && pwd)"

seconds=20
part=1/1
jobs=1
targets=()
while [ $# -gt 0 ]; do
  case "$1" in
    --part) part="$2"; shift ;;
    --jobs) jobs="$2"; shift ;;
    -h | --help) sed -n '2,12p' "$0"; exit 0 ;;
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

[ ${#targets[@]} != 0 ] || mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs)
fuzzed=() replayed=()
for index in "${!targets[@]}"; do
  if [ $((index % ${part#*/})) = $((${part%/*} - 1)) ]; then
    fuzzed+=("${targets[$index]}")
  else
    replayed+=("${targets[$index]}")
  fi
done

# Among the workspace's own: six of seven crates of others, which are not instrumented, are built once for both.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
begun=$SECONDS
bins=(--bin corpus)
for target in "${targets[@]}"; do bins+=(--bin "$target"); done
RUSTC_WRAPPER="$PWD/instrument.sh" cargo build --locked --quiet "${bins[@]}"
export corpus="$root/target/fuzz-corpus" crashes="$root/target/fuzz-crashes"
mkdir -p "$corpus" "$crashes"
FUZZ_CORPUS="$corpus" "$CARGO_TARGET_DIR/debug/corpus"
echo "built in $((SECONDS - begun)) s; ${#targets[@]} targets"

# Runs one target, and prints its line of the table.
run() {
  local target="$1" found=0 log="$crashes/$1.log"
  shift
  mkdir -p "$corpus/$target"
  rm -f "$crashes/$target.failed"
  "$CARGO_TARGET_DIR/debug/$target" "$corpus/$target" "$@" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$crashes/$target-" >"$log" 2>&1 || found=1
  [ "$found" = 0 ] || touch "$crashes/$target.failed"
  value() { sed -n "s/^stat::$1: *//p" "$log"; }
  runs=$(value number_of_executed_units)
  rate=$(value average_exec_per_sec)
  cov=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2 || true)
  size=$(find "$corpus/$target" -type f | wc -l)
  printf '%-22s %12s %9s %7s %8s %6s\n' "$target" "${runs:--}" "${rate:--}" "${cov:--}" "$size" "$found"
}
export -f run
each() { xargs -r -P "$jobs" -I{} bash -c "run {} $1"; }

printf '%-22s %12s %9s %7s %8s %6s\n' target runs exec/s cov corpus crashes
begun=$SECONDS
printf '%s\n' "${fuzzed[@]}" | each "-max_total_time=$seconds"
if [ ${#replayed[@]} != 0 ]; then
  echo "the seeds of the others:"
  printf '%s\n' "${replayed[@]}" | each "-runs=0"
fi

failed=()
for target in "${targets[@]}"; do
  [ ! -e "$crashes/$target.failed" ] || failed+=("$target")
done
for target in "${failed[@]}"; do
  echo "== $target"
  tail -n 40 "$crashes/$target.log"
done
echo "fuzzed ${#fuzzed[@]} of ${#targets[@]} targets, $seconds s each, in $((SECONDS - begun)) s; ${#failed[@]} failed;" \
  "seeds only: ${replayed[*]:-none}"
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]} (inputs in $crashes)" >&2; exit 1; }
