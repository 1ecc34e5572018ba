//! Real services that say what they were asked: hyper, nginx before hyper, node, Python.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;

/// A request, as a service understood it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Seen {
    /// The message id that came with it.
    pub(crate) id: String,
    pub(crate) method: String,
    /// Path and query, as they came.
    pub(crate) target: String,
    /// The path as it decides by it, or may.
    pub(crate) routed: Vec<String>,
    pub(crate) host: String,
    /// Of its body.
    pub(crate) length: u64,
}

type Record = Arc<Mutex<Vec<Seen>>>;

/// A service that runs until it is dropped.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    record: Record,
    /// What nginx has written, and what came through it.
    behind: Option<(std::path::PathBuf, Record)>,
    process: Option<Child>,
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Service {
    /// All of them; nginx keeps its files in `folder`.
    pub(crate) async fn all(folder: &Path) -> Vec<Self> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth");
        let mut node = Command::new("node");
        node.arg(scripts.join("node.js"));
        let mut python = Command::new("python3");
        python.arg(scripts.join("service.py"));
        vec![
            Self::hyper().await,
            Self::nginx(folder).await,
            Self::program("node", node),
            Self::program("python", python),
        ]
    }

    async fn hyper() -> Self {
        let (port, record) = serve().await;
        Self { name: "hyper", port, record, behind: None, process: None }
    }

    async fn nginx(folder: &Path) -> Self {
        let (backend, behind) = serve().await;
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let log = folder.join("access.log");
        let at = |name: &str| folder.join(name).display().to_string();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};", at(kind)))
            .join(" ");
        let settings = format!(
            "daemon off; master_process off; pid {pid}; error_log {errors} warn;\nevents {{}}\nhttp {{ {temporary}\n\
             log_format truth escape=json '{{\"id\":\"$http_x_road_id\",\"method\":\"$request_method\",\
             \"target\":\"$request_uri\",\"routed\":[\"$uri\"],\"host\":\"$http_host\",\"length\":$status}}';\n\
             access_log {log} truth;\n\
             server {{ listen 127.0.0.1:{port}; client_max_body_size 0; location / {{ proxy_pass http://127.0.0.1:{backend};\n\
             proxy_http_version 1.1; proxy_set_header Host $http_host; }} }} }}\n",
            pid = at("pid"),
            errors = at("error.log"),
            log = log.display(),
        );
        let file = folder.join("nginx.conf");
        #[expect(clippy::disallowed_methods, reason = "a directory of this test")]
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-e").arg(at("error.log")).arg("-c").arg(&file).stdin(Stdio::null());
        let process = command.spawn().expect("nginx is installed: integration/test.sh does it");
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let record = Record::default();
        Self { name: "nginx", port, record, behind: Some((log, behind)), process: Some(process) }
    }

    /// A program that says its port, then every request.
    fn program(name: &'static str, mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}; integration/test.sh installs it"));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().parse().unwrap();
        let record = Record::default();
        let kept = Arc::clone(&record);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { name, port, record, behind: None, process: Some(process) }
    }

    /// What it has seen, once `served` requests have come in, or nothing has for a while.
    pub(crate) async fn seen(&self, served: usize) -> Vec<Seen> {
        for _ in 0..100 {
            if self.have().len() >= served {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // One more than there should be would come now.
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.have()
    }

    fn have(&self) -> Vec<Seen> {
        let Some((log, behind)) = &self.behind else { return self.record.lock().unwrap().clone() };
        let text = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
        let behind = behind.lock().unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Seen>(line).unwrap());
        // What nginx refuses it has told nobody; its status stands in the place of a length.
        let passed: Vec<Seen> = lines.filter(|seen| seen.length == 200).collect();
        let mut both: Vec<Seen> = passed
            .into_iter()
            .map(|seen| {
                let found = behind.iter().find(|other| other.id == seen.id);
                let found =
                    found.unwrap_or_else(|| panic!("nginx has passed on {seen:?}, and nobody got it"));
                assert_eq!((&found.method, &found.target), (&seen.method, &seen.target), "nginx changes");
                Seen { length: found.length, ..seen }
            })
            .collect();
        // A second request in what nginx passed on would be one that nginx has not seen.
        both.extend(behind.iter().filter(|other| !text.contains(&other.id)).cloned());
        both
    }
}

/// A server of hyper that keeps what it is asked.
async fn serve() -> (u16, Record) {
    let record = Record::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let kept = Arc::clone(&record);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            let service = service_fn(move |request: Request<Incoming>| {
                let kept = Arc::clone(&kept);
                async move {
                    let (parts, body) = request.into_parts();
                    let length = body
                        .collect()
                        .await
                        .map_or(u64::MAX, |body| u64::try_from(body.to_bytes().len()).unwrap());
                    let header = |name: &str| {
                        let value = parts.headers.get(name);
                        value
                            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                            .unwrap_or_default()
                    };
                    kept.lock().unwrap().push(Seen {
                        id: header("x-road-id"),
                        method: parts.method.to_string(),
                        target: parts.uri.to_string(),
                        routed: Vec::new(),
                        host: header("host"),
                        length,
                    });
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"fine"))))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (port, record)
}
