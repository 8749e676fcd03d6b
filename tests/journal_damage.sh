#!/usr/bin/env bash
# The journal after the worst, in full: a writer killed with SIGKILL at 100 random moments (or $1), and a small journal cut
# and flipped at every byte. The quick form of both runs in `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
export DOLPHIN_KILLS="${1:-100}" DOLPHIN_EVERY_BYTE=1
cargo test --release --locked -p runtime --lib journal
cargo test --release --locked -p node --test journal cut_or_flipped
cargo test --release --locked -p dolphin --test journal after_kill_9
