#!/usr/bin/env bash
# The tests talk to a real Valkey, never to an imitation. Silent where a new enough valkey-server is found, on the PATH
# or in VALKEY_SERVER; otherwise installs one from the packages of the system, so that `npm test` is the only step.
# Says plainly what to do where it cannot. Nothing is left running and no package source is left behind.
set -euo pipefail

# The oldest that the service supports; nothing is promised on an older one, so nothing is tested there.
readonly MAJOR_MIN=8
readonly PACKAGE=valkey-server

major_of() { "$1" --version 2>/dev/null | sed -n 's/^Valkey server v=\([0-9]*\).*/\1/p'; }

usable() {
  local server=${VALKEY_SERVER:-valkey-server} major
  command -v "$server" >/dev/null || return 1
  major=$(major_of "$server")
  [[ -n $major && $major -ge $MAJOR_MIN ]]
}

has() { command -v "$1" >/dev/null 2>&1; }

as_root() {
  if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo -n "$@"; fi
}

can_be_root() { [[ $(id -u) -eq 0 ]] || { has sudo && sudo -n true 2>/dev/null; }; }

scratch=
policy=
clean_up() {
  [[ -z $scratch ]] || rm -rf "$scratch"
  [[ -z $policy ]] || as_root rm -f "$policy"
}
# Packages of servers start them. Ours are started by the tests, so the system is asked to start none meanwhile.
forbid_service_starts() {
  [[ ! -e /usr/sbin/policy-rc.d ]] || return 0
  policy=/usr/sbin/policy-rc.d
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
}

# Nor at the next boot: who wants Valkey as a service enables it.
forbid_service_at_boot() {
  if [[ -d /run/systemd/system ]]; then as_root systemctl disable --now "$1" >/dev/null 2>&1 || true; fi
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get "${apt_options[@]}" "$@"; }

apt_offers_it() {
  local candidate
  candidate=$(apt-cache "${apt_options[@]}" policy "$PACKAGE" | sed -n 's/^ *Candidate: \([0-9]*:\)\{0,1\}\([0-9]*\)\..*/\2/p')
  [[ -n $candidate && $candidate -ge $MAJOR_MIN ]]
}

# Debian 12 has Valkey only in its backports, usually not among the sources. They stand on the same mirror as the rest,
# whichever that is here. The system's own list of sources is copied, not changed.
add_backports() {
  local codename mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  codename=$(. /etc/os-release && [[ $ID == debian ]] && echo "$VERSION_CODENAME") || return 1
  mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$codename" '$1 == release { print $2; exit }')
  [[ -n $mirror ]] || return 1
  scratch=$(mktemp -d)
  chmod 755 "$scratch"
  find /etc/apt/sources.list.d -maxdepth 1 -type f -exec cp {} "$scratch" \;
  local options=
  [[ ! -r $keyring ]] || options="[signed-by=$keyring] "
  echo "deb $options$mirror $codename-backports main" >"$scratch/valkey-for-tests.list"
  apt_options+=(-o "Dir::Etc::sourceparts=$scratch")
}

install_with_apt() {
  apt_options=(-qq -o Dpkg::Use-Pty=0)
  apt update
  if ! apt_offers_it; then
    add_backports || return 1
    apt update
    apt_offers_it || return 1
  fi
  forbid_service_starts
  apt install -y --no-install-recommends "$PACKAGE"
  forbid_service_at_boot "$PACKAGE"
}

install_with_dnf() {
  as_root dnf install -y -q valkey
  forbid_service_at_boot valkey
}

install_it() {
  if has brew; then brew install --quiet valkey; return; fi
  can_be_root || return 1
  if has apt-get; then install_with_apt
  elif has dnf; then install_with_dnf
  elif has apk; then as_root apk add --quiet valkey
  else return 1
  fi
}

explain() {
  cat >&2 <<'TEXT'

The tests need valkey-server 8 or newer and it could not be installed from here. Any of these will do:
  Debian 13, Ubuntu 25.04 and newer   sudo apt-get install valkey-server
  Debian 12                           sudo apt-get install -t bookworm-backports valkey-server
  Fedora, RHEL 10                     sudo dnf install valkey
  Alpine                              sudo apk add valkey
  macOS                               brew install valkey
  anywhere                            build it (https://valkey.io/download/) and set VALKEY_SERVER=/path/to/valkey-server
  in a container                      run the tests in an image of the list above
Then run npm test again.
TEXT
}

if usable; then exit 0; fi
echo "valkey-server $MAJOR_MIN or newer was not found; installing it." >&2
# A failing package manager must still end in the explanation below, so its exit code is not ours.
set +e
(
  set -e
  trap clean_up EXIT
  install_it
) >&2
set -e
if ! usable; then
  explain
  exit 1
fi
