#!/usr/bin/env bash
# Runs an agent that nobody watches, behind the wall, and leaves behind what is needed to see what it did.
#
#   agent.sh OUT AGENT [ARGUMENT...]      in a project with a reviewed .bailiwick/
#
#   BAILIWICK_SECRETS   names of the vault's secrets to fill, separated by spaces; each value is in SECRET_NAME (letters raised, `-` as `_`)
#   BAILIWICK_GRANT     a signed grant (`bailiwick approvals issue`), for calls that would otherwise wait for a person; none where empty
#
# OUT gets report.json, journal.json, and the journal itself with its public key and its last checkpoint, for anybody to check:
#   bailiwick journal verify --log OUT/journal --key OUT/journal.vkey --seen OUT/checkpoint
# Exit: the agent's own status; 1 where the policies or the journal do not hold, 3 where the wall cannot be built here.
set -euo pipefail
out=$1; shift
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
case $out/ in "$(pwd -P)"/*) echo "agent.sh: $out is in the project, where the agent could write it" >&2; exit 2 ;; esac
# A state of this run's own, which the agent does not see.
BAILIWICK_STATE=${BAILIWICK_STATE:-$(mktemp -d)}
export BAILIWICK_STATE

# What was reviewed is what is used: a policy that lost one of its cases stops here.
bailiwick policy test

# Values go in through standard input, so that no process list and no shell history has them, and out of this environment.
for name in ${BAILIWICK_SECRETS:-}; do
  variable=SECRET_$(printf %s "$name" | tr 'a-z-' 'A-Z_')
  printf %s "${!variable:?the secret store gave no $variable}" | bailiwick secret set "$name"
  unset "$variable"
done

# One gate for the whole run, so that the grant is taken in before the agent starts.
coproc GATE { exec bailiwick serve --listen 127.0.0.1:0 --json; }
gate=$GATE_PID
trap 'kill "$gate" 2>/dev/null || true' EXIT
read -r -t 60 _ <&"${GATE[0]}" || { echo "agent.sh: the gate did not start" >&2; exit 3; }
if [ -n "${BAILIWICK_GRANT:-}" ]; then
  printf %s "$BAILIWICK_GRANT" | bailiwick approvals redeem -
fi
unset BAILIWICK_GRANT

status=0
bailiwick run --report "$out/report.json" -- "$@" </dev/null || status=$?

# The gate ends first: its last records are written by then.
kill "$gate"
wait "$gate" || true
bailiwick journal verify || { echo "agent.sh: the journal does not verify" >&2; status=1; }
bailiwick journal checkpoint >"$out/checkpoint"
bailiwick journal show --json >"$out/journal.json"
cp -r "$BAILIWICK_STATE/journal" "$BAILIWICK_STATE"/journal.vkey "$out/"
exit "$status"
