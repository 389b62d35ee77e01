use std::{
    borrow::Cow,
    collections::{HashSet, VecDeque},
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{Attempt, AttemptError, Heads};
use crate::{
    bulk::{Action, AnswerItem, BulkAnswer, Defaults, Items, Op, Refusal},
    json,
};

/// How files are written.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// The folder; it is made if it is not there.
    pub dir: PathBuf,
    /// A file that has grown past this is set aside and a new one begun (bytes).
    pub rotate_bytes: u64,
    /// How many documents back an `_id` is known, for 409.
    pub recent_ids_max: usize,
}

/// Files instead of a cluster: `DIR/INDEX.ndjson`, each a bulk body that can be sent to Elasticsearch as it is.
/// What is answered as stored is on the disk (fsync).
#[derive(Debug)]
pub struct FileOutput {
    settings: FileSettings,
    recent: Mutex<Recent>,
    /// Held as long as we write: two processes would cut each other's documents.
    _lock: File,
}

/// A folder that cannot be used.
#[derive(Debug, Error)]
#[error("output file:{}: {source}", path.display())]
pub struct FileError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub source: std::io::Error,
}

/// The `_id`s of the last documents, as hashes.
#[derive(Debug, Default)]
struct Recent {
    known: HashSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

impl Recent {
    fn insert(&mut self, key: [u8; 16], max: usize) {
        if self.known.insert(key) {
            self.order.push_back(key);
        }
        while self.order.len() > max {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

fn key(index: &str, id: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update((index.len() as u64).to_le_bytes());
    hash.update(index);
    hash.update(id);
    let mut key = [0; 16];
    key.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    key
}

impl FileOutput {
    /// Opens the folder: cuts off what a crash left half-written (it was never answered as stored), and learns
    /// the `_id`s of the files that are still written to.
    pub fn open(settings: FileSettings) -> Result<Self, FileError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FileError { path, source }
        };
        fs::create_dir_all(&settings.dir).map_err(failed(&settings.dir))?;
        let lock_path = settings.dir.join(".k8scop.lock");
        let lock = File::create(&lock_path).map_err(failed(&lock_path))?;
        lock.try_lock().map_err(|error| FileError {
            path: settings.dir.clone(),
            source: std::io::Error::other(format!("another k8scop writes here ({error})")),
        })?;
        let mut recent = Recent::default();
        for entry in fs::read_dir(&settings.dir).map_err(failed(&settings.dir))? {
            let path = entry.map_err(failed(&settings.dir))?.path();
            let name = path
                .file_name()
                .and_then(|it| it.to_str())
                .and_then(|it| it.strip_suffix(".ndjson"));
            if let Some(index) = name.filter(|it| !is_set_aside(it)) {
                recover(&path, index, settings.recent_ids_max, &mut recent)
                    .map_err(failed(&path))?;
            }
        }
        Ok(Self { settings, recent: Mutex::new(recent), _lock: lock })
    }

    pub(super) async fn bulk(output: &Arc<Self>, body: Bytes, slots: usize) -> Attempt {
        let output = Arc::clone(output);
        let written = tokio::task::spawn_blocking(move || output.store(&body, slots)).await;
        written.unwrap_or_else(|error| {
            Attempt::Failed(AttemptError {
                reason: format!("writing failed: {error}"),
                in_doubt: true,
                ..AttemptError::default()
            })
        })
    }

    fn store(&self, body: &[u8], slots: usize) -> Attempt {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let defaults = Defaults::default();
        let mut items = Items::new(body, &defaults, usize::MAX);
        let (mut members, mut answers, mut writes) =
            (Vec::new(), Vec::with_capacity(slots), Writes::default());
        while let Ok(Some(item)) = items.next_into(&mut members) {
            let position = answers.len();
            answers.push(match &item.action {
                Ok(action) => writes.add(action, item.source, position, &recent),
                Err(refusal) => refused("", None, refusal),
            });
        }
        for (index, write) in writes.files {
            match append(&self.settings, &index, &write.text) {
                Ok(()) => {
                    for id in &write.ids {
                        recent.insert(key(&index, id), self.settings.recent_ids_max);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, index, "documents cannot be written");
                    for position in write.positions {
                        if let Some(answer) = answers.get_mut(position) {
                            let reason =
                                format!("the file of index [{index}] cannot be written: {error}");
                            *answer = refused(
                                &index,
                                None,
                                &Refusal { status: 503, kind: "io_exception", reason },
                            );
                        }
                    }
                }
            }
        }
        if answers.len() != slots {
            return Attempt::Failed(AttemptError {
                reason: format!("{} items for {slots} slots", answers.len()),
                in_doubt: true,
                ..AttemptError::default()
            });
        }
        Attempt::Answered(BulkAnswer { items: answers }, Heads::default())
    }
}

/// What one request writes, file by file.
#[derive(Default)]
struct Writes {
    files: Vec<(String, FileWrite)>,
}

#[derive(Default)]
struct FileWrite {
    text: String,
    ids: HashSet<String>,
    positions: Vec<usize>,
}

impl Writes {
    fn add(
        &mut self,
        action: &Action<'_>,
        source: &str,
        position: usize,
        recent: &Recent,
    ) -> AnswerItem {
        let index = action.index.as_ref();
        let refuse = |status, kind, reason: String| {
            refused(index, action.id.as_deref(), &Refusal { status, kind, reason })
        };
        if !is_index_name(index) {
            return refuse(
                400,
                "invalid_index_name_exception",
                format!("Elasticsearch allows no index [{index}]"),
            );
        }
        if matches!(action.op, Op::Update | Op::Delete) {
            let reason = format!(
                "the output is a file: it keeps what it is given and can do no [{}]",
                action.op.name()
            );
            return refuse(400, "illegal_argument_exception", reason);
        }
        let id = action.id.as_deref().map_or_else(random_id, str::to_owned);
        let place = match self.files.iter().position(|(name, _)| name == index) {
            Some(place) => place,
            None => {
                self.files.push((index.to_owned(), FileWrite::default()));
                self.files.len() - 1
            }
        };
        let Some((_, write)) = self.files.get_mut(place) else {
            return refuse(500, "illegal_state_exception", "no file".into());
        };
        let exists = write.ids.contains(&id) || recent.known.contains(&key(index, &id));
        if exists && action.op == Op::Create {
            let reason = format!("[{id}]: version conflict, document already exists");
            return refuse(409, "version_conflict_engine_exception", reason);
        }
        action.write_with_id(action.op, &id, &Defaults::default(), &mut write.text);
        write.text.push('\n');
        write.text.push_str(source);
        write.text.push('\n');
        write.positions.push(position);
        let answer = stored(index, &id, exists);
        write.ids.insert(id);
        answer
    }
}

fn stored(index: &str, id: &str, existed: bool) -> AnswerItem {
    let (result, status) = if existed { ("updated", 200) } else { ("created", 201) };
    let mut object = String::from("{\"_index\":");
    json::push_string(&mut object, index);
    object.push_str(",\"_id\":");
    json::push_string(&mut object, id);
    object.push_str(&format!(
        ",\"_version\":1,\"result\":\"{result}\",\"_shards\":{{\"total\":1,\"successful\":1,\"failed\":0}},\"status\":{status}}}"
    ));
    AnswerItem { status, object }
}

fn refused(index: &str, id: Option<&str>, refusal: &Refusal) -> AnswerItem {
    let mut object = String::from("{\"_index\":");
    json::push_string(&mut object, index);
    if let Some(id) = id {
        object.push_str(",\"_id\":");
        json::push_string(&mut object, id);
    }
    object.push_str(&format!(
        ",\"status\":{},\"error\":{{\"type\":\"{}\",\"reason\":",
        refusal.status, refusal.kind
    ));
    json::push_string(&mut object, &refusal.reason);
    object.push_str("}}");
    AnswerItem { status: refusal.status, object }
}

fn random_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Elasticsearch's rules (8.19, `MetadataCreateIndexService.validateIndexOrAliasName`); they also keep a name
/// from leaving the folder. A dot at the end or a long name would make a file name that is not the index's.
fn is_index_name(name: &str) -> bool {
    let allowed = |it: char| {
        !it.is_uppercase()
            && !it.is_whitespace()
            && !it.is_control()
            && !"\\/*?\"<>|,#:".contains(it)
    };
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with(['-', '_', '+', '.'])
        && name.chars().all(allowed)
        && !is_set_aside(name)
}

/// `INDEX.000001`: what [`set_aside`] makes.
fn is_set_aside(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, it)| it.len() == 6 && it.bytes().all(|it| it.is_ascii_digit()))
}

