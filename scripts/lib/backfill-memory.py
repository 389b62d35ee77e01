#!/usr/bin/env python3
"""Whether a backfill needs more memory the more it reads, for `scripts/bench-backfill --memory`.

Reads all documents and looks at the memory of the process (/proc, Linux) whenever it tells how far it is, every 2 s.

usage: backfill-memory.py K8SCOP HOST:PORT PREFIX FOLDER        prints MiB by tenths of the documents
"""

import json
import re
import statistics
import subprocess
import sys


def resident_mib(pid):
    status = open(f"/proc/{pid}/status", encoding="utf-8").read()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)
    return int(found[1]) / 1024 if found else None


def main():
    binary, host, prefix, folder = sys.argv[1:]
    command = [binary, "backfill", "--source", f"http://{host}", "--index", f"{prefix}-*", "--output", "file:out", "--progress", "json"]
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seen, said = {}, []
    for line in child.stderr:
        said.append(line)
        far = json.loads(line) if line.startswith('{"documents"') else {}
        mib = resident_mib(child.pid) if far.get("documents_total") else None
        if mib:
            seen.setdefault(far["documents"] * 10 // far["documents_total"], []).append(mib)
    if child.wait() != 0:
        sys.exit("".join(said))
    for tenth in sorted(seen):
        print(f"{tenth * 10:3} % of the documents: {statistics.mean(seen[tenth]):4.0f} MiB")


if __name__ == "__main__":
    main()
