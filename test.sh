#!/usr/bin/env bash
# Runs every test of the project: formatting, lints, documentation, dependencies, unit and whole-system
# tests, a short run of each fuzz target, the second verifier, the demo, and clients and servers
# of others. Installs what it needs. Prints what it runs.
#
#   ./test.sh          everything (20 to 40 minutes on two cores the first time)
#   ./test.sh quick    only tests of the code: no lints, dependency checks, fuzzing or demo
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mode=${1:-all}
started=$SECONDS

run() {
  printf '\n==> [%4d s] %s\n' $((SECONDS - started)) "$*"
  "$@"
}
in_verifier() {
  printf '\n==> [%4d s] (verifier) %s\n' $((SECONDS - started)) "$*"
  (cd verifier && "$@")
}

install_packages() {
  local packages=(faketime gcc git libc6-dev libtss2-dev libtss2-tcti-swtpm0 make openssl pkg-config python3 python3-venv swtpm) missing=() package
  command -v npm >/dev/null || packages+=(npm)
  command -v dpkg-query >/dev/null || { echo "no dpkg here; going on as if installed: ${packages[*]}"; return; }
  for package in "${packages[@]}"; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *' installed' ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  local as_root=()
  ((EUID)) && as_root=(sudo)
  run "${as_root[@]}" apt-get update -q
  run "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# A cargo tool of a known version, built once.
cargo_tool() {
  local name=$1 version=$2
  [[ $(cargo "${name#cargo-}" --version 2>/dev/null) == *"$version"* ]] || run cargo install "$name" --locked --quiet --version "$version"
}

# What needs no quiet and no program of ours goes on beside the tests, which mostly wait: it has what they leave of the
# processors. Its output comes when it is awaited.
beside_log=target/beside.log
start_beside() {
  # A group of its own, which ends as a whole if a test fails.
  set -m
  printf '\n==> [%4d s] beside the tests, told after them: documentation, dependencies, fuzz targets\n' $((SECONDS - started))
  (
    renice -n 19 "$BASHPID" >/dev/null
    cargo_tool cargo-deny 0.20.2
    run cargo fetch --locked --quiet
    in_verifier cargo fetch --locked --quiet
    run cargo deny --offline check licenses bans sources
    in_verifier cargo deny --offline check licenses bans sources
    cargo_tool cargo-fuzz 0.13.2
    run verifier/fuzz/run build
    # Links to private items lead whoever reads the source; the published pages show them as text.
    rustdoc='-D warnings -A rustdoc::private_intra_doc_links'
    run env RUSTDOCFLAGS="$rustdoc" cargo doc --workspace --no-deps --locked
    in_verifier env RUSTDOCFLAGS="$rustdoc" cargo doc --workspace --no-deps --locked
  ) >"$beside_log" 2>&1 &
  beside=$!
  set +m
  trap 'kill -- "-$beside" 2>/dev/null || true' EXIT
}
await_beside() {
  local failed=0
  wait "$beside" || failed=$?
  trap - EXIT
  cat "$beside_log"
  return "$failed"
}

# Commands that leave a processor to others, at once: each one's output comes as a whole.
together() {
  local command failed=0 at=0 jobs=() logs=()
  for command in "$@"; do
    printf '\n==> [%4d s] %s, beside others\n' $((SECONDS - started)) "$command"
    logs+=("target/together-${#logs[@]}.log")
    "$command" >"${logs[-1]}" 2>&1 &
    jobs+=($!)
  done
  for command in "$@"; do
    wait "${jobs[at]}" || { failed=1; printf '\n%s failed:\n' "$command"; }
    printf '\n==> [%4d s] %s said:\n' $((SECONDS - started)) "$command"
    cat "${logs[at]}"
    at=$((at + 1))
  done
  return "$failed"
}

install_packages
if [[ $mode == all ]]; then
  run cargo fmt --all --check
  in_verifier cargo fmt --all --check
  run cargo clippy --workspace --all-targets --locked -- -D warnings
  in_verifier cargo clippy --workspace --all-targets --locked -- -D warnings
fi

# The whole-system tests start these programs.
run tests/conformance/install
export PATH="$PWD/target/conformance/node_modules/.bin:$PATH"
run tests/python/setup
run cargo build --locked --bins
in_verifier cargo build --locked --bins
in_verifier cargo test --workspace --locked
run cargo test --locked --no-run
if [[ $mode == all ]]; then
  start_beside
fi
# Tests of whole systems mostly wait: for processes, disks and devices.
run env RUST_TEST_THREADS=$((2 * $(nproc))) cargo test --locked
run tests/python/.venv/bin/python -m unittest discover -s clients/python/tests
run node --test clients/typescript/test/index.test.js
run python3 -m unittest discover -s verifier/mutants/tests
run python3 -m unittest discover -s tests/conformance
if [[ $mode == all ]]; then
  run ./demo.sh
  run ./demo.sh --self-test
  together tests/conformance/run tests/servers/run examples/run
fi

if [[ $mode == all ]]; then
  run await_beside
  short_fuzzing() { verifier/fuzz/run 3; }
  together short_fuzzing verifier/independent/run
fi
printf '\nall passed in %d s\n' $((SECONDS - started))
