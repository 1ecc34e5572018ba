#!/usr/bin/env bash
# Builds the programs so that the same source gives the same bytes, wherever it lies.
#
#   integration/reproducible.sh build     build here, into target/reproducible/
#   integration/reproducible.sh           build what is committed in two folders of other names, and compare; the programs are then
#                                         in target/reproduced/
#
# Same bytes need the same rustc, C compiler and linker, besides the source: their versions are printed with the hashes. Each
# program carries what it is built from (`cargo auditable`, installed when it is not there): `cargo audit bin` reads it.
# PROFILE=dev builds faster; PROGRAMS="passerelle-conf" builds less. Two release builds take long: not part of CI.
set -euo pipefail

programs="${PROGRAMS:-passerelle-gateway passerelle-signer passerelle-ca passerelle-conf}"
profile="${PROFILE:-release}"

# In the folder of the source: paths are the only thing that a build takes from where it is.
build() (
  source="$(pwd -P)"
  cargo_home="${CARGO_HOME:-$HOME/.cargo}"
  export CARGO_TARGET_DIR="$source/target/reproducible" CARGO_INCREMENTAL=0 SOURCE_DATE_EPOCH=0
  export RUSTFLAGS="--remap-path-prefix=$source=/passerelle --remap-path-prefix=$cargo_home=/cargo -C link-arg=-Wl,--build-id=none"
  # ring, aws-lc and jemalloc bring C and assembler.
  maps="-ffile-prefix-map=$source=/passerelle -ffile-prefix-map=$cargo_home=/cargo"
  export CFLAGS="${CFLAGS:-} $maps" CXXFLAGS="${CXXFLAGS:-} $maps"
  arguments=(--locked --workspace --profile "$profile")
  for program in $programs; do arguments+=(--bin "$program"); done
  cargo auditable build "${arguments[@]}"
)

built() {
  local folder="$profile"; [ "$folder" != dev ] || folder=debug
  for program in $programs; do echo "target/reproducible/$folder/$program"; done
}

cd "$(dirname "$0")/.."
command -v cargo-auditable >/dev/null || cargo install --locked cargo-auditable --version 0.7.7
case "${1:-compare}" in
  build) build; sha256sum $(built) ;;
  compare)
    [ -z "$(git status --porcelain)" ] || echo "what is not committed is left out" >&2
    work="$(mktemp -d)"
    trap 'rm -rf "$work"' EXIT
    kept="$PWD/target/reproduced"
    rm -rf "$kept"
    # Names of other lengths: a path that got in would also shift everything behind it.
    for folder in "$work/a" "$work/another-folder/below"; do
      mkdir -p "$folder" "$kept/$(basename "$folder")"
      git archive HEAD | tar -x -C "$folder"
      (cd "$folder" && build && cp $(built) "$kept/$(basename "$folder")/")
      rm -rf "$folder"
    done
    rustc --version; cc --version | head -n 1; ld --version | head -n 1
    (cd "$kept/a" && sha256sum -- *)
    for program in $programs; do
      cmp "$kept/a/$program" "$kept/below/$program" || different="${different:-} $program"
    done
    if [ -n "${different:-}" ]; then
      echo "not the same bytes:$different; both are in $kept: look for a path (strings), or with diffoscope" >&2
      exit 1
    fi
    mv "$kept"/a/* "$kept/"
    rm -rf "$kept/a" "$kept/below"
    echo "bit-identical from two folders: $programs" ;;
  *) sed -n '2,10p' "$0"; exit 2 ;;
esac
