#!/usr/bin/env bash
# Runs the fuzz targets one after the other: tests/fuzz/run.sh [SECONDS EACH] [TARGET]...
# Needs rustup with a nightly compiler, and a C++ compiler; installs cargo-fuzz below target/ where there is none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

seconds=${1:-60}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || for file in tests/fuzz/targets/*.rs; do targets+=("$(basename "$file" .rs)"); done

export PATH="$PWD/target/tools/bin:$PATH"
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz --root target/tools
rustup toolchain list | grep -q nightly || rustup toolchain install nightly --profile minimal

found=0
for target in "${targets[@]}"; do
    # New inputs go to a folder that is not kept; the corpus in the repository is only read.
    mkdir -p "target/fuzz/corpus/$target"
    cargo +nightly fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz "$target" \
        "target/fuzz/corpus/$target" "tests/fuzz/corpus/$target" \
        -- -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=0 ||
        { echo "$target: a promise is broken; the input is in tests/fuzz/artifacts/$target" >&2; found=1; }
done
exit $found
