//! A false Elasticsearch that does what a real one does only on bad days.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Asked {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The `_id` of each action, or its line.
    pub fn actions(&self) -> Vec<String> {
        let is_action = |line: &&str| {
            ["{\"create\"", "{\"index\"", "{\"update\"", "{\"delete\""]
                .iter()
                .any(|it| line.starts_with(it))
        };
        self.body.lines().filter(is_action).map(str::to_owned).collect()
    }
}

/// What it does with a request.
#[derive(Clone, Debug)]
pub enum Reaction {
    /// Answers with a status, more headers and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Answers each action with the next of these statuses.
    Items(Vec<u16>),
    /// Sends this many bytes of an answer that says all is well, and closes.
    CutAfter(usize),
    /// Sends this many bytes of a whole answer (200, with this body), and closes.
    Cut(String, usize),
    /// Never answers.
    Hang,
    /// Closes at once.
    Close,
    /// Resets the connection.
    Reset,
    /// Does it after this time.
    After(Duration, Box<Reaction>),
}

type Script = dyn Fn(usize, &Asked) -> Reaction + Send + Sync;

pub struct Fake {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Fake {
    /// Listens on a free port. `script` is asked with the number of the request, from 0.
    pub async fn start(script: impl Fn(usize, &Asked) -> Reaction + Send + Sync + 'static) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), true, script).await
    }

    /// As [`Self::start`], for many requests: keeps none of them, and their number is always 0.
    pub async fn start_forgetful(
        script: impl Fn(&Asked) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_on(any, false, move |_, asked| script(asked)).await
    }

    /// Listens on this address; one that is dropped can be started again where it was.
    pub async fn start_on(
        address: SocketAddr,
        keeps: bool,
        script: impl Fn(usize, &Asked) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Arc<Script>, _) = (Arc::new(script), keeps.then(|| Arc::clone(&asked)));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer_all(stream, Arc::clone(&script), log.clone()));
            }
        });
        Self { address, asked, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer_all(
    mut stream: TcpStream,
    script: Arc<Script>,
    log: Option<Arc<Mutex<Vec<Asked>>>>,
) {
    let mut buffer = Vec::new();
    while let Some(asked) = read_request(&mut stream, &mut buffer).await {
        let number = log.as_ref().map_or(0, |log| {
            let mut log = log.lock().unwrap();
            log.push(asked.clone());
            log.len() - 1
        });
        let mut reaction = script(number, &asked);
        while let Reaction::After(time, then) = reaction {
            tokio::time::sleep(time).await;
            reaction = *then;
        }
        let (bytes, close) = match reaction {
            Reaction::Answer(status, headers, body) => (response(status, &headers, &body), false),
            Reaction::Items(statuses) => (response(200, &[], &items(&asked, &statuses)), false),
            Reaction::CutAfter(len) => (cut(&items(&asked, &[201]), len), true),
            Reaction::Cut(body, len) => (cut(&body, len), true),
            Reaction::Hang => std::future::pending().await,
            Reaction::Close => (String::new(), true),
            Reaction::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Reaction::After(..) => unreachable!("done above"),
        };
        if stream.write_all(bytes.as_bytes()).await.is_err() || close {
            return;
        }
    }
}

/// That many bytes of an answer, and never all of it.
fn cut(body: &str, len: usize) -> String {
    let mut whole = response(200, &[], body);
    whole.truncate(len.min(whole.len() - 1));
    whole
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Asked> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|it| it.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    buffer.drain(..end + 4);
    let of =
        |name: &str| headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
    let body = if of("transfer-encoding") == Some("chunked") {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                if let Some(end) = buffer.windows(2).position(|it| it == b"\r\n") {
                    break end;
                }
                stream.read_buf(buffer).await.ok()?;
            };
            let size = usize::from_str_radix(std::str::from_utf8(&buffer[..line_end]).unwrap(), 16)
                .unwrap();
            while buffer.len() < line_end + 2 + size + 2 {
                stream.read_buf(buffer).await.ok()?;
            }
            body.extend_from_slice(&buffer[line_end + 2..line_end + 2 + size]);
            buffer.drain(..line_end + 2 + size + 2);
            if size == 0 {
                break body;
            }
        }
    } else {
        let length: usize = of("content-length").map_or(0, |it| it.parse().unwrap());
        while buffer.len() < length {
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        }
        buffer.drain(..length).collect()
    };
    Some(Asked { line, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn response(status: u16, headers: &[(&str, String)], body: &str) -> String {
    let mut out = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{out}\r\n{body}")
}

/// A bulk answer; the statuses begin anew when there are more actions.
pub fn items(asked: &Asked, statuses: &[u16]) -> String {
    let one = |(action, status): (String, &u16)| {
        let name = action[2..].split('"').next().unwrap().to_owned();
        let error =
            if *status < 300 { "" } else { r#","error":{"type":"fake","reason":"told to"}"# };
        format!(r#"{{"{name}":{{"_index":".ds-x","_id":"es","status":{status}{error}}}}}"#)
    };
    let items: Vec<_> = asked.actions().into_iter().zip(statuses.iter().cycle()).map(one).collect();
    format!(
        r#"{{"took":1,"errors":{},"items":[{}]}}"#,
        statuses.iter().any(|it| *it > 299),
        items.join(",")
    )
}
