#!/bin/sh
# Tries the plug-ins: try.sh PROGRAM UPPER TURN FOR_EVER, which are image files.
# Must not need more than a shell: the emulated hosts run it, too.
# SPDX-License-Identifier: MIT
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/offered"
mkfifo "$folder/lines"
"$1" "$folder/offered" <"$folder/lines" >"$folder/said" &
program=$!
exec 3>"$folder/lines"

# Waits until the program has said it, a minute at most.
said() {
  for _ in $(seq 600); do
    if grep -q "$1" "$folder/said"; then return; fi
    kill -0 $program || break
    sleep 0.1
  done
  echo "not said: $1; but:"
  cat "$folder/said"
  exit 1
}

offer() {
  cp "$1" "$folder/.$2"
  mv "$folder/.$2" "$folder/offered/$2"
}

offer "$2" shout.virtine
if ! { said "shout is there"; }; then exit 1; fi
echo "shout hello" >&3
if ! { said "^shout: "; }; then exit 1; fi
if grep -q "^shout: no_kvm" "$folder/said"; then
  echo "skipped: no KVM here"
  exec 3>&-
  wait
  exit 77
fi
said "^shout: HELLO"
# A call of the old version goes on while another takes its place.
offer "$4" turn.virtine
said "turn is there"
echo "turn abc" >&3
offer "$3" turn.virtine
said "turn is another now"
echo "turn abc" >&3
said "^turn: cba"
said "^turn: timed_out"
# Broken and hostile files.
head -c 3000 "$3" >"$folder/offered/cut.virtine"
said "cut is not taken: image_refused: .*truncated"
head -c 3000 /dev/urandom >"$folder/offered/noise.virtine"
said "noise is not taken: image_refused: .*no ELF file"
echo "shout still here" >&3
said "^shout: STILL HERE"
rm "$folder/offered/shout.virtine"
said "shout is gone"
echo "shout hello" >&3
said "there is no command shout"
exec 3>&-
wait $program
echo "all is well"
