use std::{fmt, io, path::PathBuf, time::Duration};

use sha2::{Digest, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::pem;

/// How long after a failure it is tried once more before it is told: files that belong together may have been
/// replaced one after the other.
const SECOND_TRY: Duration = Duration::from_secs(1);

/// A part of the program that reads files, and can read them again.
pub trait Look: Send {
    /// Reads the files again if they changed, or in any case if it is `asked` to. False if it could not, which is
    /// told only at the last try.
    fn look(&mut self, asked: bool, last_try: bool) -> bool;
}

/// A part whose files are known by name.
pub struct Watched {
    name: &'static str,
    files: Vec<PathBuf>,
    reload: Box<dyn Fn() -> Result<(), String> + Send>,
    /// What the files held when they were last read; `None` until then.
    seen: Option<Seen>,
}

type Seen = [u8; 32];

impl Watched {
    /// `reload` reads the files; if it fails, what was read before stays in use.
    pub fn new<E: fmt::Display>(
        name: &'static str,
        files: Vec<PathBuf>,
        reload: impl Fn() -> Result<(), E> + Send + 'static,
    ) -> Self {
        let reload = Box::new(move || reload().map_err(|error| error.to_string()));
        Self { name, files, reload, seen: None }
    }

    /// Whether there is anything to look at.
    #[must_use]
    pub fn has_files(&self) -> bool {
        !self.files.is_empty()
    }
}

impl Look for Watched {
    fn look(&mut self, asked: bool, last_try: bool) -> bool {
        let now = seen(&self.files);
        if !asked && self.seen == Some(now) {
            return true;
        }
        match (self.reload)() {
            Ok(()) => {
                // The first time only makes sure that nothing changed while the program started.
                if self.seen.is_some() {
                    tracing::info!(part = self.name, "files were read again");
                }
                self.seen = Some(now);
                true
            }
            Err(error) => {
                if last_try {
                    let error = error.replace('\n', "; ");
                    tracing::error!(part = self.name, %error, "files cannot be used: what they held before stays in use");
                    self.seen = Some(now);
                }
                false
            }
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("name", &self.name).field("files", &self.files).finish()
    }
}

/// A digest of what the files hold, or of why they cannot be read. Their times tell too little: a file can be
/// replaced twice in one tick, and a link can be moved to an older file.
fn seen(files: &[PathBuf]) -> Seen {
    let mut all = Sha256::new();
    for file in files {
        match pem::read(file) {
            Ok(content) => all.update(Sha256::digest(content)),
            Err(error) => all.update(Sha256::digest(error.to_string())),
        }
    }
    all.finalize().into()
}

/// Looks at the files of all parts every so often, and at once when the process gets SIGHUP, which ends it no more
/// when this returns.
pub fn watch(
    parts: Vec<Box<dyn Look>>,
    every: Duration,
    stop: CancellationToken,
) -> io::Result<impl Future<Output = ()> + Send> {
    let hangup = signal(SignalKind::hangup())?;
    Ok(look_again(parts, every, stop, hangup))
}

async fn look_again(
    mut parts: Vec<Box<dyn Look>>,
    every: Duration,
    stop: CancellationToken,
    mut hangup: Signal,
) {
    let mut asked = false;
    loop {
        for (wait, last_try) in [(Duration::ZERO, false), (SECOND_TRY, true)] {
            let pause = tokio::time::sleep(wait);
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause => (),
            }
            // Reading may take long where files lie on a network.
            let looked = tokio::task::spawn_blocking(move || {
                let mut all = true;
                for part in &mut parts {
                    all &= part.look(asked, last_try);
                }
                (parts, all)
            });
            let all;
            (parts, all) = match looked.await {
                Ok(looked) => looked,
                Err(error) => {
                    tracing::error!(%error, "files are not read again any more");
                    return;
                }
            };
            if all {
                break;
            }
        }
        asked = tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => false,
            heard = hangup.recv() => heard.is_some(),
        };
        if asked {
            tracing::info!("SIGHUP: files are read again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
    };

    use super::*;

    #[test]
    fn only_a_change_is_read_and_a_failure_is_tried_twice() {
        let file = env::temp_dir().join(format!("k8scop-watch-{:016x}", fastrand::u64(..)));
        fs::write(&file, "one").unwrap();
        let (tries, good) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let (counted, answer) = (Arc::clone(&tries), Arc::clone(&good));
        let mut watched = Watched::new("test", vec![file.clone()], move || {
            counted.fetch_add(1, Ordering::Relaxed);
            if answer.load(Ordering::Relaxed) { Ok(()) } else { Err("no") }
        });
        let mut look = |asked, last| (watched.look(asked, last), tries.load(Ordering::Relaxed));
        assert_eq!(look(false, false), (true, 1));
        assert_eq!(look(false, false), (true, 1));
        assert_eq!(look(true, false), (true, 2));
        // As long, and in the same tick.
        fs::write(&file, "two").unwrap();
        good.store(false, Ordering::Relaxed);
        assert_eq!(look(false, false), (false, 3));
        assert_eq!(look(false, true), (false, 4));
        assert_eq!(look(false, false), (true, 4), "told once, until the file changes");
        fs::remove_file(&file).unwrap();
        assert_eq!(look(false, true), (false, 5));
        fs::write(&file, "two").unwrap();
        good.store(true, Ordering::Relaxed);
        assert_eq!(look(false, false), (true, 6));
        fs::remove_file(&file).unwrap();
    }
}
