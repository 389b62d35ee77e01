//! Lines of a control plane: byte 0 chooses the settings, byte 1 the component and the carrier, the rest is the line.

#![no_main]

use k8scop_fuzz::{
    chosen,
    parts::{INFLATED_BYTES_MAX, Kind, again, checked, settings},
    value,
};
use serde_json::{Value, json};

/// Streams of EKS and categories of AKS.
const NAMES: [(&str, &str); 8] = [
    ("kube-apiserver-0", "kube-apiserver"),
    ("authenticator-0", "guard"),
    ("kube-controller-manager-0", "kube-controller-manager"),
    ("cloud-controller-manager-0", "cloud-controller-manager"),
    ("kube-scheduler-0", "kube-scheduler"),
    ("kube-apiserver-audit-0", "kube-audit"),
    ("unknown-0", "cluster-autoscaler"),
    ("scheduler-0", "csi-aksarcnfs-controller"),
];

const LEVELS: [&str; 5] = ["debug", "info", "warning", "error", "fatal"];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((flags, data)) = chosen(data) else { return };
    let Some((place, line)) = chosen(data) else { return };
    let Ok(line) = std::str::from_utf8(line) else { return };
    let settings = settings(flags);
    let document = document(place, line);
    let all = checked(&document, &settings, INFLATED_BYTES_MAX);
    again(&all, &settings);
    for it in all.iter().filter(|it| it.kind == Kind::Line) {
        line_is_sound(&it.out, &it.text, line);
    }
});

fn document(place: u8, line: &str) -> String {
    let (stream, category) = NAMES[usize::from(place & 7)];
    let group = "/aws/eks/demo/cluster";
    match place >> 3 & 3 {
        0 => json!({"@timestamp": "2026-03-01T10:00:00.000Z", "message": line, "source": "old",
            "aws": {"cloudwatch": {"log_group": group, "log_stream": stream}}}),
        1 => json!({"messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": group, "logStream": stream,
            "logEvents": [{"id": "1", "timestamp": 1_772_359_200_130_u64, "message": line}]}),
        2 => json!({"time": "2026-03-01T10:00:00Z", "category": category, "operationName": "x",
            "resourceId": "/SUBSCRIPTIONS/0/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/DEMO",
            "properties": {"log": line, "stream": "stderr", "pod": "p"}}),
        // As old Filebeats and other programs write what is an object in ECS.
        _ => json!({"message": line, "cloudwatch_logs": {"log_group": group, "log_stream": stream},
            "user": "u", "log": 7, "error": "e", "process": [], "data_stream": "d", "host": "h", "tags": {}}),
    }
    .to_string()
}

fn line_is_sound(out: &str, text: &str, line: &str) {
    let Some(written) = value(out) else { return };
    // JSON of several lines is put on one.
    let on_one = |it: &str| it.replace(['\r', '\n'], " ");
    assert!(on_one(line).contains(&on_one(text)), "{text} is another line");
    let message = written["message"].as_str().expect("a message");
    assert!(message.len() <= text.len(), "a message of its own making: {message}");
    let level = &written["log"]["level"];
    assert!(level.is_null() || LEVELS.iter().any(|it| level == *it), "{level}");
    let time = written["@timestamp"].as_str().expect("a time");
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    for name in ["aws", "event", "log", "process", "user", "error", "data_stream", "orchestrator"] {
        let root = written.get(name).unwrap_or(&Value::Null);
        assert!(root.is_object() || root.is_null(), "{name} is {root}");
    }
}
