"""Run each notebook whole and print its seconds, for `make course`."""

import sys
import time
from pathlib import Path

from coursekit.demo_run import demo_run
from coursekit.handout import outputs_of, shown

FOLDER = Path(__file__).parents[1]


def main() -> int:
    """Make the run of the demo, then run each notebook, and return 1 if one took over two minutes."""
    begun = time.monotonic()
    demo_run()
    print(f"the run of the demo: {time.monotonic() - begun:.1f} s", flush=True)
    late = 0
    for name in sorted(path.stem for path in FOLDER.glob("[0-9][0-9]_*.py")):
        begun = time.monotonic()
        outputs, _ = outputs_of(FOLDER, name, "en")
        size = sum(len(shown(output)) for output in outputs)
        seconds = time.monotonic() - begun
        late += seconds > 120
        print(f"{name}: {seconds:.1f} s, {len(outputs)} outputs, {size:,} characters", flush=True)
    return int(late > 0)


if __name__ == "__main__":
    sys.exit(main())
