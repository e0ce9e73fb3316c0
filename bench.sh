#!/usr/bin/env bash
# Runs the benchmarks, each with its reference in the same run, and prints what docs/performance.md is made from.
#
#   ./bench.sh                       all of them, about 15 minutes once built
#   ./bench.sh gateway [options]     one of them: gateway, lifecycle, journal, decision, redaction, verifier, attestation, tdx
#   ./bench.sh gateway --clients 64 --only token
#
# Needs what ./demo.sh needs, and openssl. Logs are written below $TMPDIR (/tmp): put it on the disk that is to be measured.
# A figure means something only on a machine that does nothing else: the load average stands beside it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

all=(gateway lifecycle journal decision redaction verifier attestation tdx)

say() { printf '\n== %s\n' "$*"; }

build() {
  say "build (release)"
  nice cargo build --release --package countersign --package countersign-benches
  (cd verifier && nice cargo build --release --package countersign-verify --example verify_bench)
  (cd benches/attestation && nice cargo build --release --locked)
}

machine() {
  say "machine"
  printf 'date      %s\n' "$(date -u +%Y-%m-%dT%H:%MZ)"
  printf 'commit    %s%s\n' "$(git rev-parse --short HEAD)" "$(git diff --quiet HEAD || printf ' with changes')"
  printf 'processor %s x %s\n' "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
  printf 'memory    %s\n' "$(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
  printf 'system    Linux %s\n' "$(uname -r)"
  printf 'disk      %s\n' "$(df --output=source,fstype "${TMPDIR:-/tmp}" | tail -n 1)"
  printf 'rust      %s\n' "$(rustc --version)"
}

run() {
  local name=$1
  shift
  local program=target/release/$name
  [[ $name == verifier ]] && program=target/release/examples/verify_bench
  [[ $name == attestation ]] && program=target/release/snp
  say "$name, load average $(cut -d ' ' -f 1 /proc/loadavg)"
  printf '$ %s\n' "$program $*"
  "$program" "$@"
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit
fi
names=("${all[@]}")
if (($#)); then
  [[ " ${all[*]} " == *" $1 "* ]] || {
    printf 'bench: no benchmark %s; there are: %s\n' "$1" "${all[*]}" >&2
    exit 2
  }
  names=("$1")
  shift
fi
build
machine
for name in "${names[@]}"; do
  run "$name" "$@"
done
