//! What was measured before, so that a change can stand against it.

use super::{driver::Row, *};

const HEAD: &str = "date,commit,machine,case,cpu_s_per_gb,ns_per_event,ratio_http_copy,memory_mb";

/// CPU-seconds per GB of each case, as they were last recorded on such a machine.
pub(super) fn last(file: Option<&Path>, machine: &str) -> HashMap<String, f64> {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/record/throughput.csv");
    let text = fs::read_to_string(file.unwrap_or(&usual)).unwrap_or_default();
    let mut all = HashMap::new();
    for line in text.lines() {
        if let [_, _, on, case, cpu, ..] = line.split(',').collect::<Vec<_>>()[..]
            && on == machine
            && let Ok(cpu) = cpu.parse()
        {
            all.insert(case.to_owned(), cpu);
        }
    }
    all
}

/// How a case stands to that.
pub(super) fn against(last: &HashMap<String, f64>, row: &Row) -> String {
    match last.get(row.name) {
        Some(before) => format!("   {:+.0}%", 100.0 * (row.cpu_s_per_gb / before - 1.0)),
        None => String::new(),
    }
}

/// Adds the table to the record.
pub(super) fn add(file: &Path, commit: &str, machine: &str, rows: &[Row]) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let is_new = !file.exists();
    let mut file = File::options().append(true).create(true).open(file)?;
    if is_new {
        writeln!(file, "{HEAD}")?;
    }
    let today = Timestamp::now().strftime("%Y-%m-%d").to_string();
    for row in rows {
        writeln!(
            file,
            "{today},{commit},{machine},{},{:.3},{:.0},{:.2},{:.0}",
            row.name, row.cpu_s_per_gb, row.ns_per_event, row.ratio, row.memory_mb
        )?;
    }
    Ok(())
}
