//! The baseline: client -> nginx -> mutual TLS 1.3 -> nginx -> service, buffers tuned, upstream connections kept.
//!
//! What a user would pick without evidence (PERFORMANCE, chain b); or the same with a new connection for each request (b0). Both hops are one nginx each, two workers,
//! access logs off, request buffering off so that bodies stream.

use std::fs::{File, create_dir_all};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{machine, process};

/// How the hops speak to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Connections are kept (PERFORMANCE, chain b); keys of P-256.
    Kept,
    /// A connection with a whole handshake for each request (chain b0).
    Fresh(Keys),
}

/// Keys of the hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// ECDSA over P-256.
    P256,
    /// RSA of 2048 bits.
    Rsa2048,
}

/// A running pair of nginx hops; stopped when dropped.
#[derive(Debug)]
pub struct Pair {
    front: Child,
    back: Child,
}

/// Where the hops listen and what stands behind them.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// The first hop's plain HTTP door.
    pub front: SocketAddr,
    /// The second hop's TLS door.
    pub back: SocketAddr,
    /// The service.
    pub service: SocketAddr,
}

impl Pair {
    /// Writes certificates (made with `openssl`) and configurations into `folder`, and starts both hops.
    ///
    /// # Errors
    /// What could not be made or started, in words.
    pub fn start(folder: &Path, ports: Ports, link: Link) -> Result<Self, String> {
        create_dir_all(folder).map_err(|error| error.to_string())?;
        for name in ["front", "back"] {
            certificate(folder, name, if let Link::Fresh(keys) = link { keys } else { Keys::P256 })?;
        }
        let (kept, reuse) = match link {
            Link::Kept => ("keepalive 256; keepalive_requests 1000000;", "on"),
            Link::Fresh(_) => ("", "off"),
        };
        let tuned = "worker_processes 2; daemon off; error_log stderr error; pid {PID};
            events { worker_connections 4096; }
            http { access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000; client_max_body_size 0;
            client_body_buffer_size 64k; proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k;
            client_body_temp_path {DIR}/body; proxy_temp_path {DIR}/proxy; fastcgi_temp_path {DIR}/f;
            uwsgi_temp_path {DIR}/u; scgi_temp_path {DIR}/s; proxy_http_version 1.1; proxy_set_header Connection '';
            proxy_request_buffering off; proxy_max_temp_file_size 0;";
        let front = format!(
            "{tuned} upstream up {{ server {back}; {kept} }}
            server {{ listen {front}; location / {{ proxy_pass https://up; proxy_ssl_protocols TLSv1.3;
            proxy_ssl_certificate {{DIR}}/front.pem; proxy_ssl_certificate_key {{DIR}}/front.key;
            proxy_ssl_trusted_certificate {{DIR}}/back.pem; proxy_ssl_verify on; proxy_ssl_name back;
            proxy_ssl_session_reuse {reuse}; }} }} }}",
            back = ports.back,
            front = ports.front
        );
        let back = format!(
            "{tuned} upstream up {{ server {service}; keepalive 256; keepalive_requests 1000000; }}
            server {{ listen {back} ssl; ssl_protocols TLSv1.3; ssl_certificate {{DIR}}/back.pem;
            ssl_certificate_key {{DIR}}/back.key; ssl_client_certificate {{DIR}}/front.pem; ssl_verify_client on;
            location / {{ proxy_pass http://up; }} }} }}",
            back = ports.back,
            service = ports.service
        );
        Ok(Self { front: hop(folder, "front", &front)?, back: hop(folder, "back", &back)? })
    }

    /// The processes of each hop, workers included.
    pub fn hops(&self) -> [Vec<u32>; 2] {
        [process::tree(self.front.id()), process::tree(self.back.id())]
    }
}

impl Drop for Pair {
    /// A master that is asked to stop takes its workers along.
    fn drop(&mut self) {
        for child in [&mut self.front, &mut self.back] {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
            let _ = child.wait();
        }
    }
}

fn certificate(folder: &Path, name: &str, keys: Keys) -> Result<(), String> {
    let kind: &[&str] = match keys {
        Keys::P256 => &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        Keys::Rsa2048 => &["rsa:2048"],
    };
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey"])
        .args(kind)
        .args(["-nodes", "-days", "30"])
        .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName=DNS:{name}")])
        .arg("-keyout")
        .arg(folder.join(format!("{name}.key")))
        .arg("-out")
        .arg(folder.join(format!("{name}.pem")))
        .output()
        .map_err(|error| format!("openssl: {error}"))?;
    if made.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&made.stderr).into_owned()) }
}

fn hop(folder: &Path, name: &str, configuration: &str) -> Result<Child, String> {
    let pid = folder.join(format!("{name}.pid"));
    let text =
        configuration.replace("{DIR}", &folder.to_string_lossy()).replace("{PID}", &pid.to_string_lossy());
    let file = folder.join(format!("{name}.conf"));
    File::create(&file)
        .and_then(|mut out| out.write_all(text.as_bytes()))
        .map_err(|error| error.to_string())?;
    Command::new(machine::nginx())
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("nginx: {error}"))
}
