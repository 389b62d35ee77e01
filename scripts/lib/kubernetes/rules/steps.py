"""Types the attack step by step, and takes from the audit log what each step caused."""

import os
import time

from blocks import blocks, quoted, typed
from scenario import DEADLINE, DISCOVERY, Wrong

ACCOUNT = "system:serviceaccount:shop:checkout"
NAMES = {"mallory": "mallory@example.com", "oscar": "oscar@example.com", "checkout": ACCOUNT, "anonymous": "system:anonymous", "admin": "kubernetes-admin", "worker-1": "system:node:worker-1",
         "worker-2-kubelet": "system:node:worker-2"}
# Who types for one who cannot.
HANDS = {"worker-2-kubelet": "admin"}
REST = 0.2  # seconds without an event of the step, after which it has caused all that it will cause


def steal(cluster):
    """Takes the token of a pod that is there, for kubectl and for curl."""
    folder = cluster.folder
    pods = cluster.kubectl("admin", "get pods -n shop -l app=checkout --field-selector=status.phase=Running -o name").split()
    token = cluster.kubectl("admin", f"create token checkout -n shop --bound-object-kind=Pod --bound-object-name={pods[-1].split('/')[1]}").strip()
    with open(os.path.join(folder, "admin.kubeconfig"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    lines = [f"users: [{{name: u, user: {{token: {token}}}}}]" if line.startswith("users:") else line for line in lines]
    with open(os.path.join(folder, "checkout.kubeconfig"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    curl_rules(cluster, "checkout", f'header = "Authorization: Bearer {token}"')


def curl_rules(cluster, who, *rules):
    home = os.path.join(cluster.folder, "home", who)
    os.makedirs(home, exist_ok=True)
    with open(os.path.join(home, ".curlrc"), "w", encoding="utf-8") as file:
        file.write("\n".join([f"cacert = {cluster.folder}/ca.crt", *rules]) + "\n")


def identify(cluster):
    """Gives everybody what curl needs, and lets clients learn once what is no step: what the apiserver serves."""
    steal(cluster)
    curl_rules(cluster, "anonymous")
    for who in ("mallory", "oscar", "worker-1", "admin"):
        curl_rules(cluster, who, f"cert = {cluster.folder}/{who}.crt", f"key = {cluster.folder}/{who}.key")
    for who in ("mallory", "oscar", "worker-1", "admin", "checkout"):
        cluster.kubectl(who, "api-resources")


def belongs(who):
    """A test: is this an event of one who attacks? The same node and the same controllers go about their business meanwhile."""
    name = NAMES[who]

    def test(event):
        if event["user"].get("username") != name:
            return False
        if who == "worker-1":
            return not event["userAgent"].startswith("kubelet/")
        if who == "worker-2-kubelet":
            return event["verb"] == "create" and event.get("objectRef", {}).get("resource") == "pods" and "subresource" not in event["objectRef"]
        return "objectRef" in event or who == "anonymous" or not DISCOVERY.match(event["requestURI"])

    return test


def settled(cluster, position, test):
    """The events of a step, once there are no more to come and each request has ended."""
    end = time.monotonic() + DEADLINE
    found, since = [], time.monotonic()
    while True:
        time.sleep(0.05)
        now = [(line, event) for line, event in cluster.since(position) if test(event)]
        if len(now) != len(found):
            found, since = now, time.monotonic()
        ended = {event["auditID"] for _, event in found if event["stage"] != "ResponseStarted"}
        if found and time.monotonic() - since > REST and all(event["auditID"] in ended for _, event in found):
            return [line for line, _ in found]
        if time.monotonic() > end:
            raise Wrong(f"{len(found)} events of the step came, and not all of them ended in {DEADLINE} s")


def attack(cluster):
    """Each step: its name, its ideas, what was typed, the lines of its events."""
    identify(cluster)
    steps, failed = [], []
    for heading, text in blocks("attack"):
        step, ideas, who = (part.strip() for part in heading.split("|"))
        if who == "checkout":
            steal(cluster)
        position = cluster.position()
        try:
            typed(cluster, HANDS.get(who, who), text)
            steps.append((step, ideas, who, text, settled(cluster, position, belongs(who))))
        except Wrong as wrong:
            failed.append(f"{step}: {wrong}")
    if failed:
        raise Wrong("\n\n".join(failed))
    return steps


def tables(steps):
    """The lines of attack.ndjson and of steps.tsv."""
    events = [b'{"step":"' + step.encode() + b'","event":' + line + b"}" for step, _, _, _, lines in steps for line in lines]
    rows = [f"{step}\t{ideas}\t{NAMES[who]}\t{quoted(text)}".encode() for step, ideas, who, text, _ in steps]
    return events, [b"# step\tideas\twho\ttyped"] + rows
