#!/bin/sh
# Stands before rustc (RUSTC_WRAPPER): what is to be fuzzed gets coverage, everything else stays as the other tests have it.
rustc="$1"
shift
case " $* " in
  *" --crate-name build_script_"*) exec "$rustc" "$@" ;;
  *" --crate-name cert_authority "* | *" --crate-name conf "* | *" --crate-name gateway "* | *" --crate-name passerelle_fuzz "* | \
  *" --crate-name x509_parser "* | *" --crate-name asn1_rs "* | *" --crate-name der_parser "* | *" --crate-name der "* | \
  *" --crate-name roxmltree "* | *" --crate-name zip "* | *" --crate-name serde_saphyr "* | *" --crate-name toml_parser "* | \
  *"fuzz_targets/"*)
    exec "$rustc" "$@" --cfg fuzzing -Cpasses=sancov-module \
      -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
      -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares ;;
  *) exec "$rustc" "$@" ;;
esac
