#!/usr/bin/env python3
"""Writes `events.ndjson` and all `*.in.*` of this folder: three invented events in every carrier. SOURCE.md tells more."""

import base64
import gzip
import json
import pathlib

HERE = pathlib.Path(__file__).parent


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def as_go(value):
    """As Go's encoder writes it: the API server's `&` is an escape."""
    return compact(value).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def event(number, verb, uri, user, ref, code, annotations, **more):
    level = "RequestResponse" if "requestObject" in more else "Metadata"
    return {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": level,
        "auditID": f"c0ffee00-0000-4000-8000-00000000000{number}", "stage": "ResponseComplete", "requestURI": uri, "verb": verb,
        "user": user, "sourceIPs": ["10.20.0.9", f"192.0.2.{number}"], "userAgent": "kubectl/v1.35.0 (linux/amd64) kubernetes/1111111",
        "objectRef": ref, "responseStatus": {"metadata": {}, "code": code}, **more,
        "requestReceivedTimestamp": f"2026-02-27T08:15:0{number}.100200Z",
        "stageTimestamp": f"2026-02-27T08:15:0{number}.300400Z", "annotations": annotations,
    }


DECISION, REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"
LIST = event(1, "list", "/api/v1/namespaces/shop/secrets?limit=500", {"username": "nina@corp.example", "uid": "n-1",
             "groups": ["ops", "system:authenticated"], "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=0f"]}},
             {"resource": "secrets", "namespace": "shop", "apiVersion": "v1"}, 200, {DECISION: "allow", REASON: "RBAC: \"ops\""})
EXEC = event(2, "get", "/api/v1/namespaces/shop/pods/till-0/exec?command=sh&command=-c&command=echo+%C3%A9+%3E+x&container=till",
             {"username": "system:serviceaccount:shop:café", "groups": ["system:serviceaccounts"]},
             {"resource": "pods", "namespace": "shop", "name": "till-0", "apiVersion": "v1", "subresource": "exec"}, 101,
             {DECISION: "allow", REASON: "", "example.com/ünï": "\t\"ß\\"})
