"""Writes documents with a bulk helper of an Elasticsearch or OpenSearch client for Python.

usage: driver.py HELPER URL INDEX FILE [HELPER URL INDEX FILE]...

HELPER is bulk, streaming_bulk or parallel_bulk; FILE has a JSON document on each line. All settings are the library's
own, but for the size of a request: a test has few documents and wants several requests. The jobs run side by side, each
with a client of its own. Each ends with a line on standard output, in any order:
{"job": number from 0, "ok": documents confirmed, "failed": documents refused one by one, "error": text or null}
"""

import json
import sys
import threading

try:
    import elasticsearch as library
    from elasticsearch import helpers

    Client = library.Elasticsearch
except ImportError:
    import opensearchpy as library
    from opensearchpy import helpers

    Client = library.OpenSearch

DOCUMENTS_PER_REQUEST = 20


def write(helper, url, index, path, said):
    with open(path, encoding="utf-8") as file:
        actions = [{"_index": index, "_source": json.loads(line)} for line in file]
    client = Client([url])
    if helper == "bulk":
        said["ok"], refused = helpers.bulk(client, actions, chunk_size=DOCUMENTS_PER_REQUEST)
        said["failed"] = len(refused)
        return
    for ok, _ in getattr(helpers, helper)(client, actions, chunk_size=DOCUMENTS_PER_REQUEST):
        said["ok" if ok else "failed"] += 1


def run(job, arguments, output):
    said = {"job": job, "ok": 0, "failed": 0, "error": None}
    try:
        write(*arguments, said)
    except helpers.BulkIndexError as error:
        said["failed"] = len(error.errors)
        said["error"] = str(error)[:300]
    except Exception as error:  # whatever it is, it is what the program would have heard
        said["error"] = f"{type(error).__name__}: {error}"[:300]
    with output:
        print(json.dumps(said), flush=True)


def main():
    arguments = sys.argv[1:]
    if not arguments or len(arguments) % 4:
        sys.exit(__doc__)
    output = threading.Lock()
    jobs = [arguments[at : at + 4] for at in range(0, len(arguments), 4)]
    threads = [threading.Thread(target=run, args=(job, it, output)) for job, it in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
