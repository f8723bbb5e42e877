"""Compare vlm with the reference libraries on models, texts and pictures made anew for each run.

    run.py [PART...] [--seed N] [--vlm PROGRAM] [--verbose]

Prints the seed, which repeats the run, and at the end "N passed, N failed, N skipped".
"""
import argparse
import os
import random
import shutil
import sys
import tempfile

import common

# This folder is first in sys.path when run.py is the script, and a part may be called like a package that a
# library imports later (tokens, formats): after the standard library and the packages, then.
here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != here] + [here]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="of: " + ", ".join(common.main_parts()))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1000000))
    parser.add_argument("--vlm", default=os.path.join(common.ROOT, "build", "vlm"))
    parser.add_argument("--counts", help="also write 'passed failed skipped' to this file")
    parser.add_argument("--keep", help="make the models here and keep them")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if not os.access(options.vlm, os.X_OK):
        sys.exit(f"{options.vlm} is not there: build it with make, or name it with --vlm")
    print(f"seed {options.seed}", flush=True)
    folder = options.keep or tempfile.mkdtemp(prefix="vlm-live-")
    session = common.Session(options.seed, folder, os.path.abspath(options.vlm), options.verbose)
    try:
        common.run_parts(session, options.parts or common.main_parts())
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    for kind, value in sorted(session.worst.items()):
        print(f"largest {kind}: {value:.2g}")
    if session.failed:
        print(f"repeat with: tests/live/run.py {' '.join(options.parts)} --seed {options.seed}")
    if options.counts:
        with open(options.counts, "w") as f:
            f.write(f"{session.passed} {session.failed} {session.skipped}\n")
    print(f"{session.passed} passed, {session.failed} failed, {session.skipped} skipped")
    sys.exit(1 if session.failed or not session.passed else 0)


if __name__ == "__main__":
    main()