BIND = event(3, "create", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings?fieldManager=kubectl-create",
             {"username": "omar", "groups": ["system:authenticated"]},
             {"resource": "clusterrolebindings", "name": "omar-admin", "apiGroup": "rbac.authorization.k8s.io", "apiVersion": "v1"}, 403,
             {DECISION: "forbid", REASON: ""},
             requestObject={"kind": "ClusterRoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1",
                            "metadata": {"name": "omar-admin", "annotations": {"a.b": "c"}},
                            "subjects": [{"kind": "User", "name": "omar"}], "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}},
             responseObject={"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403})
EVENTS = [LIST, EXEC, BIND]
LINES = [as_go(it) for it in EVENTS]

# Lines of the other log types of EKS and AKS.
KLOG = "I0227 08:15:04.000001       1 flags.go:64] FLAG: --v=\"2\""
CONTROLLER = "E0227 08:15:05.000002       1 leaderelection.go:330] \"error retrieving resource lock\" err=\"timed out\""
SCHEDULER = "I0227 08:15:06.000003       1 schedule_one.go:880] \"Unable to schedule pod\" pod=\"shop/till-0\""
CLOUD = "W0227 08:15:07.000004       1 controller.go:291] node i-0a1 is gone"
AUTHENTICATOR = ("time=\"2026-02-27T08:15:08Z\" level=info msg=\"access granted\" arn=\"arn:aws:iam::111122223333:role/ops\" "
                 "client=\"127.0.0.1:50404\" groups=\"[ops]\" method=POST path=/authenticate uid=\"aws-iam-authenticator:111122223333:AROAX\" "
                 "username=nina@corp.example")
REST = "    goroutine 7 [running]:"

GROUP, HEX = "/aws/eks/plum/cluster", "0123456789abcdef0123456789abcdef"
AUDIT_STREAM = f"kube-apiserver-audit-{HEX}"
STREAMS = [(AUDIT_STREAM, it) for it in LINES] + [
    (f"kube-apiserver-{HEX}", KLOG), (f"kube-apiserver-{HEX}", REST), (f"authenticator-{HEX}", AUTHENTICATOR),
    (f"kube-controller-manager-{HEX}", CONTROLLER), (f"cloud-controller-manager-{HEX}", CLOUD), (f"kube-scheduler-{HEX}", SCHEDULER)]


def write(name, lines):
    (HERE / name).write_text("".join(f"{it if isinstance(it, str) else compact(it)}\n" for it in lines), encoding="utf-8")


def bulk(name, documents, index="logs-in-prod", action="create", ids=False):
    lines = []
    for number, document in enumerate(documents):
        meta = {"_index": index, **({"_id": f"{name}-{number}"} if ids else {})}
        lines += [{action: meta}, document]
    write(f"{name}.in.bulk.ndjson", lines)


def jsonl(name, documents):
    write(f"{name}.in.jsonl", documents)


def packed(text):
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def plain(text):
    return base64.b64encode(text.encode()).decode()


def subscription(messages=None, stream=AUDIT_STREAM, snake=False, first=1, **more):
    events = [{"id": f"3800000000000000000000000000000000000000000000000000{first + n:04}", "timestamp": 1772180100000 + n, "message": it}
              for n, it in enumerate(LINES if messages is None else messages)]
    names = ["messageType", "owner", "logGroup", "logStream", "subscriptionFilters", "logEvents"]
    if snake:
        names = ["message_type", "owner", "log_group", "log_stream", "subscription_filters", "log_events"]
    return dict(zip(names, ["DATA_MESSAGE", "111122223333", GROUP, stream, ["to-k8scop"], events])) | more


def control(snake=False):
    it = subscription(["CWL CONTROL MESSAGE: Checking health of destination Firehose."], "", snake)
    return {**it, "message_type" if snake else "messageType": "CONTROL_MESSAGE", "log_group" if snake else "logGroup": ""}


SHIPPER = {"agent": {"type": "filebeat", "version": "9.1.0", "name": "shipper-1"}, "ecs": {"version": "8.0.0"}}
AT = {"@timestamp": "2026-02-27T08:15:30.000Z"}


def eks():
    told = [{"log_group": GROUP, "log_stream": stream, "ingestion_time": "2026-02-27T08:15:20.000Z"} for stream, _ in STREAMS]
    both = [(AT | {"message": text}, it, stream) for (stream, text), it in zip(STREAMS, told)]
    aws = {"cloud": {"provider": "aws", "region": "eu-north-1"}, "input": {"type": "aws-cloudwatch"}, **SHIPPER}
    bulk("eks_filebeat_dotted", [it | {"log.file.path": f"{GROUP}/{stream}", "event": {"id": "x"}, "awscloudwatch": cw, "aws.cloudwatch": cw} | aws
                                 for it, cw, stream in both], ids=True)
    bulk("eks_agent_nested", [it | {"log": {"file": {"path": f"{GROUP}/{stream}"}}, "aws": {"cloudwatch": cw}, "event": {"id": "x"}} | aws
                              for it, cw, stream in both], "logs-kubernetes.audit_logs-prod", ids=True)
    bulk("eks_only_deprecated", [both[0][0] | {"awscloudwatch": both[0][1]}, both[1][0] | {"aws.cloudwatch.log_group": GROUP}])
    decoded = [{**AT, "awscloudwatch": cw, "kubernetes": {"audit": it}} | aws for it, cw in zip(EVENTS, told)]
    decoded.append(AT | {"message": KLOG, "awscloudwatch": told[3], "error": {"message": "parsing input as JSON"}} | aws)
    bulk("eks_decode_json_fields", decoded)
    bulk("eks_logstash", [AT | {"@version": "1", "message": text, "cloudwatch_logs": {
        "log_group": GROUP, "log_stream": stream, "event_id": f"e{n}", "ingestion_time": 1772180120000}}
        for n, (stream, text) in enumerate(STREAMS)], "logstash-2026.02.27", "index")
    dotted = {f"aws.cloudwatch.{key}": value for key, value in (("log_group", GROUP), ("log_stream", AUDIT_STREAM))}
    bulk("eks_firehose_elastic", [AT | {"message": text, **dotted, "aws.firehose.arn": "arn:aws:firehose:eu-north-1:111122223333:deliverystream/d",
                                        "event.id": f"f{n}", "cloud.provider": "aws", "cloud.region": "eu-north-1", "cloud.account.id": "111122223333",
                                        "data_stream.type": "logs", "data_stream.dataset": "awsfirehose", "data_stream.namespace": "prod"}
                                  for n, text in enumerate(LINES)], "logs-awsfirehose-prod")
    forwarded = [AT | {"message": text, "aws": {"cloudwatch": {"log_group": GROUP, "log_stream": stream, "event_id": f"s{n}"}},
                       "log": {"offset": 0, "file": {"path": f"{GROUP}/{stream}"}},
                       "cloud": {"provider": "aws", "region": "eu-north-1", "account": {"id": "111122223333"}}, "tags": ["forwarded"]}
                 for n, (stream, text) in enumerate(STREAMS)]
    kinesis = AT | {"message": compact(subscription(first=40)), "aws": {"kinesis": {"type": "stream", "name": "audit", "sequence_number": "496"}}}
    bulk("eks_serverless_forwarder", [*forwarded, kinesis], "logs-generic-default", ids=True)


def cloudwatch():
    parts = [LINES[2][:400], LINES[2][400:]]
    jsonl("cloudwatch_subscription", [control(), subscription(), subscription(snake=True), control(snake=True),
                                      subscription([LINES[0], *parts, LINES[1]]), subscription([]),
                                      subscription([AUTHENTICATOR], f"authenticator-{HEX}", first=50), subscription([KLOG, REST], f"kube-apiserver-{HEX}", first=60),
                                      subscription([LINES[0][:300] + "[Truncated...]"], first=70), {**subscription(["GET / 200"]), "logGroup": "/aws/lambda/other"}])
    one, two = subscription(LINES[:1]), subscription(LINES[1:], first=2)
    other = {"not": "of CloudWatch"}
    text = AT | {"@version": "1"}
    bulk("cloudwatch_subscription_in_message", [text | {"message": compact(subscription())}, text | {"message": compact(one) + compact(two)},
                                                text | {"message": f"{compact(one)}\n{compact(other)}\n{compact(two)}"},
                                                text | {"message": f"{compact(other)}\n{compact(one)}\n{compact(two)}"},
                                                text | {"message": compact([one, two])}, text | {"message": compact(control())}])
    write("firehose_request.in.json", [{"requestId": "r-1", "timestamp": 1772180160000, "records": [
        {"data": packed(compact(control()))}, {"data": packed(compact(one))}, {"data": packed(compact(two))}]}])
    write("firehose_concatenated.in.json", [{"requestId": "r-2", "timestamp": 1772180160000, "records": [
        {"data": base64.b64encode(gzip.compress(compact(one).encode(), mtime=0) + gzip.compress(compact(two).encode(), mtime=0)).decode()}]}])
    write("firehose_extracted.in.json", [{"requestId": "r-3", "timestamp": 1772180160000, "records": [
        {"data": plain(f"{LINES[0]}\n{KLOG}\n{LINES[1]}\n")}, {"data": plain(f"{KLOG}\n{LINES[2]}\n")}]}])
    jsonl("firehose_not_kubernetes", [{"requestId": "r-4", "timestamp": 1772180160000, "records": [{"data": plain("plain text")}]},
                                      {"Records": [{"eventSource": "kinesis.amazonaws.com", "requestParameters": {"logGroupName": GROUP}},
                                                   {"eventSource": "s3.amazonaws.com"}]}])
    jsonl("lambda", [{"awslogs": {"data": packed(compact(subscription()))}}, {"message": compact({"awslogs": {"data": packed(compact(subscription()))}})}])
    record = {"kinesisSchemaVersion": "1.0", "partitionKey": "p", "sequenceNumber": "496", "data": packed(compact(subscription())),
              "approximateArrivalTimestamp": 1772180101.5}
    jsonl("kinesis", [{"Records": [{"kinesis": record, "eventSource": "aws:kinesis", "awsRegion": "eu-north-1", "eventID": "shardId-0:496"}]}])
    jsonl("firehose_transform", [{"invocationId": "i-1", "deliveryStreamArn": "arn:aws:firehose:eu-north-1:111122223333:deliverystream/d",
                                  "region": "eu-north-1", "records": [{"recordId": "1", "approximateArrivalTimestamp": 1772180101500,
                                                                       "data": packed(compact(subscription()))}]}])
    bulk("event_original", [AT | {"event": {"original": text, "id": "o"}} for text in [*LINES, "plain text"]])


def entry(number, method, name, granted=True, request=None, response=None, status=None, labels=None, who="nina@corp.example",
          first=True, last=True, **info):
    operation = {"id": f"beef{number}", "producer": "k8s.io", **({"first": True} if first else {}), **({"last": True} if last else {})}
    payload = {"@type": "type.googleapis.com/google.cloud.audit.AuditLog",
               "authenticationInfo": {**({"principalEmail": who} if who else {}), **info},
               "authorizationInfo": [{**({"granted": True} if granted else {}), "permission": method, "resource": name}], "methodName": method,
               "requestMetadata": {"callerIp": f"192.0.2.{number}", "callerSuppliedUserAgent": "kubectl/v1.35.0"}, "resourceName": name,
               "serviceName": "k8s.io", "status": status or {}}
    for key, value in (("request", request), ("response", response)):
        if value:
            payload[key] = value
    return {"insertId": f"i{number}", "labels": labels or {DECISION: "allow", REASON: "RBAC"},
            "logName": "projects/plum-1/logs/cloudaudit.googleapis.com%2Factivity", "operation": operation, "protoPayload": payload,
            "receiveTimestamp": "2026-02-27T08:15:09.500000000Z",
            "resource": {"labels": {"cluster_name": "plum", "location": "europe-north1-a", "project_id": "plum-1"}, "type": "k8s_cluster"},
            "timestamp": f"2026-02-27T08:15:0{number}.123456Z"}


def gke():
    bound = {"@type": "rbac.authorization.k8s.io/v1.ClusterRoleBinding", **BIND["requestObject"]}
    failed = {"@type": "core.k8s.io/v1.Status", "kind": "Status", "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403}
    run = {"command.gke.io/command": "sh -c id", DECISION: "allow"}
    entries = [
        entry(1, "io.k8s.core.v1.secrets.list", "core/v1/namespaces/shop/secrets"),
        entry(2, "io.k8s.core.v1.pods.exec.create", "core/v1/namespaces/shop/pods/till-0/exec", labels=run, last=False),
        entry(2, "io.k8s.core.v1.pods.exec.create", "core/v1/namespaces/shop/pods/till-0/exec", labels=run, first=False),
        entry(3, "io.k8s.authorization.rbac.v1.clusterrolebindings.create", "rbac.authorization.k8s.io/v1/clusterrolebindings/omar-admin", False,
              bound, failed, {"code": 7, "message": "no"}, {DECISION: "forbid", REASON: ""}, "omar"),
        entry(4, "io.k8s.core.v1.nodes.list", "core/v1/nodes", who=None, labels={"example.com/a.b": "c"}),
        entry(5, "io.k8s.get", "readyz", who=None), entry(6, "com.example.db.v1.backups.patch", "db.example.com/v1/namespaces/shop/backups/b1",
                                                         request={"@type": "k8s.io/Patch", "spec": {"keep": 3}}),
        entry(7, "io.k8s.core.v1.secrets.get", "core/v1/namespaces/kube-system/secrets/t", authoritySelector="system:admin"),
        entry(8, "io.k8s.core.v1.namespaces.delete", "core/v1/namespaces/shop", status={"code": 5, "message": "gone"})]
    nameless = entry(9, "io.k8s.core.v1.pods.list", "")
    del nameless["protoPayload"]["resourceName"], nameless["protoPayload"]["authorizationInfo"]
    api = {**entry(1, "google.container.v1.ClusterManager.CreateCluster", "projects/plum-1/zones/z/clusters/c"),
           "resource": {"type": "gke_cluster", "labels": {}}}
    api["protoPayload"]["serviceName"] = "container.googleapis.com"
    pod = {"insertId": "p", "jsonPayload": {"message": "about k8s.io"}, "resource": {"type": "k8s_container", "labels": {"cluster_name": "plum"}},
           "timestamp": "2026-02-27T08:15:01Z", "logName": "projects/plum-1/logs/stdout"}
    jsonl("gke_entries", [*entries, nameless, api, pod])
    beat = AT | {"input": {"type": "gcp-pubsub"}, "labels": {"logging.googleapis.com/timestamp": "2026-02-27T08:15:01Z"}, **SHIPPER}
    bulk("gke_filebeat_pubsub", [beat | {"event": {"id": f"0a1b2c3d4e-{n}", "created": "2026-02-27T08:15:10.000Z"}, "message": compact(it)}
                                 for n, it in enumerate([*entries[:4], api, pod])], ids=True)
    stash = AT | {"@version": "1", "host": "stash-1"}
    bulk("gke_logstash", [stash | {"message": compact(entries[0])}, stash | entries[1], stash | {"message": compact(entries[:2])}, stash | pod],
         "logstash-2026.02.27", "index")
    jsonl("gke_push", [{"message": {"data": plain(compact(it)), "attributes": {"a": "b"}, "messageId": f"{n}", "publishTime": "2026-02-27T08:15:10Z"},
                        "subscription": "projects/plum-1/subscriptions/s", "deliveryAttempt": 2} for n, it in enumerate([entries[0], api, pod])])
    elastic = {**{key: value for key, value in entries[0].items() if key != "labels"}, "auditID": "i1", "stageTimestamp": entries[0]["timestamp"],
               "annotations": {"authorization_k8s_io/decision": "allow"}}
    bulk("gke_elastic_kubernetes", [AT | {"kubernetes": {"audit": elastic}, "event": {"kind": "event"}}])


RESOURCE = "/SUBSCRIPTIONS/00000000-0000-0000-0000-00000000000A/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/PLUM"


def aks_record(category, log, **more):
    return {"time": "2026-02-27T08:15:01.300400Z", "resourceId": RESOURCE, "category": category,
            "operationName": "Microsoft.ContainerService/managedClusters/diagnosticLogs/Read",
            "properties": {"log": log, "stream": "stdout", "pod": f"{category}-0", "containerID": "c1"}, "serviceBuild": "na", **more}


def aks():
    audit = [aks_record("kube-audit", LINES[0] + "\n"), aks_record("kube-audit-admin", EVENTS[1]), aks_record("kube-audit", LINES[2])]
    bodies = compact({**BIND, "requestObject": {"data": "x" * 20000}})
    texts = [aks_record("guard", KLOG), aks_record("kube-apiserver", KLOG + "\n"), aks_record("kube-controller-manager", CONTROLLER),
             aks_record("kube-scheduler", SCHEDULER), aks_record("cluster-autoscaler", CLOUD), aks_record("cloud-controller-manager", CLOUD),
             aks_record("csi-azuredisk-controller", CLOUD), aks_record("csi-snapshot-controller", CLOUD), aks_record("something-new", KLOG),
             aks_record("kube-audit", bodies[:16384])]
    activity = {"time": "2026-02-27T08:15:01Z", "resourceId": RESOURCE, "category": "Administrative", "operationName": "WRITE", "properties": {"a": 1}}
    write("aks_records.in.json", [{"records": [*audit, *texts, activity]}])
    jsonl("aks_bare_records", [*audit, *texts[:2], activity, {"records": [activity]}])
    old = aks_record("kube-audit", LINES[1], Cloud="AzureCloud", Environment="prod", UnderlayName="hcp")
    del old["serviceBuild"], old["resourceId"]
    beat = AT | {"input": {"type": "azure-eventhub"}, **SHIPPER,
                 "azure": {"eventhub": "hub", "consumer_group": "$Default", "partition_id": "0", "offset": "7", "enqueued_time": "2026-02-27T08:15:12.000Z"}}
    bulk("aks_filebeat", [beat | {"message": it if isinstance(it, str) else compact(it)}
                          for it in [*audit, *texts[:2], audit, old, {"records": audit}, compact(activity).replace("\"", "'"),
                                     compact(audit[1]).replace("\"", "'")]])
    stash = AT | {"@version": "1"}
    bulk("aks_logstash", [stash | {"message": compact({"records": audit})}, *[stash | it for it in audit]], "logstash-2026.02.27", "index")
    names = {"Level": "level", "AuditId": "auditID", "Stage": "stage", "RequestUri": "requestURI", "Verb": "verb", "User": "user",
             "SourceIps": "sourceIPs", "UserAgent": "userAgent", "ObjectRef": "objectRef", "ResponseStatus": "responseStatus",
             "RequestObject": "requestObject", "ResponseObject": "responseObject", "Annotations": "annotations",
             "RequestReceivedTime": "requestReceivedTimestamp", "StageReceivedTime": "stageTimestamp"}
    rows = [{"TimeGenerated": it["stageTimestamp"], "Type": "AKSAudit", "_ResourceId": RESOURCE.lower(), "PodName": "kube-apiserver-0",
             **{ours: it.get(theirs) for ours, theirs in names.items()}} for it in EVENTS]
    texts = {key: compact(value) if isinstance(value, (dict, list)) else value for key, value in rows[2].items()}
    skipped = {**rows[2], "RequestObject": "skipped-too-big-size-object", "ResponseObject": "skipped-too-big-size-object"}
    jsonl("aks_loganalytics", [*rows, texts, skipped, {"records": rows}])


def self_managed():
    bare = [{key: value for key, value in it.items() if key not in ("kind", "apiVersion")} for it in EVENTS]
    beta = {**LIST, "apiVersion": "audit.k8s.io/v1beta1", "metadata": {"creationTimestamp": "2026-02-27T08:15:01Z"}, "timestamp": "2026-02-27T08:15:01Z"}
    head = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}}
    jsonl("webhook", [head | {"items": EVENTS}, head | {"items": bare}, {**head, "apiVersion": "audit.k8s.io/v1beta1", "items": [beta]},
                      head | {"items": []}, head | {"items": [LIST, {"kind": "Pod"}, 7]}])
    jsonl("webhook_in_message", [{"message": compact(head | {"items": EVENTS})}, {"body": head | {"items": bare}, "headers": {"http_user_agent": "Go-http-client/1.1"}}])
    file = AT | {"log": {"file": {"path": "/var/log/kubernetes/audit.log"}, "offset": 7}, "host": {"name": "cp-1"}}
    pretty = json.dumps(LIST, indent=2).replace("\n", "\r\n")
    cri = [f"2026-02-27T08:15:01.300400500Z stdout F {it}" for it in LINES]
    bulk("lines", [file | {"message": it} for it in [*LINES, *cri, f"\ufeff{LINES[0]}", f" {LINES[0]}\r\n", pretty, "not JSON", as_go(beta), compact(beta)]],
         "filebeat-9.1.0", "index")
    bulk("docker_log", [AT | {"log": it + "\n", "stream": "stdout", "time": "2026-02-27T08:15:01.3Z"} for it in LINES])
    bulk("other_texts", [AT | {name: LINES[0]} for name in ("msg", "Message", "body", "short_message", "full_message")])
    bulk("root_keys", [f'{{"@timestamp":"2026-02-27T08:15:30Z",{it[1:-1]},"host":{{"name":"cp-1"}},"log":{{"offset":7}}}}' for it in LINES], "filebeat-9.1.0", "index")
    bulk("fluent_bit", [f'{{"@timestamp":"2026-02-27T08:15:01.300Z",{it[1:]}' for it in LINES], "logstash-2026.02.27")
    texts = [{**it, **{key: compact(it[key]) if key in it else "none" for key in ("requestObject", "responseObject")},
              "origin": "kubernetes-api-audit", "host": "master-1", "@timestamp": "2026-02-27T08:15:01.300400000+00:00"} for it in EVENTS]
    bulk("fluentd_2019", texts, "logstash-2026.02.27", ids=True)
    stash = AT | {"@version": "1", "type": "audit", "path": "/var/log/audit.log", "host": "cp-1"}
    bulk("logstash_json_target", [stash | {"message": line, "audit": it} for line, it in zip(LINES, EVENTS)], "logstash-2026.02.27", "index")
    viaq = [{**it, "level": "default", "k8s_audit_level": it["level"], "@timestamp": it["stageTimestamp"], "hostname": "cp-1", "log_type": "audit",
             "log_source": "kubeAPI", "openshift": {"cluster_id": "cid-1", "sequence": n}} for n, it in enumerate(EVENTS)]
    bulk("openshift_viaq", viaq, "audit-write")
    bulk("openshift_viaq_in_message", [AT | {"message": compact(it)} for it in viaq])
    attribute = {"key": "openshift.cluster.uid", "value": {"stringValue": "cid-1"}}
    def otlp(bodies, about=attribute):
        records = [{"timeUnixNano": "1772180101300400000", "severityText": "INFO", "body": it,
                    "attributes": [{"key": "k8s.audit.event.stage", "value": {"stringValue": "ResponseComplete"}}]} for it in bodies]
        return {"resourceLogs": [{"resource": {"attributes": [about]}, "scopeLogs": [{"scope": {}, "logRecords": records}]}]}
    ordinary = {"key": "k8s.label", "value": {"stringValue": "x-k8s.io"}}
    jsonl("openshift_otlp", [otlp([{"stringValue": it} for it in LINES]), otlp([{"stringValue": "plain"}, {"stringValue": LINES[0]}, {"intValue": "7"}]),
                             otlp([{"stringValue": "about k8s.io"}], ordinary), {"resourceLogs": [{"resource": {"attributes": [ordinary]}}]}])
    gelf = [{"version": "1.1", "host": "c1", "short_message": it, "timestamp": 1772180101.3, "level": 6, "_cluster": "plum"} for it in LINES]
    jsonl("gelf", [*[{"message": compact(it)} for it in gelf], gelf[0]])


def elastic():
    written = [{**it, "annotations": {key.replace(".", "_"): value for key, value in it["annotations"].items()}} for it in EVENTS]
    for it in written:
        for body in ("requestObject", "responseObject"):
            it.get(body, {}) and it.update({body: {key: value for key, value in it[body].items() if key != "metadata"}})
    bulk("elastic_kubernetes", [AT | {"kubernetes": {"audit": it}, "event": {"kind": "event", "action": it["verb"]},
                                      "data_stream": {"type": "logs", "dataset": "kubernetes.audit_logs", "namespace": "prod"}} for it in written])
    bulk("elastic_aws_eks", [AT | {"aws": {"eks": {"audit": {**it, "objectRef": {"apiGroup": "core", **it["objectRef"]}}},
                                           "cloudwatch": {"log_group": GROUP, "log_stream": AUDIT_STREAM}}, "cloud": {"provider": "aws"}} for it in EVENTS])
    gcp = {"authentication_info": {"principal_email": "nina@corp.example"}, "method_name": "io.k8s.core.v1.secrets.list",
           "resource_name": "core/v1/namespaces/shop/secrets", "service_name": "k8s.io", "type": "type.googleapis.com/google.cloud.audit.AuditLog",
           "authorization_info": [{"granted": True, "permission": "io.k8s.core.v1.secrets.list", "resource": "core/v1/namespaces/shop/secrets"}],
           "request_metadata": {"caller_ip": "192.0.2.1", "caller_supplied_user_agent": "kubectl/v1.35.0"}, "labels": {DECISION: "allow"}}
    document = {"@timestamp": "2026-02-27T08:15:01.123Z", "gcp": {"audit": gcp}, "service": {"name": "k8s.io"}, "source": {"ip": "192.0.2.1"},
                "event": {"action": "io.k8s.core.v1.secrets.list", "id": "i1", "outcome": "success"}, "client": {"user": {"email": "nina@corp.example"}},
                "orchestrator": {"cluster": {"name": "plum"}, "type": "kubernetes"}, "user_agent": {"original": "kubectl/v1.35.0"},
                "cloud": {"project": {"id": "plum-1"}}, "log": {"logger": "projects/plum-1/logs/cloudaudit.googleapis.com%2Fdata_access"}}
    storage = {**document, "service": {"name": "storage.googleapis.com"}, "event": {"action": "storage.objects.get"},
               "gcp": {"audit": {**gcp, "service_name": "storage.googleapis.com"}}}
    bulk("elastic_gcp_audit", [document, storage])
    azure = [{"@timestamp": "2026-02-27T08:15:01.300Z", "azure": {
        "platformlogs": {"category": "kube-audit", "properties": {"log": it, "pod": "kube-apiserver-0"}, "operation_name": "Read"}, "resource": {"id": RESOURCE}}}
        for it in EVENTS]
    other = {"@timestamp": "2026-02-27T08:15:01Z", "azure": {"platformlogs": {"category": "AuditEvent", "properties": {"id": RESOURCE}}}}
    bulk("elastic_azure_platformlogs", [*azure, other])


def odd():
    deep = "{\"a\":" * 300 + "1" + "}" * 300
    messages = [
        LINES[0][:200] + "[Truncated...]", LINES[2][:700], LINES[2][:900] + "[Truncated...]", LINES[0].replace("\"verb\"", "verb"), LINES[0] + LINES[1],
        f"{LINES[0]}\n{LINES[2][:700]}", LINES[0] + "\ntrailing", LINES[0][:-1] + ",\"verb\":\"delete\"}", LINES[0].replace("verb", "v\\u0065rb"), f"[{LINES[0]},{LINES[1]}]",
        as_go([]), "{}", "[]", "\"text\"", "null", "", "{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"reason\":\"about audit.k8s.io/v1\"}",
        "{\"kind\":0,\"apiVersion\":\"audit.k8s.io/v1\",\"auditID\":1,\"stage\":{}}", compact({**LIST, "user": None, "verb": 7, "sourceIPs": "10.0.0.1", "objectRef": []}),
        LINES[0].replace("ResponseComplete", "Response\\ud800Complete"), LINES[0].replace("nina", "ni\\u0000na\\u2028"), "I9999 no klog k8s.io", "{\"records\":",
        compact({**BIND, "requestObject": [{"op": "add", "path": "/a", "value": 1}], "responseObject": "none of JSON"}),
        compact({**BIND, "requestObject": 7, "responseObject": {"": 1, ".": 2, "a..b": 3, "f:x": {"managedFields": [1]}}}),
        as_go(BIND).replace("\"subjects\":", f"\"deep\":{deep},\"subjects\":"), compact({**LIST, "annotations": {"a.b": "1", "a_b": "2"}}),
        compact({**LIST, "requestReceivedTimestamp": "2030-01-01T00:00:00Z", "stageTimestamp": "2030-01-01T00:00:00Z"}),
        compact({**LIST, "stage": "RequestReceived", "user": {}, "annotations": None})]
    bulk("hostile", [AT | {"message": it} for it in messages])
    bulk("odd_shapes", [AT | {"message": LIST}, AT | {"message": [LIST, EXEC]}, AT | {"message": LINES}, AT | {"message": ["{\"a\":\"k8s.io\"}", "b"]}, AT | {"message": 7},
                        AT | {"message": {"message": LINES[0]}}, AT | {"log": {"message": LINES[0]}}, AT | {"event": {"original": LIST}},
                        AT | {"kubernetes": {"audit": LINES[0]}}, AT | {"kubernetes": {"audit": {"x": 1}}, "message": LINES[0]},
                        AT | {"message": "{\"about\":\"k8s.io\"}", "event": {"original": LINES[0]}}])
    bulk("dotted_keys", [{"@timestamp": AT["@timestamp"], **{f"kubernetes.audit.{key}": value for key, value in LIST.items()}}, AT | {"kubernetes.audit": EXEC},
                         AT | {"event.original": LINES[2]}, AT | {"a.b": 1, "c": 2}, AT | {"a.b": "about k8s.io", "a": "c"}])


write("events.ndjson", LINES)
for make in (eks, cloudwatch, gke, aks, self_managed, elastic, odd):
    make()
