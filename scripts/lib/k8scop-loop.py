#!/usr/bin/env python3
"""What K8sCop does to old logs, for `scripts/bench-backfill` to measure against.

Written from its published description (k8scop/k8s-security-dashboard, alert-system/README.md, at 880f89d): fetch the
audit documents of a time in their order, take one document at a time, try regular expressions on its requestURI until
one fits, and push each alert by itself into the index of its day, after asking whether that is there. Connections are
kept alive, nothing is waited for, and expressions that could never match are mended.

usage: k8scop-loop.py HOST:PORT PREFIX ALERTS        prints documents, alerts, those about people, and seconds as JSON
"""

import http.client
import json
import re
import sys
import time

NAME = r"[\w.-]+"
IN_NAMESPACE = rf"^/api/v\d+/namespaces/(?P<namespace>{NAME})"
END = r"(\?.*)?$"

# Kind of the alert, expression, verbs (none: any) and whether it has to have succeeded: in the order of the trials.
PATTERNS = [
    ("Enum", re.compile(rf"^/api/v\d+/pods\?includeUninitialized=true"), (), False),
    ("Enum", re.compile(rf"^/api/v\d+/pods{END}"), (), False),
    ("Enum", re.compile(rf"{IN_NAMESPACE}/pods\?includeUninitialized=true"), (), False),
    ("Enum", re.compile(rf"{IN_NAMESPACE}/pods{END}"), ("list",), True),
    ("Tamper", re.compile(rf"{IN_NAMESPACE}/pods{END}"), ("create",), True),
    ("Tamper", re.compile(rf"{IN_NAMESPACE}/pods/(?P<pod>{NAME}){END}"), ("delete",), True),
    ("Enum", re.compile(rf"{IN_NAMESPACE}/pods/(?P<pod>{NAME}){END}"), (), False),
    ("Secrets", re.compile(rf"^/api/v\d+/secrets{END}"), (), True),
    ("Secrets", re.compile(rf"{IN_NAMESPACE}/secrets{END}"), (), True),
    ("Secrets", re.compile(rf"{IN_NAMESPACE}/secrets/(?P<secret>{NAME}){END}"), (), True),
    ("Exec", re.compile(rf"{IN_NAMESPACE}/pods/(?P<pod>{NAME})/exec\?"), (), False),
]


class Elasticsearch:
    def __init__(self, host):
        self.connection = http.client.HTTPConnection(host, timeout=300)

    def ask(self, method, path, body=None):
        text = None if body is None else json.dumps(body)
        self.connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None

    def documents(self, pattern):
        """All audit documents in the order of their time, 1,000 at a time."""
        query = {
            "size": 1000,
            "sort": [{"@timestamp": "asc"}],
            "query": {"match": {"origin": "kubernetes-api-audit"}},
        }
        status, page = self.ask("POST", f"/{pattern}/_search?scroll=5m", query)
        while status == 200 and page["hits"]["hits"]:
            yield from page["hits"]["hits"]
            following = {"scroll": "5m", "scroll_id": page["_scroll_id"]}
            status, page = self.ask("POST", "/_search/scroll", following)
        if status != 200:
            sys.exit(f"k8scop-loop.py: {status}: {page}")


def alert(hit):
    """The alert on a document, if it is worth one."""
    log = hit["_source"]
    uri, verb = log.get("requestURI", ""), log.get("verb")
    code = (log.get("responseStatus") or {}).get("code")
    for kind, pattern, verbs, succeeded in PATTERNS:
        found = pattern.match(uri)
        if not found or verbs and verb not in verbs or succeeded and code not in (200, 201):
            continue
        return {
            "a_type": kind,
            "timestamp": log["@timestamp"],
            "description": f"{verb} {uri}",
            "index": hit["_id"],
            "user": log["user"]["username"],
            **found.groupdict(),
        }
    return None


def main():
    host, prefix, alerts = sys.argv[1:]
    elasticsearch = Elasticsearch(host)
    read, raised, about_people, start = 0, 0, 0, time.monotonic()
    for hit in elasticsearch.documents(f"{prefix}-*"):
        read += 1
        found = alert(hit)
        if found is None:
            continue
        index = f"{alerts}-{found['timestamp'][:10].replace('-', '.')}"
        elasticsearch.ask("HEAD", f"/{index}")
        status, answer = elasticsearch.ask("POST", f"/{index}/_doc", found)
        if status != 201:
            sys.exit(f"k8scop-loop.py: {status}: {answer}")
        raised += 1
        about_people += not found["user"].startswith("system:")
    seconds = time.monotonic() - start
    print(json.dumps({"documents": read, "alerts": raised, "about_people": about_people, "seconds": seconds}))


if __name__ == "__main__":
    main()
