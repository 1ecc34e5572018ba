//! G8: a large body through both gateways, beside nginx: CPU, and by how much a gateway's memory grows.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Bound, Place, Row, Scale, Section, count, figure, median, network};
use crate::chain::{Chain, SMALL, wait_for};
use crate::floor::Floor;
use crate::nginx::{Link, Pair, Ports};
use crate::process;

const PIECE: usize = 64 << 10;

/// What one body took.
#[derive(Clone, Copy)]
struct Taken {
    /// CPU of both hops, seconds.
    cpu: f64,
    /// Growth of the hop that grew more, MiB.
    growth: f64,
}

/// Measures.
///
/// # Errors
/// In words: a program that could not be started, a body that was not taken.
pub async fn measure(scale: &Scale, place: &Place) -> Result<Section, String> {
    let folder = place.directory.join("large");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut ecosystem =
        network::start(&place.programs, &folder.join("ecosystem"), place.ports + 300, "p256", &[], &[])
            .await?;
    let port = |of: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, place.ports + of));
    let ports = Ports { front: port(350), back: port(351), service: ecosystem.layout.service() };
    let pair = Pair::start(&folder.join("nginx"), ports, Link::Kept)?;
    wait_for(ports.front, "/bytes/1").await?;
    let nginx = Chain { door: ports.front, prefix: "", hops: pair.hops() };
    let gateways = network::chain(&mut ecosystem);
    for chain in [&nginx, &gateways] {
        chain.run(&SMALL, Duration::from_secs(1)).await?; // so that they have grown as far as small ones let them
    }
    let (mut rounds, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        floors.push(Floor::measure(&folder)?.hash_mib * 2.0 / 1e6);
        rounds.push([send(&nginx, scale.body).await?, send(&gateways, scale.body).await?]);
    }
    ecosystem.alive()?;
    ecosystem.stop()?;
    drop(pair);
    std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;

    let middle = |of: &dyn Fn(&[Taken; 2]) -> f64| figure(median(&rounds.iter().map(of).collect::<Vec<_>>()));
    let size = scale.body >> 20;
    // Each gateway hashes the body (SHA-512), and two hops pass it on.
    let floors: Vec<f64> =
        floors.iter().zip(&rounds).map(|(hash, [nginx, _])| hash * count(size) + nginx.cpu).collect();
    Ok(Section {
        rows: vec![
            Row {
                goal: "G8",
                what: format!("CPU of both hops for a body of {size} MiB, beside nginx"),
                bound: Bound::AtMost(3.0),
                floor: format!("{} s", figure(median(&floors))),
                baseline: format!("{} s", middle(&|[nginx, _]| nginx.cpu)),
                ours: format!("{} s", middle(&|[_, ours]| ours.cpu)),
                ratios: rounds.iter().map(|[nginx, ours]| ours.cpu / nginx.cpu).collect(),
            },
            Row {
                goal: "G8",
                what: format!("growth of a gateway's memory meanwhile, beside 8 MiB; body of {size} MiB"),
                bound: Bound::AtMost(1.0),
                floor: String::new(),
                baseline: format!("nginx {} MiB", middle(&|[nginx, _]| nginx.growth)),
                ours: format!("{} MiB", middle(&|[_, ours]| ours.growth)),
                ratios: rounds.iter().map(|[_, ours]| ours.growth / 8.0).collect(),
            },
        ],
        details: String::new(),
    })
}

/// Sends one body of this length over the chain.
async fn send(chain: &Chain, length: u64) -> Result<Taken, String> {
    let pids = chain.hops.concat();
    process::forget_peaks(&pids)?;
    let before: Vec<u64> = pids.iter().map(|pid| process::peak(*pid)).collect();
    let cpu = process::cpu(&pids);
    post(chain, length).await?;
    let cpu = process::cpu(&pids).saturating_sub(cpu);
    let growth =
        pids.iter().zip(before).map(|(pid, before)| process::peak(*pid).saturating_sub(before)).max();
    Ok(Taken { cpu: cpu.as_secs_f64(), growth: count(growth.unwrap_or_default()) / count(1 << 20) })
}

async fn post(chain: &Chain, length: u64) -> Result<(), String> {
    let failed = |error: hyper::Error| format!("POST of {length} bytes: {error}");
    let stream = TcpStream::connect(chain.door).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(connection);
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let pieces = stream::unfold(length, move |left| {
        let piece = piece.clone();
        async move {
            let next = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
            let frame = Ok::<_, std::convert::Infallible>(Frame::data(piece.slice(..next)));
            (next > 0).then(|| (frame, left - u64::try_from(next).unwrap_or_default()))
        }
    });
    let request = Request::post(format!("{}/declarations", chain.prefix))
        .header("Host", chain.door.to_string())
        .header("X-Road-Client", "DEMO/GOV/1001/portal")
        .header("Content-Type", "application/octet-stream")
        .header("Content-Length", length)
        .body(StreamBody::new(pieces).boxed())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(failed)?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    if status.is_success() && text.contains(&length.to_string()) {
        return Ok(());
    }
    Err(format!("POST of {length} bytes: {status}: {text}"))
}
