#!/usr/bin/env bash
# Shows Countersign at work, on parts that are real: an MCP client, an MCP server, a TPM in software.
#
#   ./demo.sh              installs what is missing, builds, and tells the story (under two minutes once built)
#   ./demo.sh --self-test  only the demo's own tests, without the gateway
#
# Needs Debian 12 or later (or the packages below by another way), Rust by rustup, and a network for
# the first run. Everything it makes is in target/, demo/.venv and demo/out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

packages=(gcc libc6-dev make pkg-config python3 python3-venv swtpm)
venv=demo/.venv

say() { printf '\n%s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

install_packages() {
  local missing=() package
  command -v dpkg-query >/dev/null || {
    say "No dpkg here; going on as if these were installed: ${packages[*]}"
    return
  }
  for package in "${packages[@]}"; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *' installed' ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  local as_root=()
  if ((EUID)); then
    command -v sudo >/dev/null || die "these packages are missing; install them as root: ${missing[*]}"
    as_root=(sudo)
  fi
  say "Installing with apt: ${missing[*]}"
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# A Python of at least 3.11 that can make environments: the user's, or else the system's.
find_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$python"
      return
    fi
  done
  die "no Python of at least 3.11 with venv"
}

# Packages by version and hash, nothing else; again only when the list changes.
install_python_packages() {
  local stamp=$venv/requirements.sha256 python
  if [[ -f $stamp ]] && sha256sum --check --status "$stamp"; then return; fi
  python=$(find_python)
  say "Installing the agent and the MCP server into $venv (pinned by hash)"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
    --requirement demo/requirements.txt
  sha256sum demo/requirements.txt >"$stamp"
}

build() {
  command -v cargo >/dev/null || die "no cargo; install Rust from https://rustup.rs and open a new shell"
  say "Building countersign and countersign-verify (minutes the first time)"
  cargo build --locked -p countersign
  (cd verifier && cargo build --locked)
}

target_directory() {
  cargo metadata --locked --no-deps --format-version 1 |
    "$venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

export PYTHONDONTWRITEBYTECODE=1
case ${1-} in
  '')
    install_packages
    install_python_packages
    build
    target=$(target_directory)
    exec "$venv/bin/python" demo/story.py "$target/debug/countersign" "$target/debug/countersign-verify"
    ;;
  --self-test)
    install_python_packages
    cd demo
    exec .venv/bin/python -m unittest discover -s tests
    ;;
  *)
    sed -n '2,8s/^# \{0,1\}//p' demo.sh
    exit 4
    ;;
esac
