"""Lets an ordinary hour pass on a running cluster, then an attack, and writes what the audit log says of both.

Called by scripts/kubernetes as: capture.py DIR OUT
  DIR  the running cluster: audit.log, NAME.kubeconfig for every user, server (the apiserver's URL), ca.crt
  OUT  where healthy.ndjson.zst, attack.ndjson.zst and steps.tsv are written
Events are never parsed and written again: their lines are copied.
"""

import os
import subprocess
import sys

from hour import MINUTES, Hour
from scenario import Cluster, Wrong, write
from steps import attack, tables


def packed(out, name, lines):
    path = os.path.join(out, name)
    # An hour repeats itself over longer distances than gzip remembers.
    subprocess.run(["zstd", "-q", "-f", "--ultra", "-22", "--long=25", "-o", path], input=b"\n".join(lines) + b"\n", check=True)
    print(f"{path}: {len(lines)} events, {os.path.getsize(path)} bytes", flush=True)


def healthy(cluster):
    """The events of the hour. Those of who installed the cluster, and of who hands out tokens here, are no part of it."""
    seconds = Hour(cluster).pass_()
    print(f"{MINUTES} minutes passed in {seconds:.0f} s", flush=True)
    return [line for line, event in cluster.since(0) if event["user"].get("username") != "kubernetes-admin"]


def main():
    folder, out = sys.argv[1:]
    cluster = Cluster(folder)
    os.makedirs(os.path.join(folder, "bin"), exist_ok=True)
    os.symlink(os.environ["KUBECTL"], os.path.join(folder, "bin", "kubectl"))
    hour = healthy(cluster)
    events, steps = tables(attack(cluster))
    packed(out, "healthy.ndjson.zst", hour)
    packed(out, "attack.ndjson.zst", events)
    write(out, "steps.tsv", steps)


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit(f"capture: {wrong}")
