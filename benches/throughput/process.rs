//! The processes.

use super::*;

/// A folder that goes when the driver ends.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("k8scop-bench-{:016x}", fastrand::u64(..)));
        fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A process that ends with the driver.
pub(super) struct Process {
    child: Child,
    pub(super) url: String,
    pub(super) admin: Option<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Which core is measured, and which are for the rest.
pub(super) struct Cores(Option<(String, String)>);

impl Cores {
    /// The last core is measured; this process goes to the others. None where there is one core only, or no
    /// `taskset` (util-linux).
    pub(super) fn divide() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let allowed =
            status.lines().find_map(|it| it.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
        let mut cores: Vec<u32> = allowed.trim().split(',').flat_map(range).collect();
        let Some(measured) = cores.pop().filter(|_| !cores.is_empty()) else {
            return Self(None);
        };
        let others = cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let own = std::process::id().to_string();
        let moved = Command::new("taskset")
            .args(["-a", "-cp", &others, &own])
            .stdout(Stdio::null())
            .status();
        Self(moved.is_ok_and(|it| it.success()).then(|| (measured.to_string(), others)))
    }

    /// A command that runs on the measured core or off it; `taskset` becomes the program and keeps its pid.
    fn command(&self, program: &Path, measured: bool) -> Command {
        let Some((one, others)) = &self.0 else { return Command::new(program) };
        let mut command = Command::new("taskset");
        command.args(["-c", if measured { one } else { others }]).arg(program);
        command
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((one, _)) => write!(f, "measured on core {one}, the rest elsewhere"),
            None => f.write_str("not pinned to a core: there is but one, or no taskset"),
        }
    }
}

fn range(text: &str) -> std::ops::Range<u32> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse::<u32>()) {
        (Ok(first), Ok(last)) => first..last + 1,
        _ => 0..0,
    }
}

impl Cores {
    /// How many there are.
    pub(super) fn count() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    }
}

/// Starts this program in another role.
pub(super) fn role(cores: &Cores, measured: bool, args: &[&str]) -> anyhow::Result<Process> {
    let mut child = cores
        .command(&std::env::current_exe()?, measured)
        .args(args)
        .env(WORKERS, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("this program cannot be started again")?;
    let out = child.stdout.take();
    let mut process = Process { child, url: String::new(), admin: None };
    let mut line = String::new();
    BufReader::new(out.context("no standard output")?).read_line(&mut line)?;
    ensure!(!line.is_empty(), "{args:?} did not start");
    process.url = format!("http://{}", line.trim());
    Ok(process)
}

/// Starts the real program, with the rules of a case and as many threads.
pub(super) async fn k8scop(
    cores: &Cores,
    folder: &Path,
    output: &str,
    case: &Case,
) -> anyhow::Result<Process> {
    let (file, log) =
        (folder.join(format!("{}.yaml", case.name)), folder.join(format!("{}.log", case.name)));
    let rules = rules(&folder.join(case.name), case.rules)?;
    let level = case.compression_level;
    fs::write(
        &file,
        format!(
            "output: {output}\nrules: {rules}\nelasticsearch: {{compression_level: {level}}}\n"
        ),
    )?;
    let mut command = match case.threads {
        1 => cores.command(Path::new(env!("CARGO_BIN_EXE_k8scop")), true),
        _ => Command::new(env!("CARGO_BIN_EXE_k8scop")),
    };
    let child = command
        .arg("run")
        .arg("--config")
        .arg(&file)
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env(WORKERS, case.threads.to_string())
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()
        .context("k8scop cannot be started")?;
    let mut process = Process { child, url: String::new(), admin: None };
    let deadline = Instant::now() + START_MAX;
    loop {
        let text = fs::read_to_string(&log)?;
        let ended = process.child.try_wait()?;
        ensure!(ended.is_none() && Instant::now() < deadline, "k8scop did not start: {text}");
        let lines = text.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
        if let Some(ready) =
            lines.into_iter().find(|it| it.get("message").is_some_and(|it| it == "ready"))
        {
            let address = |name: &str| {
                format!("http://{}", ready.get(name).and_then(Value::as_str).unwrap_or_default())
            };
            process.url = address("listen");
            process.admin = Some(address("admin"));
            return Ok(process);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// What stands behind `rules:`. Generated ones are put into a folder.
fn rules(folder: &Path, rules: Rules) -> anyhow::Result<String> {
    let (built_in, count) = match rules {
        Rules::None => return Ok("{built_in: false}".to_owned()),
        Rules::BuiltIn => return Ok("{}".to_owned()),
        Rules::Generated(count) => (false, count),
        Rules::Together(count) => {
            let own = config::built_in_rules().context("the built-in rules")?.rules.len();
            (true, count.saturating_sub(own))
        }
    };
    fs::create_dir_all(folder)?;
    for at in 0..count {
        let (lines, own) = generated::lines(at);
        let rule = generated::rule(at, &format!("  a: {{{lines}, {own}}}\n  condition: a"));
        fs::write(folder.join(format!("{at}.yml")), rule)?;
    }
    Ok(format!("{{built_in: {built_in}, paths: [{}]}}", Value::from(folder.display().to_string())))
}

/// CPU time of each thread (nanoseconds).
#[derive(Default)]
pub(super) struct Cpu(HashMap<OsString, u64>);

impl Process {
    /// From `schedstat`, in nanoseconds: `stat` counts in ticks of 10 ms, too coarse for a round.
    pub(super) fn cpu(&self) -> anyhow::Result<Cpu> {
        let mut threads = HashMap::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))
            .context("the process has ended")?
        {
            let thread = thread?;
            // A thread that ends between two looks has done nothing: tokio's idle threads do after ten seconds.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let ran = text.split(' ').next().unwrap_or_default();
            threads.insert(thread.file_name(), ran.parse().context("schedstat")?);
        }
        ensure!(!threads.is_empty(), "the kernel gives no schedstat (CONFIG_SCHED_INFO)");
        Ok(Cpu(threads))
    }

    /// The memory that it holds (`VmRSS`), or the most that it held since [`Self::forget_most`] (`VmHWM`), in MB.
    pub(super) fn memory_mb(&self, which: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|it| it.strip_prefix(which)?.strip_prefix(':'));
        let kib =
            line.and_then(|it| it.split_ascii_whitespace().next()).context("no such memory")?;
        Ok(kib.parse::<f64>()? * 1024.0 / 1e6)
    }

    /// From here on the most memory is noted anew (Linux, `Documentation/filesystems/proc.rst`: `clear_refs`).
    pub(super) fn forget_most(&self) {
        // Where it may not be written, the most is that of all cases so far.
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").ok();
    }
}

impl Cpu {
    /// Since `before` (seconds).
    pub(super) fn since(&self, before: &Self) -> f64 {
        let ran = self.0.iter().map(|(thread, ran)| {
            ran.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
        });
        ran.sum::<u64>() as f64 / 1e9
    }
}
