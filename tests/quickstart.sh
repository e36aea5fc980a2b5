#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Starts a standalone broker in a temporary directory on free ports, sends every line of a file through a topic, reads
# it back and compares. Stops what it started and removes what it wrote.
#   quickstart.sh [FILE]
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
bin=$root/build/bin
work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-quickstart-XXXXXX")
broker=
running=

stop() {
    status=$?
    trap - EXIT INT TERM
    [ -z "$running" ] || kill "$running" 2>/dev/null || true
    if [ -n "$broker" ]; then
        kill "$broker" 2>/dev/null || true
        wait "$broker" 2>/dev/null || true
    fi
    if [ "$status" -ne 0 ] && [ -s "$work/diag" ]; then
        echo "what the broker said last:" >&2
        tail -n 10 "$work/diag" >&2
    fi
    rm -rf "$work"
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "quickstart: $1" >&2
    exit 1
}
say() { printf '  %-9s %s\n' "$1" "$2"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
# 1234567 -> 1,234,567
grouped() { echo "$1" | sed -e ':a' -e 's/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/' -e 'ta'; }
megabytes() { awk -v b="$1" 'BEGIN { printf "%.1f MB", b / 1e6 }'; }
rate() { # count bytes milliseconds
    awk -v n="$1" -v b="$2" -v ms="$3" \
        'BEGIN { s = (ms > 0 ? ms : 1) / 1000; printf "%.2f s: %.0f records/s, %.1f MB/s", s, n / s, b / 1e6 / s }'
}

# Draws a bar until process $1 ends; "$2 $1" prints how many of $3 bytes are through. Returns the process's status.
watch() {
    if [ -t 1 ]; then
        while kill -0 "$1" 2>/dev/null; do
            awk -v done="$($2 "$1")" -v all="$3" -v what="$4" 'BEGIN {
                n = all > 0 ? int(40 * done / all) : 40; if (n > 40) n = 40
                bar = ""; for (i = 0; i < 40; i++) bar = bar (i < n ? "#" : ".")
                printf "\r  %-9s [%s] %3d %%", what, bar, all > 0 ? 100 * done / all : 100 }'
            sleep 0.05
        done
        printf '\r%70s\r' ''
    fi
    wait "$1"
}
pos_of_input() { awk '$1 == "pos:" { p = $2 } END { print p + 0 }' "/proc/$1/fdinfo/0" 2>/dev/null || echo 0; }
size_of_output() { stat -c %s "$work/back"; }

# --- a file of at least 50,000 lines -------------------------------------------------------------

file=$work/lines
if [ $# -gt 0 ] && [ -n "$1" ]; then
    [ -r "$1" ] || fail "$1 cannot be read"
    from=$1
    cat "$1" >"$file"
    # Records are lines: the last one ends, too.
    [ ! -s "$file" ] || [ -z "$(tail -c 1 "$file" | tr '\n' ' ' | tr -d ' ')" ] || echo >>"$file"
else
    from="/usr/share/common-licenses and /usr/include"
    find /usr/share/common-licenses /usr/include -type f 2>/dev/null | LC_ALL=C sort | while read -r f; do
        cat "$f"
        echo
    done | head -n 1000000 >"$file"
    [ "$(wc -l <"$file")" -ge 50000 ] ||
        fail "this machine has less than 50,000 lines of text in $from; name a file: make quickstart FILE=..."
fi
lines=$(wc -l <"$file")
bytes=$(stat -c %s "$file")

echo "Sluice quickstart"
say file "$(grouped "$lines") lines, $(megabytes "$bytes"), from $from"

# --- a broker --------------------------------------------------------------------------------------

mkfifo "$work/ready"
begin=$(now_ms)
"$bin/sluice-broker" --standalone --set "data.dirs=$work/data" --set listener=127.0.0.1:0 \
    --set metad.listener=127.0.0.1:0 --ready-fd 3 3>"$work/ready" 2>"$work/diag" </dev/null &
broker=$!
bootstrap=
while read -r name address; do
    [ "$name" != metad ] || bootstrap=$address
done <"$work/ready"
[ -n "$bootstrap" ] || fail "the broker did not start"
say broker "sluice-broker --standalone, up in $(($(now_ms) - begin)) ms, bootstrap $bootstrap"
sluice() { "$bin/sluice" --bootstrap "$bootstrap" "$@"; }

# --- there and back ----------------------------------------------------------------------------------

sluice topic create quickstart --partitions 1 >/dev/null
say topic "quickstart: 1 partition, durable: a record is on disk before it is acknowledged"

begin=$(now_ms)
"$bin/sluice" --bootstrap "$bootstrap" produce quickstart <"$file" >/dev/null &
running=$!
watch "$running" pos_of_input "$bytes" sending || fail "not every record was acknowledged"
say sent "$(grouped "$lines") records in $(rate "$lines" "$bytes" $(($(now_ms) - begin)))"

begin=$(now_ms)
: >"$work/back"
"$bin/sluice" --bootstrap "$bootstrap" consume quickstart --from-beginning --exit-at-end >"$work/back" </dev/null &
running=$!
watch "$running" size_of_output "$bytes" reading || fail "reading back failed"
running=
say read "$(grouped "$(wc -l <"$work/back")") records in $(rate "$lines" "$bytes" $(($(now_ms) - begin)))"

cmp "$file" "$work/back" || fail "what came back is not what was sent"
say compared "identical, byte for byte"
segment=$(find "$work/data" -name '*.log' -path '*quickstart*' | head -n 1)
say "on disk" "$(megabytes "$(stat -c %s "$segment")") in ${segment#"$work/"}, memory $(awk '/^VmRSS/ { printf "%.1f MB", $2 / 1000 }' "/proc/$broker/status")"

cat <<END

Stopped and removed. To go on with a broker that stays (data in ./sluice-data):
  build/bin/sluice-broker --standalone
and beside it:
  build/bin/sluice topic create hello
  echo world | build/bin/sluice produce hello
  build/bin/sluice consume hello --from-beginning --exit-at-end
  build/bin/sluice --help
END
