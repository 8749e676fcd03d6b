# What the tests of dashboard, terminal view and metrics share: a demo node on free ports, and waiting for something.
# To be sourced with `set -euo pipefail`, in the repository's root; the program is the first argument of the test.
binary=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/dolphin}")
[ -x "$binary" ] || { echo "no program at $binary: cargo build --release --locked -p dolphin" >&2; exit 2; }
work=$(mktemp -d)
started=()
cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

need() { # command package
  command -v "$1" >/dev/null 2>&1 && return
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Starts `dolphin demo` for so many seconds; sets `node` (URL), `venue` (URL) and `demo` (pid).
start_demo() { # seconds, more arguments
  local seconds=$1
  shift
  node_port=${node_port:-$(free_port)} venue_port=$(free_port)
  node=http://127.0.0.1:$node_port venue=http://127.0.0.1:$venue_port
  "$binary" demo --seconds "$seconds" --listen "127.0.0.1:$node_port" --port "$venue_port" "$@" >"$work/demo.out" 2>"$work/demo.err" &
  demo=$!
  started+=("$demo")
}

# Waits until a command succeeds.
until_so() { # what, seconds, command…
  local what=$1 end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then
      echo "this did not come about: $what" >&2
      tail -n 20 "$work"/demo.* >&2 || true
      exit 1
    fi
    sleep 0.3
  done
}

fault() { curl -sSf -d "$1" "$venue/dolphin/faults" >/dev/null; }
armed() { curl -sf "$node/readyz"; }

# Chromium, and playwright to drive it; sets NODE_PATH.
browser() {
  need chromium chromium
  need node nodejs
  need npm npm
  local modules=${DASHBOARD_DIR:-${CARGO_TARGET_DIR:-target}/dashboard}
  mkdir -p "$modules"
  cp tests/dashboard/package.json "$modules"
  [ -d "$modules/node_modules/playwright-core" ] ||
    PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm install --prefix "$modules" --no-audit --no-fund --silent
  NODE_PATH=$(realpath "$modules")/node_modules
  export NODE_PATH
}
