#!/bin/sh
# For an MDM that runs scripts as root (Jamf, Intune, Munki): puts the agent onto a Mac by its invitation. Safe to run again.
# The MDM has put two files there before: the program of this Mac's architecture, and the invitation (tiermesh node invite).
#   install.sh [PROGRAM [INVITATION]]
set -eu
program=${1:-/Library/Management/tiermesh/tiermesh-agent}
invitation=${2:-/Library/Management/tiermesh/invitation.txt}

fail() {
  echo "tiermesh: $1" >&2
  exit 1
}
[ "$(id -u)" = 0 ] || fail "run this as root: it installs a system service"
[ -f "$program" ] || fail "no program at $program; have the MDM put it there"
[ -s "$invitation" ] || fail "no invitation at $invitation; \`tiermesh node invite\` prints one"

# Nobody but root may read it, whatever the MDM's copy left.
chmod 600 "$invitation"
mkdir -p /usr/local/bin
install -m 755 -o root "$program" /usr/local/bin/tiermesh-agent
/usr/local/bin/tiermesh-agent install --join-file "$invitation" --profile workstation
rm -f "$invitation"