fn append(settings: &FileSettings, index: &str, text: &str) -> std::io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let path = settings.dir.join(format!("{index}.ndjson"));
    if fs::metadata(&path).is_ok_and(|it| it.len() >= settings.rotate_bytes) {
        set_aside(&settings.dir, index, &path)?;
    }
    let is_new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let len = file.metadata()?.len();
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_data()) {
        // Half a batch must not stay: it is answered as not stored.
        file.set_len(len)?;
        return Err(error);
    }
    if is_new {
        File::open(&settings.dir)?.sync_all()?;
    }
    Ok(())
}

fn set_aside(dir: &Path, index: &str, path: &Path) -> std::io::Result<()> {
    let free =
        (1..).map(|it: u32| dir.join(format!("{index}.{it:06}.ndjson"))).find(|it| !it.exists());
    match free {
        Some(free) => fs::rename(path, free),
        None => Ok(()),
    }
}

/// Reads a file that a former process wrote, cuts off a document at its end that was not written whole, and
/// learns its `_id`s. A file that holds anything else is somebody's: it is left alone, and we do not start.
fn recover(path: &Path, index: &str, max: usize, recent: &mut Recent) -> std::io::Result<()> {
    let mut reader = BufReader::new(OpenOptions::new().read(true).write(true).open(path)?);
    let (mut good, mut pair, mut has_action) = (0_u64, Vec::new(), false);
    loop {
        let start = pair.len();
        let read = reader.read_until(b'\n', &mut pair)?;
        let is_whole = pair.last() == Some(&b'\n') && read > 0;
        if !is_whole {
            break;
        }
        if start == 0 {
            has_action = true;
            continue;
        }
        let id = id_of(&pair).ok_or_else(|| {
            let reason =
                format!("byte {good}: no document that k8scop wrote; use a folder of its own");
            std::io::Error::other(reason)
        })?;
        recent.insert(key(index, &id), max);
        good += pair.len() as u64;
        pair.clear();
        has_action = false;
    }
    if pair.is_empty() {
        return Ok(());
    }
    let ours: [&[u8]; 2] = [b"{\"create\":{\"_index\":", b"{\"index\":{\"_index\":"];
    let starts = |it: &&[u8]| pair.starts_with(it) || (!has_action && it.starts_with(&pair));
    if !ours.iter().any(starts) {
        let reason = format!("byte {good}: no document that k8scop wrote; use a folder of its own");
        return Err(std::io::Error::other(reason));
    }
    let file = reader.into_inner();
    tracing::warn!(file = %path.display(), kept_bytes = good, "cut off a document that was not written whole");
    file.set_len(good)?;
    file.sync_all()
}

