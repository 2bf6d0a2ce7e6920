#!/usr/bin/env bash
# All tests; the ones in a browser or in a sandbox only where there is one, and one line says so.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v chromium >/dev/null; then
    echo "Missing: chromium. The tests in a browser are skipped (apt-get install chromium)." >&2
    export WIC_SKIP_BROWSER=1
fi
if ! .venv/bin/python -c 'from autograder.grading.sandbox import demand_sandbox; demand_sandbox()' 2>/dev/null; then
    echo "There is no sandbox here: its tests are skipped (.venv/bin/autograder doctor says why)." >&2
    export WIC_SKIP_SANDBOX=1 AUTOGRADER_UNSAFE=1
fi
# Which tests go to which process, and in which order, tests/conftest.py says.
exec .venv/bin/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder "$@"
