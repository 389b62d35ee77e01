"""Runs the three scenarios against a running cluster and writes what its audit log says of them.

Called by scripts/kubernetes as: scenario.py DIR OUT
  DIR  the running cluster: audit.log, NAME.kubeconfig for every user, kubelet.pid, server (the apiserver's URL), ca.crt,
       prometheus.token, home/NAME (what kubectl caches for NAME)
  OUT  where kubectl.ndjson, story.ndjson and typed.ndjson are written
KUBECTL in the environment is the kubectl to run. Events are never parsed and written again: their lines are copied.
"""

import json
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

DEADLINE = 20  # seconds for a command to end, and for the audit log to tell of it
HERE = os.path.dirname(os.path.abspath(__file__))
TYPED = os.path.join(HERE, "..", "..", "..", "tests", "data", "kubectl", "typed.tsv")
TYPED_FOR = 4  # seconds until a command that does not end by itself is ended
QUIET = 0.15  # seconds without a new event, after which a command has caused all that it will cause
DISCOVERY = re.compile(r"^/(api|apis|openapi/v[23]|version)([/?]|$)")


class Wrong(Exception):
    """The cluster did not do what the scenario expects."""


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        self.log = os.path.join(folder, "audit.log")
        self.server = self.text("server")

    def text(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return file.read().strip()

    def position(self):
        return os.path.getsize(self.log)

    def since(self, position):
        """The whole lines of the audit log after a position, each with what it says."""
        with open(self.log, "rb") as file:
            file.seek(position)
            lines = file.read().split(b"\n")[:-1]
        return [(line, json.loads(line)) for line in lines]

    def wait(self, position, wanted, what):
        """Waits until, for every test, so many events after a position pass it."""
        end = time.monotonic() + DEADLINE
        while True:
            events = self.since(position)
            missing = [test for test, count in wanted if sum(test(event) for _, event in events) < count]
            if not missing:
                return events
            if time.monotonic() > end:
                told = "\n".join("  " + line.decode()[:400] for line, _ in events[-10:])
                raise Wrong(f"{what}: {len(missing)} of {len(wanted)} expected audit events did not come in {DEADLINE} s; the last were:\n{told}")
            time.sleep(0.02)

    def settled(self, position, user):
        """The events of one user after a position, once there are no more to come."""
        end = time.monotonic() + DEADLINE
        size, since = self.position(), time.monotonic()
        while True:
            time.sleep(0.02)
            if self.position() != size:
                size, since = self.position(), time.monotonic()
            if time.monotonic() - since > QUIET:
                events = [(line, event) for line, event in self.since(position) if event["user"].get("username") == name_of(user)]
                ended = {event["auditID"] for _, event in events if event["stage"] != "ResponseStarted"}
                if all(event["auditID"] in ended for _, event in events):
                    return [line for line, _ in events]
            if time.monotonic() > end:
                raise Wrong(f"the audit log did not come to rest in {DEADLINE} s")

    def kubectl(self, user, command, code=0, stdin=None, websockets=True):
        """Runs a command, which must end with code. Without one it may end as it likes, and is ended if it does not."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.path.join(self.folder, "home", user),
            "KUBECONFIG": os.path.join(self.folder, user + ".kubeconfig"),
            "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "true" if websockets else "false",
            "KUBE_EDITOR": "sed -i s/front/back/",
        }
        os.makedirs(environment["HOME"], exist_ok=True)
        try:
            done = subprocess.run(
                [os.environ["KUBECTL"], *shlex.split(command)], cwd=HERE, env=environment, timeout=DEADLINE if code is not None else TYPED_FOR,
                input=stdin, stdin=None if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )
        except subprocess.TimeoutExpired as error:
            if code is None:
                return ""
            raise Wrong(f"kubectl {command} as {user} did not end in {DEADLINE} s: {error.output}") from error
        if code is not None and done.returncode != code:
            raise Wrong(f"kubectl {command} as {user} ended with {done.returncode}, not {code}:\n{done.stdout}")
        return done.stdout

    def fetch(self, path, agent, token=None):
        """A request of a client which is not kubectl."""
        request = urllib.request.Request(self.server + path, headers={"User-Agent": agent})
        if token:
            request.add_header("Authorization", "Bearer " + token)
        trust = ssl.create_default_context(cafile=os.path.join(self.folder, "ca.crt"))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
        try:
            opener.open(request, timeout=DEADLINE).read()
        except urllib.error.URLError as error:
            raise Wrong(f"GET {path} as {agent}: {error}") from error

    def renew_lease(self):
        os.kill(int(self.text("kubelet.pid")), signal.SIGUSR1)


def name_of(user):
    return user if ":" in user else user + "@example.com"


def happened(user, verb, resource=None, code=200, stage="ResponseComplete", uri=None):
    """A test: did this user do this? resource is written as in RBAC (pods, pods/exec)."""

    def test(event):
        reference = event.get("objectRef", {})
        subresource = reference.get("subresource")
        actual = reference.get("resource", "") + (f"/{subresource}" if subresource else "")
        return (
            event["user"].get("username") == name_of(user)
            and event["verb"] == verb
            and event["stage"] == stage
            and event.get("responseStatus", {}).get("code") == code
            and (resource is None or actual == resource)
            and (uri is None or event["requestURI"].startswith(uri))
        )

    return test


def executed(user, verb="get"):
    """The two events of an exec."""
    return [happened(user, verb, "pods/exec", 101, stage) for stage in ("ResponseStarted", "ResponseComplete")]


EXEC = "exec busybox-test -c busybox -- sh -c 'id; cat /etc/passwd'"
EXEC_LABEL = "exec busybox-test --namespace default --container busybox -- sh -c 'id; cat /etc/passwd'"

# name, command, label, then what the audit log must tell of it: verb, resource, code; and the user, where it is not alice.
STEPS = [
    ("create a pod from a file", "create -f pod.yaml", "create -f", "create", "pods", 201),
    ("pods of all namespaces", "get pods -A", "get pods --all-namespaces", "list", "pods", 200),
    ("pods of one namespace", "get pods -n kube-system", "get pods --namespace kube-system", "list", "pods", 200),
    ("one pod", "get pod busybox-test", "describe pods busybox-test --namespace default", "get", "pods", 200),
    ("pods of all namespaces, uninitialized ones too", "get --raw '/api/v1/pods?includeUninitialized=true'",
     "describe pods --all-namespaces", "list", "pods", 200),
    ("pods of one namespace, uninitialized ones too", "get --raw '/api/v1/namespaces/default/pods?includeUninitialized=true'",
     "describe pods --namespace default", "list", "pods", 200),
    ("secrets of one namespace, uninitialized ones too", "get --raw '/api/v1/namespaces/default/secrets?includeUninitialized=true'",
     "describe secrets --namespace default", "list", "secrets", 200),
    ("one secret", "get secret exec-token-qjp9l", "get secret details", "get", "secrets", 200),
    ("secrets of all namespaces", "get secrets -A", "get secrets --all-namespaces", "list", "secrets", 200),
    ("secrets of the default namespace", "get secrets", "get secrets --namespace default", "list", "secrets", 200),
    ("services of all namespaces", "get svc -A", "get svc --all-namespaces", "list", "services", 200),
    ("daemon sets of all namespaces", "get ds -A", "get ds --all-namespaces", "list", "daemonsets", 200),
    ("daemon sets of one namespace", "get ds -n kube-system", "get ds --namespace kube-system", "list", "daemonsets", 200),
    ("exec over a WebSocket", EXEC, EXEC_LABEL, "get", "pods/exec", 101),
    ("exec over SPDY", EXEC, EXEC_LABEL, "create", "pods/exec", 101),
    ("delete a pod", "delete pod busybox-test", "delete pods busybox-test --namespace default", "delete", "pods", 200),
    ("config maps, which nobody asked to label", "get configmaps", None, "list", "configmaps", 200),
    ("pods without permission", "get pods -n shop", None, "list", "pods", 403, "carol"),
    ("a secret which does not exist", "get secret does-not-exist", None, "get", "secrets", 404),
]


def kubectl_scenario(cluster):
    lines = []
    for name, command, label, verb, resource, code, *rest in STEPS:
        user = rest[0] if rest else "alice"
        if resource == "pods/exec":
            wanted = executed(user, verb)
        else:
            wanted = [happened(user, verb, resource, code)]
        start = cluster.position()
        cluster.kubectl(user, command, code=0 if code < 400 else 1, websockets=name != "exec over SPDY")
        events = cluster.wait(start, [(test, 1) for test in wanted], name)
        own = [line for line, event in events if any(test(event) for test in wanted)]
        if len(own) != len(wanted):
            raise Wrong(f"{name}: {len(own)} audit events instead of {len(wanted)}")
        head = json.dumps({"name": name, "command": command, "label": label}, ensure_ascii=False)
        lines.append(head[:-1].encode() + b', "events": [' + b",".join(own) + b"]}")
        if verb == "create" and resource == "pods":
            bind(cluster, "busybox-test", "worker-1")
    return lines


def bind(cluster, pod, node):
    """What the scheduler does; then waits until the node runs the pod."""
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": {"apiVersion": "v1", "kind": "Node", "name": node}}
    start = cluster.position()
    cluster.kubectl("scheduler", f"create --raw /api/v1/namespaces/default/pods/{pod}/binding -f -", stdin=json.dumps(body))
    cluster.wait(start, [(happened("system:node:" + node, "create", "events", 201), 1)], f"binding {pod} to {node}")


NODE = "system:node:worker-1"
PROBE = "system:anonymous"
PROMETHEUS = "system:serviceaccount:monitoring:prometheus"
CAST = {name_of(user) for user in ("mallory", "bob", NODE, PROBE, PROMETHEUS)}


def story_scenario(cluster):
    token = cluster.text("prometheus.token")

    def lease():
        cluster.renew_lease()
        return [happened(NODE, "update", "leases")]

    def probe():
        cluster.fetch("/readyz", "kube-probe/1.35")
        return [happened(PROBE, "get", uri="/readyz")]

    def scrape():
        cluster.fetch("/metrics", "Prometheus/2.53.0", token)
        return [happened(PROMETHEUS, "get", uri="/metrics")]

    def bob(command, *facts):
        return lambda: (cluster.kubectl("bob", command), [happened("bob", *fact) for fact in facts])[1]

    def mallory(command, *facts, code=0):
        return lambda: (cluster.kubectl("mallory", command, code=code), [happened("mallory", *fact) for fact in facts])[1]

    def execs(command):
        return lambda: (cluster.kubectl("mallory", command), executed("mallory"))[1]

    def privileged():
        cluster.kubectl("mallory", "create -n shop -f node-shell.yaml")
        return [happened("mallory", "create", "pods", 201), happened(NODE, "patch", "pods/status"), happened(NODE, "create", "events", 201)]

    def remove():
        cluster.kubectl("mallory", "delete pod node-shell -n shop")
        return [happened("mallory", "delete", "pods"), happened(NODE, "delete", "pods")]

    acts = [
        bob("get deployments -n shop", ("list", "deployments")),
        lease,
        probe,
        mallory("auth can-i --list -n shop", ("create", "selfsubjectrulesreviews", 201)),
        mallory("get pods -A", ("list", "pods")),
        mallory("get svc -A", ("list", "services")),
        mallory("get ds -A", ("list", "daemonsets")),
        scrape,
        mallory("get secrets -A", ("list", "secrets", 403), code=1),
        mallory("get secrets -n kube-system", ("list", "secrets", 403), code=1),
        bob("get configmap checkout -n shop", ("get", "configmaps")),
        mallory("get secrets -n shop", ("list", "secrets")),
        mallory("get secret payment-gateway -n shop -o yaml", ("get", "secrets")),
        execs("exec -n shop checkout-7c9d5b8f6d-x2k4q -- cat /var/run/secrets/kubernetes.io/serviceaccount/token"),
        bob("scale deployment checkout -n shop --replicas=3", ("patch", "deployments/scale")),
        privileged,
        lease,
        execs("exec -n shop node-shell -- chroot /host sh -c 'cat /etc/shadow'"),
        probe,
        remove,
        mallory("delete events -n shop --field-selector involvedObject.name=node-shell --wait=false", ("delete", "events")),
        bob("get pods -n shop", ("list", "pods")),
        lease,
    ]
    start = cluster.position()
    for number, act in enumerate(acts, 1):
        before = cluster.position()
        cluster.wait(before, [(test, 1) for test in act()], f"the story's act {number}")
    # A watch ends a moment after the command that asked for it.
    opened = {event["auditID"] for _, event in cluster.since(start) if event["stage"] == "ResponseStarted" and in_story(event)}
    closed = [(lambda event, one=one: event["auditID"] == one and event["stage"] == "ResponseComplete", 1) for one in opened]
    events = cluster.wait(start, closed, "the end of the story's watches")
    told = sorted((pair for pair in events if in_story(pair[1])), key=lambda pair: pair[1]["stageTimestamp"])
    return [line for line, _ in told]


def in_story(event):
    """Requests of the cast, without the way in which clients learn what the apiserver serves."""
    uri = event["requestURI"]
    discovery = DISCOVERY.match(uri) and "objectRef" not in event
    return event["user"].get("username") in CAST and not discovery


def typed_scenario(cluster):
    """What alice types, command by command; each with all that it makes kubectl ask, discovery too."""
    lines = []
    with open(TYPED, encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file if line.strip() and not line.startswith("#")]
    for code, command, *_ in rows:
        start = cluster.position()
        cluster.kubectl("alice", command, code=None if code == "-" else int(code))
        own = cluster.settled(start, "alice")
        head = json.dumps({"typed": command}, ensure_ascii=False)
        lines.append(head[:-1].encode() + b', "events": [' + b",".join(own) + b"]}")
    return lines


def prepare(cluster):
    """Lets every user learn what the apiserver serves, so that the scenarios need not; and waits until permissions count."""
    for user, question in (("alice", "delete pods"), ("bob", "patch deployments.apps --subresource=scale -n shop"), ("mallory", "create pods --subresource=exec -n shop"),
                           ("mallory", "list daemonsets.apps -A")):
        end = time.monotonic() + DEADLINE
        while True:
            try:
                cluster.kubectl(user, "auth can-i " + question)
                break
            except Wrong:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
    for user in ("alice", "bob", "carol", "mallory", "scheduler"):
        cluster.kubectl(user, "api-resources")


def write(folder, name, lines):
    path = os.path.join(folder, name)
    with open(path + ".new", "wb") as file:
        file.write(b"\n".join(lines) + b"\n")
    os.replace(path + ".new", path)
    print(f"{path}: {len(lines)} lines, {os.path.getsize(path)} bytes")


def main():
    folder, out = sys.argv[1:]
    cluster = Cluster(folder)
    prepare(cluster)
    commands = kubectl_scenario(cluster)
    story = story_scenario(cluster)
    typed = typed_scenario(cluster)
    write(out, "kubectl.ndjson", commands)
    write(out, "story.ndjson", story)
    write(out, "typed.ndjson", typed)


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit(f"scenario: {wrong}")