/// The `_id` of an action and its document, as [`Writes`] writes them.
fn id_of(pair: &[u8]) -> Option<String> {
    let defaults = Defaults::default();
    let (mut items, mut members) = (Items::new(pair, &defaults, 2), Vec::new());
    let item = items.next_into(&mut members).ok()??;
    let is_one = items.next_into(&mut members).ok()?.is_none();
    item.action.ok().filter(|it| is_one && it.op.has_source())?.id.map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("k8scop-file-{name}-{}", fastrand::u64(..)));
            Self(dir)
        }

        fn output(&self, rotate_bytes: u64) -> FileOutput {
            FileOutput::open(FileSettings { dir: self.0.clone(), rotate_bytes, recent_ids_max: 3 })
                .unwrap()
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> = fs::read_dir(&self.0)
                .unwrap()
                .map(|it| it.unwrap().file_name().into_string().unwrap())
                .collect();
            names.retain(|it: &String| it.ends_with(".ndjson"));
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn create(index: &str, id: &str) -> String {
        format!("{{\"create\":{{\"_index\":\"{index}\",\"_id\":\"{id}\"}}}}\n{{\"id\":\"{id}\"}}\n")
    }

    #[track_caller]
    fn store(output: &FileOutput, body: &str, expected: &[u16]) {
        let Attempt::Answered(answer, _) = output.store(body.as_bytes(), expected.len()) else {
            panic!("{body}")
        };
        assert_eq!(answer.items.iter().map(|it| it.status).collect::<Vec<_>>(), expected, "{body}");
    }

    #[test]
    fn a_file_is_a_bulk_body() {
        let folder = Folder::new("body");
        let output = folder.output(1 << 20);
        store(
            &output,
            &(create("a", "1") + &create("b", "1") + &create("a", "1") + &create("a", "2")),
            &[201, 201, 409, 201],
        );
        store(&output, &create("a", "2"), &[409]);
        let text = fs::read_to_string(folder.0.join("a.ndjson")).unwrap();
        assert_eq!(text, create("a", "1") + &create("a", "2"));
        store(
            &output,
            "{\"index\":{\"_index\":\"a\",\"_id\":\"2\"}}\n{}\n{\"index\":{\"_index\":\"a\"}}\n{}\n",
            &[200, 201],
        );
        store(&output, "{\"delete\":{\"_index\":\"a\",\"_id\":\"2\"}}\n", &[400]);
    }

    #[test]
    fn names_stay_in_the_folder() {
        let folder = Folder::new("names");
        let output = folder.output(1 << 20);
        for name in ["../x", "a/b", ".", "..", "A", "_x", "a b", "", "x.000001", ".kibana"] {
            store(&output, &create(name, "1"), &[400]);
        }
        assert!(folder.names().is_empty());
    }

    #[test]
    fn a_restart_cuts_off_half_documents_and_knows_the_ids() {
        let folder = Folder::new("restart");
        store(&folder.output(1 << 20), &(create("a", "1") + &create("a", "2")), &[201, 201]);
        let path = folder.0.join("a.ndjson");
        let whole = fs::read_to_string(&path).unwrap();
        let third = create("a", "3");
        for cut in 1..third.len() {
            fs::write(&path, format!("{whole}{}", third.split_at(cut).0)).unwrap();
            let output = folder.output(1 << 20);
            assert_eq!(fs::read_to_string(&path).unwrap(), whole, "cut at {cut}");
            store(&output, &create("a", "2"), &[409]);
        }
    }

    #[test]
    fn files_of_others_are_left_alone() {
        for text in [
            "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n",
            "no line end",
            "{\"a\":1}",
            "{\"delete\":{\"_index\":\"a\",\"_id\":\"1\"}}\n\n",
        ] {
            let folder = Folder::new("others");
            fs::create_dir_all(&folder.0).unwrap();
            let path = folder.0.join("mine.ndjson");
            fs::write(&path, text).unwrap();
            let settings =
                FileSettings { dir: folder.0.clone(), rotate_bytes: 1 << 20, recent_ids_max: 3 };
            let error = FileOutput::open(settings).unwrap_err().to_string();
            assert!(
                error.contains("mine.ndjson: byte 0: no document that k8scop wrote"),
                "{error}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn two_do_not_write_into_one_folder() {
        let folder = Folder::new("two");
        let first = folder.output(1 << 20);
        let settings =
            FileSettings { dir: folder.0.clone(), rotate_bytes: 1 << 20, recent_ids_max: 3 };
        let error = FileOutput::open(settings).unwrap_err().to_string();
        assert!(error.contains("another k8scop writes here"), "{error}");
        drop(first);
        folder.output(1 << 20);
    }

    #[test]
    fn large_files_are_set_aside() {
        let folder = Folder::new("rotate");
        let output = folder.output(1);
        for id in ["1", "2", "3"] {
            store(&output, &create("a", id), &[201]);
        }
        assert_eq!(folder.names(), ["a.000001.ndjson", "a.000002.ndjson", "a.ndjson"]);
    }

    #[test]
    fn ids_are_known_for_a_while() {
        let folder = Folder::new("recent");
        let output = folder.output(1 << 20);
        for id in ["1", "2", "3", "4"] {
            store(&output, &create("a", id), &[201]);
        }
        store(&output, &create("a", "2"), &[409]);
        store(&output, &create("a", "1"), &[201]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_no_success() {
        let folder = Folder::new("broken");
        let output = folder.output(1 << 20);
        fs::create_dir(folder.0.join("a.ndjson")).unwrap();
        store(&output, &(create("a", "1") + &create("b", "1")), &[503, 201]);
    }
}
