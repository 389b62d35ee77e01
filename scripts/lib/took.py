#!/usr/bin/env python3
"""Runs a command, and ends its standard error with the seconds and the seconds of CPU time that it took.

usage: took.py COMMAND...
"""

import resource
import subprocess
import sys
import time


def main():
    start = time.monotonic()
    status = subprocess.run(sys.argv[1:]).returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(time.monotonic() - start, used.ru_utime + used.ru_stime, file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
