#!/bin/sh
# Builds what is in Rust, without a registry: the tests of the crate for hosts, and the package that
# has its guest in it.
# usage: cargo.sh CARGO EXAMPLES CALLS PACKAGE, with CARGO_TARGET_DIR
# SPDX-License-Identifier: MIT
set -e
"$1" test --quiet --offline --no-run --manifest-path "$2/rust_host/Cargo.toml" --test calls
"$1" build --quiet --offline --manifest-path "$2/rust_package/Cargo.toml"
for each in $(ls -t "$CARGO_TARGET_DIR"/debug/deps/calls-*); do
  if [ -x "$each" ]; then
    cp "$each" "$3"
    break
  fi
done
cp "$CARGO_TARGET_DIR/debug/rust-package" "$4"
