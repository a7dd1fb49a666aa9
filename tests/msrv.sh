#!/usr/bin/env bash
# Fails where a dependency wants a newer Rust than the `rust-version` of Cargo.toml. Our own code is looked at by
# clippy's `incompatible_msrv`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo metadata --locked --format-version 1 | python3 -c '
import json, sys
def number(text):
    return tuple(int(part) for part in (text.split(".") + ["0", "0"])[:3])
packages = json.load(sys.stdin)["packages"]
ours = next(p["rust_version"] for p in packages if p["name"] == "pgkeep")
newer = [p for p in packages if p["rust_version"] and number(p["rust_version"]) > number(ours)]
for p in newer:
    print("{} {} wants Rust {}, Cargo.toml says {}".format(p["name"], p["version"], p["rust_version"], ours), file=sys.stderr)
sys.exit(1 if newer else 0)'
