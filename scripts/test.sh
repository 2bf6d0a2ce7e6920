#!/usr/bin/env bash
# All tests; the ones in a browser only where there is one, and one line says so.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v chromium >/dev/null; then
    echo "Missing: chromium. The tests in a browser are skipped (apt-get install chromium)." >&2
    export WIC_SKIP_BROWSER=1
fi
exec .venv/bin/python -m pytest "$@"
