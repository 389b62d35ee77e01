#!/usr/bin/env python3
"""Fills an Elasticsearch with audit logs as the fluentd of 2019 wrote them: an index a day, bodies as text.

The events are captured ones (`pipelines/demo/story.ndjson`, `tests/data/kubectl/kubectl.ndjson`) with fresh auditIDs and
times. 6 of 100 are commands of people, which is what K8sCop's own sample holds; the others are what a cluster does by
itself.

usage: fluentd-logs.py HOST:PORT PREFIX COUNT DAYS
"""

import datetime
import http.client
import json
import pathlib
import random
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent
BATCH = 2000


def events():
    story = (ROOT / "pipelines/demo/story.ndjson").read_text().splitlines()
    everyday = [json.loads(it) for it in story]
    everyday = [it for it in everyday if it["user"]["username"].startswith("system:")]
    commands = (ROOT / "tests/data/kubectl/kubectl.ndjson").read_text().splitlines()
    return everyday, [json.loads(it)["events"][0] for it in commands]


def document(event, at, number):
    text = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    bodies = {it: json.dumps(event[it]) if it in event else "none" for it in ("requestObject", "responseObject")}
    return {
        **event,
        **bodies,
        "auditID": f"{number:08x}-0000-4000-8000-{random.getrandbits(48):012x}",
        "requestReceivedTimestamp": text,
        "stageTimestamp": text,
        "@timestamp": text,
        "origin": "kubernetes-api-audit",
        "host": "10.96.0.1",
    }


def main():
    host, prefix, count, days = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    random.seed(count)
    connection = http.client.HTTPConnection(host, timeout=300)
    everyday, commands = events()
    start = datetime.datetime(2019, 3, 1)
    step = datetime.timedelta(days=days) / count
    mapping = {name: {"type": "object", "enabled": False} for name in ("user", "objectRef", "responseStatus")}
    mapping |= {"@timestamp": {"type": "date"}, "origin": {"type": "text"}}
    template = {
        "index_patterns": [f"{prefix}-*"],
        "template": {
            "settings": {"number_of_shards": 1, "number_of_replicas": 0},
            "mappings": {"dynamic": False, "properties": mapping},
        },
    }
    put(connection, "PUT", f"/_index_template/{prefix}", json.dumps(template))
    lines = []
    for number in range(count):
        event = random.choice(commands if random.random() < 0.06 else everyday)
        at = start + step * number
        log = document(event, at, number)
        action = {"create": {"_index": f"{prefix}-{at:%Y.%m.%d}", "_id": log["auditID"]}}
        lines += [json.dumps(action), json.dumps(log)]
        if len(lines) == 2 * BATCH or number + 1 == count:
            answer = put(connection, "POST", "/_bulk", "\n".join(lines) + "\n")
            if answer["errors"]:
                sys.exit(f"fluentd-logs.py: {str(answer)[:500]}")
            lines = []
    put(connection, "POST", f"/{prefix}-*/_refresh", None)


def put(connection, method, path, body):
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    if answer.status not in (200, 201):
        sys.exit(f"fluentd-logs.py: {path}: {answer.status}: {str(content)[:500]}")
    return content


if __name__ == "__main__":
    main()
