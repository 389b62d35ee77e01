#!/usr/bin/env python3
"""Reads old logs as `k8scop backfill` does, and throws them away, for `scripts/bench-backfill` to measure against.

The same questions in the same order: a point in time of each index, pages of about 4 MB by `_seq_no`, as many indices at
once as there are cores. Of an answer only the last number is looked for.

usage: read-to-nowhere.py HOST:PORT PREFIX        prints documents and seconds as JSON
"""

import concurrent.futures
import http.client
import json
import os
import re
import sys
import time

PAGE_BYTES = 4 << 20
HITS_MAX = 10_000
SLICES_MAX = 8
NUMBER = b'"sort":['


class Index:
    def __init__(self, host, name):
        self.connection = http.client.HTTPConnection(host, timeout=300)
        self.name = name

    def ask(self, method, path, body=None):
        text = None if body is None else json.dumps(body)
        self.connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(f"read-to-nowhere.py: {path}: {answer.status}: {content[:500]}")
        return content

    def read(self):
        """Reads all of it, and gives back how many documents these were."""
        aggregation = {"last": {"max": {"field": "_seq_no"}}}
        found = json.loads(self.ask("POST", f"/{self.name}/_search", {"size": 0, "aggs": aggregation}))
        last = int(found["aggregations"]["last"]["value"])
        opened = json.loads(self.ask("POST", f"/{self.name}/_pit?keep_alive=5m&preference=_shards:0"))
        pit = {"id": opened["id"], "keep_alive": "5m"}
        after, size, documents = -1, 500, 0
        while after < last:
            to = min(after + 2 * size, last)
            window = {"range": {"_seq_no": {"gt": after, "lte": to}}}
            page = self.ask("POST", "/_search", {
                "size": size,
                "pit": pit,
                "query": {"bool": {"filter": [window]}},
                "sort": [{"_seq_no": "asc"}],
                "track_total_hits": False,
                "_source": True,
            })
            hits = page.count(NUMBER)
            documents += hits
            end = page.rfind(NUMBER) + len(NUMBER)
            after = int(re.match(rb"\d+", page[end : end + 20])[0]) if hits == size else to
            if hits:
                size = max(1, min(PAGE_BYTES * hits // len(page), 4 * size, HITS_MAX))
        self.ask("DELETE", "/_pit", {"id": pit["id"]})
        return documents


def main():
    host, prefix = sys.argv[1:]
    start = time.monotonic()
    names = json.loads(Index(host, "").ask("GET", f"/_cat/indices/{prefix}-*?format=json&h=index"))
    names = sorted(it["index"] for it in names)
    with concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, SLICES_MAX)) as slices:
        documents = sum(slices.map(lambda name: Index(host, name).read(), names))
    print(json.dumps({"documents": documents, "alerts": 0, "seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
