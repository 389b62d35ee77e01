use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use super::parts::tell;
use crate::harness::Folder;

/// Name of the template that Filebeat loads and of its indices.
pub const NAME: &str = "filebeat-7.17.29";
/// Elasticsearch that the template is for.
const ELASTICSEARCH_VERSION: &str = "8.19.21";

/// A running Filebeat that reads one file. Killed when the test ends.
pub struct Filebeat {
    child: Child,
    folder: Folder,
}

impl Filebeat {
    /// Starts it with its own Elasticsearch output, of which only the host is changed; `more` goes to the end of
    /// the configuration.
    pub fn start(binary: &str, host: &str, more: &str) -> Self {
        let folder = Folder::new("filebeat");
        File::create(folder.0.join("input.ndjson")).unwrap();
        // The bare distribution that the tests use has no ILM API (GET /_xpack fails with 500, on which Filebeat
        // would try for ever), so ILM is off. The set-up of the template stays on; the template is Filebeat's
        // own, but for two field types that this distribution lacks.
        let config = json!({
            "filebeat.inputs": [{
                "type": "log",
                "paths": [folder.0.join("input.ndjson")],
                "json": { "keys_under_root": true, "overwrite_keys": true, "add_error_key": true },
                "scan_frequency": "1s",
                "max_backoff": "1s",
            }],
            "output.elasticsearch.hosts": [host],
            "setup.ilm.enabled": false,
            "setup.template.type": "index",
            "setup.template.json": { "enabled": true, "path": folder.0.join("template.json"), "name": NAME },
        });
        // JSON is YAML; its last brace makes room for more.
        let config = format!("{}{more}\n}}\n", config.to_string().strip_suffix('}').unwrap());
        let path = folder.0.join("filebeat.yml");
        fs::write(&path, config).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.0.join("template.json"), template(binary, &folder)).unwrap();
        let child = command(binary, &folder)
            .arg("-e")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.0.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// Appends lines to the file that it reads.
    pub fn write(&self, lines: &[String]) {
        let mut input = OpenOptions::new().append(true).open(self.input()).unwrap();
        input.write_all(lines.concat().as_bytes()).unwrap();
    }

    fn input(&self) -> PathBuf {
        self.folder.0.join("input.ndjson")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.0.join("log")).unwrap()
    }

    pub fn assert_runs(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "Filebeat has ended: {}", self.log());
    }
}

impl Drop for Filebeat {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = self.log();
            let errors: Vec<&str> =
                log.lines().filter(|it| it.contains("ERROR") || it.contains("WARN")).collect();
            tell(format_args!(
                "Filebeat said last:\n{}",
                errors[errors.len().saturating_sub(10)..].join("\n")
            ));
        }
    }
}

fn command(binary: &str, folder: &Folder) -> Command {
    let mut command = Command::new(binary);
    command.arg("-c").arg(folder.0.join("filebeat.yml")).arg("--path.home").arg(&folder.0);
    command
}

/// Filebeat's own template.
fn template(binary: &str, folder: &Folder) -> String {
    let mut command = command(binary, folder);
    command.args([
        "-E",
        "setup.template.json.enabled=false",
        "export",
        "template",
        "--es.version",
        ELASTICSEARCH_VERSION,
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut template = serde_json::from_slice(&output.stdout).unwrap();
    make_do(&mut template);
    template.to_string()
}

/// Replaces the field types that are not in the bare Elasticsearch: `constant_keyword` (x-pack) and `scaled_float`
/// (mapper-extras), four fields in all.
fn make_do(value: &mut Value) {
    match value {
        Value::Object(members) => {
            match members.get("type").and_then(Value::as_str) {
                Some("constant_keyword") => members["type"] = json!("keyword"),
                Some("scaled_float") => {
                    members["type"] = json!("double");
                    members.remove("scaling_factor");
                }
                _ => (),
            }
            members.values_mut().for_each(make_do);
        }
        Value::Array(elements) => elements.iter_mut().for_each(make_do),
        _ => (),
    }
}
