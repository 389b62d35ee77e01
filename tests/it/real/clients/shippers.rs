//! Log shippers that read a file: Telegraf and rsyslog, with their own settings but for host, index and input, and
//! for what makes them send soon and in several requests.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::harness::Folder;

/// How long one may take to end once it is told to. rsyslog and Telegraf try to get rid of what they hold.
const END: Duration = Duration::from_secs(30);

/// A running shipper. Killed when the test ends.
pub struct Shipper {
    child: Child,
    folder: Folder,
}

impl Shipper {
    /// Telegraf (`outputs.elasticsearch`): every line of the file becomes a document with the line in
    /// `audit.value`. The output has no other form: all fields stand below the name of the measurement.
    pub fn telegraf(programs: &Path, to: SocketAddr, index: &str, file: &Path) -> Self {
        let config = format!(
            r#"
[agent]
  flush_interval = "1s"
  metric_batch_size = 20
[[inputs.tail]]
  files = ["{file}"]
  initial_read_offset = "beginning"
  watch_method = "poll"
  data_format = "value"
  data_type = "string"
  name_override = "audit"
[[outputs.elasticsearch]]
  urls = ["http://{to}"]
  index_name = "{index}"
  # As in the configuration that Telegraf itself writes.
  timeout = "5s"
  enable_sniffer = false
  manage_template = true
  template_name = "telegraf"
"#,
            file = file.display()
        );
        Self::start("telegraf", &config, |folder| {
            let mut command = Command::new(programs.join("telegraf"));
            command.arg(folder.join("config"));
            command
        })
    }

    /// rsyslog (`omelasticsearch`): every line of the file is a document. Bulk mode is off by default and is what
    /// this is about; Elasticsearch 8 has no types.
    pub fn rsyslog(programs: &Path, to: SocketAddr, index: &str, file: &Path) -> Self {
        let (host, port) = (to.ip(), to.port());
        let config = |folder: &Path| {
            format!(
                r#"
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imfile")
module(load="omelasticsearch")
template(name="document" type="string" string="%msg%")
ruleset(name="out") {{
  action(type="omelasticsearch" server="{host}" serverport="{port}" searchIndex="{index}" searchType=""
    bulkMode="on" template="document" errorFile="{folder}/errors")
}}
input(type="imfile" file="{file}" tag="audit" ruleset="out")
"#,
                folder = folder.display(),
                file = file.display()
            )
        };
        let folder = Folder::new("rsyslog");
        let config = config(&folder.0);
        Self::start_in(folder, &config, |folder| {
            let mut command = Command::new(programs.join("rsyslogd"));
            command
                .arg("-n")
                .arg("-f")
                .arg(folder.join("config"))
                .arg("-i")
                .arg(folder.join("pid"));
            command
        })
    }

    fn start(name: &str, config: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        Self::start_in(Folder::new(name), config, command)
    }

    fn start_in(folder: Folder, config: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        fs::write(folder.0.join("config"), config).unwrap();
        let log = File::create(folder.0.join("log")).unwrap();
        let child = command(&folder.0)
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.0.join("log")).unwrap()
    }

    /// What rsyslog wrote down as not delivered.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.folder.0.join("errors")).unwrap_or_default()
    }

    pub fn assert_runs(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended: {}", self.log());
    }

    /// Tells it to end and waits for it: nothing comes after that.
    pub async fn end(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let deadline = Instant::now() + END;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
