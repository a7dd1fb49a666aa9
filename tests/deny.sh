#!/usr/bin/env bash
# Looks at the crates below us with cargo-deny, by .deny.toml: known holes, licences, sources, and what is not to be there.
# Where the database of known holes is not to be had it says so, and looks at the rest.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
need_cargo_deny
cd "$project"

checks=(bans licenses sources)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if GIT_TERMINAL_PROMPT=0 timeout 120 "$cargo_deny" --config .deny.toml --locked fetch db >"$log" 2>&1; then
    checks+=(advisories)
else
    say "warning: the database of known holes (RustSec's) is not to be had, so crates are NOT looked up in it:"
    tail -n 3 "$log" >&2
fi
"$cargo_deny" --config .deny.toml --locked --log-level error check --hide-inclusion-graph "${checks[@]}"
