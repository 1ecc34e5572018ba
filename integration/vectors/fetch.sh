#!/usr/bin/env bash
# Brings the vectors of manifest.tsv: integration/vectors/fetch.sh FOLDER
#
# Then PASSERELLE_VECTORS=FOLDER cargo test --workspace runs the tests that want them. What came is compared with the
# manifest: the object that git knows by this id, and where it is a file its SHA-256.
set -euo pipefail
cd "$(dirname "$0")"
[ $# = 1 ] || { sed -n '2,5p' "$0"; exit 2; }
mkdir -p "$1"
folder="$(cd "$1" && pwd)"
clones="$folder/.clones"

while IFS=$'\t' read -r name repository commit path object sha256 cases _; do
  case "$name" in \#* | "") continue ;; esac
  clone="$clones/$(basename "$repository")"
  if [ ! -d "$clone" ]; then
    git init --quiet --bare "$clone"
    git -C "$clone" fetch --quiet --depth 1 "$repository" "$commit"
  fi
  found="$(git -C "$clone" rev-parse "$commit:$path")"
  [ "$found" = "$object" ] || { echo "$name: $path is $found, not $object" >&2; exit 1; }
  target="$folder/$name"
  mkdir -p "$(dirname "$target")"
  if [ "$(git -C "$clone" cat-file -t "$object")" = tree ]; then
    mkdir -p "$target"
    git -C "$clone" archive "$object" | tar -x -C "$target"
  else
    git -C "$clone" cat-file blob "$object" >"$target"
    if [ "$sha256" != - ]; then
      echo "$sha256  $target" | sha256sum --check --quiet
    fi
  fi
  echo "$name: $cases cases, from $repository at ${commit:0:12}"
done <manifest.tsv
