//! What is no throughput: starting, holding still, and answering in time.

use super::{
    driver::{Target, send},
    process::{Cores, Process},
    requests::Body,
    *,
};

/// How many connections are opened and left alone.
const IDLE: usize = 1000;
/// The share of what k8scop can take in that is sent while answers are timed.
const LOAD: f64 = 0.5;
/// How long answers are timed.
const TIMED: Duration = Duration::from_secs(4);

pub(super) async fn run(
    cores: &Cores,
    folder: &Path,
    sink: &Process,
    copy: &Process,
) -> anyhow::Result<()> {
    let case = |name: &str| CASES.iter().find(|it| it.name == name).context("no such case");
    let thousand = case("rules-1000")?;
    // Twice: what is measured is not how fast files are read that were never read before.
    drop(process::k8scop(cores, folder, &sink.url, thousand).await?);
    let k8scop = process::k8scop(cores, folder, &sink.url, thousand).await?;
    println!("{:<44} {:>8.0} ms", "start with 1,000 rules, CPU time", start_ms(&k8scop)?);
    println!(
        "{:<44} {:>8.1} MB",
        "memory of an idle k8scop, 1,000 rules",
        k8scop.memory_mb("VmRSS")?
    );
    drop(k8scop);
    let usual = process::k8scop(cores, folder, &sink.url, case("identity")?).await?;
    println!("{:<44} {:>8.0} ms", "start with the built-in rules, CPU time", start_ms(&usual)?);
    let before = usual.memory_mb("VmRSS")?;
    println!("{:<44} {before:>8.1} MB", "memory of an idle k8scop, built-in rules");
    let idle = idle(&usual).await?;
    let after = usual.memory_mb("VmRSS")?;
    println!(
        "{:<44} {:>8.1} MB  (wanted: below 50)",
        "1,000 idle connections more",
        after - before
    );
    drop(idle);
    let binary = fs::metadata(env!("CARGO_BIN_EXE_k8scop"))?.len() as f64 / 1e6;
    println!("{:<44} {binary:>8.1} MB", "the program");
    let bodies: Arc<[Body]> = requests::of(case("body-100k")?, 1.0)?.into();
    let rate = LOAD * capacity(&Target::new(&usual, 4)?, &bodies).await?;
    let ours = timed(&Target::new(&usual, 64)?, &bodies, rate).await?;
    let plain = timed(&Target::new(copy, 64)?, &bodies, rate).await?;
    for percent in [50, 99] {
        let (ours, plain) =
            (Spread::percentile(ours.clone(), percent), Spread::percentile(plain.clone(), percent));
        println!(
            "answers at half load, p{percent:<25} {ours:>8.2} ms, copy {plain:.2} ms, ratio {:.2}{}",
            ours / plain,
            if percent == 99 { "  (wanted: at most 3)" } else { "" }
        );
    }
    Ok(())
}

fn start_ms(process: &Process) -> anyhow::Result<f64> {
    Ok(process.cpu()?.since(&process::Cpu::default()) * 1e3)
}

/// Opens connections, sends one small request over each, and leaves them open.
async fn idle(process: &Process) -> anyhow::Result<Vec<tokio::net::TcpStream>> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let address = process.url.trim_start_matches("http://");
    let mut all = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = [0; 4096];
        ensure!(stream.read(&mut answer).await? > 0, "a connection was closed");
        all.push(stream);
    }
    Ok(all)
}

/// Requests a second of CPU time.
async fn capacity(target: &Target<'_>, bodies: &Arc<[Body]>) -> anyhow::Result<f64> {
    for body in bodies.iter() {
        send(&target.client, &target.process.url, body).await?;
    }
    let before = target.process.cpu()?;
    for body in bodies.iter() {
        send(&target.client, &target.process.url, body).await?;
    }
    Ok(bodies.len() as f64 / target.process.cpu()?.since(&before))
}

/// Sends so many requests a second, whether the ones before were answered or not, and gives how long each took from
/// when it was due (milliseconds).
async fn timed(target: &Target<'_>, bodies: &Arc<[Body]>, rate: f64) -> anyhow::Result<Vec<f64>> {
    let start = Instant::now();
    let mut sent = JoinSet::new();
    for number in 0.. {
        let due = Duration::from_secs_f64(f64::from(number) / rate);
        if due > TIMED {
            break;
        }
        tokio::time::sleep_until((start + due).into()).await;
        let (client, url, bodies) =
            (target.client.clone(), target.process.url.clone(), Arc::clone(bodies));
        sent.spawn(async move {
            let body = bodies.get(number as usize % bodies.len()).context("no request")?;
            send(&client, &url, body).await?;
            anyhow::Ok((start.elapsed().saturating_sub(due)).as_secs_f64() * 1e3)
        });
    }
    let mut all = Vec::new();
    while let Some(took) = sent.join_next().await {
        all.push(took??);
    }
    Ok(all)
}
