#!/bin/sh
# The figures of a GPU, in four stages of at most nine minutes each (benchmarks/README.md). From the root of a checkout:
#     benchmarks/gpu.sh 1 2 --out gpu-figures
# The package need not be installed. PYTHON names the interpreter that has torch; WHEELS a folder of wheels that it lacks.
# DEVICE=cpu tries the stages where there is no GPU, on next to nothing.
set -eu
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 TORCH_CPP_LOG_LEVEL=ERROR
if [ -n "${WHEELS:-}" ] && [ ! -d "$WHEELS/site" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --target "$WHEELS/site" "$WHEELS"/*.whl
fi
export PYTHONPATH="src${WHEELS:+:$WHEELS/site}${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" benchmarks/stages.py --device "${DEVICE:-cuda}" "$@"
