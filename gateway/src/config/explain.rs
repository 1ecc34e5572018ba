//! What holds, in words: every effective setting, defaults included, for `passerelle-gateway explain`.
//!
//! No secret is shown: keys and PINs are paths, tokens are hashes that are not printed.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use super::archive::Place;
use super::{Allow, Archive, Config, Keys, ServiceTrust, Subject};
use crate::messagelog::replays::Handling;
use crate::signing;

/// The settings as text: a line each, then the clients with their services and rights.
pub fn explain(config: &Config) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_settings(&mut out, config);
    let _ = write_clients(&mut out, config);
    out
}

fn write_settings(out: &mut String, config: &Config) -> fmt::Result {
    let off =
        |address: Option<std::net::SocketAddr>| address.map_or_else(|| "off".to_owned(), |a| a.to_string());
    let transport = &config.transport;
    writeln!(out, "server                        {}", config.server)?;
    writeln!(out, "configuration.anchor          {}", config.configuration.anchor.display())?;
    writeln!(out, "configuration.directory       {}", config.configuration.directory.display())?;
    writeln!(out, "configuration.every           {}", Span(config.configuration.every))?;
    write_keys(out, &config.keys)?;
    let batch = match config.signing {
        signing::Settings { batch: false, .. } => "off".to_owned(),
        signing::Settings { most, .. } => format!("up to {most} messages"),
    };
    writeln!(out, "signing.batch                 {batch}")?;
    writeln!(out, "doors.http                    {}", off(config.doors.http))?;
    writeln!(out, "doors.https                   {}", off(config.doors.https))?;
    writeln!(out, "peers.listen                  {}", config.doors.peers)?;
    writeln!(out, "peers.ocsp_listen             {}", config.doors.ocsp)?;
    let least = config.least_peer_version.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string);
    writeln!(out, "peers.least_version           {least}")?;
    writeln!(out, "peers.port, ocsp_port         {}, {}", transport.peers.port, transport.peers.ocsp_port)?;
    writeln!(out, "quic.listen                   {}", off(transport.peers.quic.listen))?;
    write_trust(out, config)?;
    writeln!(out, "administration.listen         {}", config.administration.listen)?;
    for token in &config.administration.tokens {
        writeln!(out, "administration.token          {} ({:?})", token.name, token.role)?;
    }
    writeln!(out, "log.directory                 {}", config.log.directory.display())?;
    if let Some(database) = &config.log.postgres {
        let crate::messagelog::Database { host, port, name, user, authorities, .. } = database;
        let tls = if authorities.is_empty() { "" } else { ", over TLS" };
        writeln!(out, "log.postgres                  {name} at {host}, port {port}, as {user}{tls}")?;
    }
    writeln!(out, "log.bodies                    {}", if config.log.bodies { "kept" } else { "not kept" })?;
    writeln!(out, "log.data_keys                 {}", format!("{:?}", config.log.data_keys).to_lowercase())?;
    for id in &config.log.bodies_except {
        let kept = if config.log.keeps_bodies_of(&[id]) { "kept" } else { "not kept" };
        writeln!(out, "log.bodies of {id}: {kept}")?;
    }
    if let Some(checkpoints) = &config.log.checkpoints {
        writeln!(out, "log.checkpoints               {}", checkpoints.origin)?;
        for witness in &checkpoints.witnesses {
            writeln!(out, "log.checkpoints.witness       {} at {}", witness.key.name(), witness.url)?;
        }
        writeln!(out, "log.checkpoints.quorum        {}", checkpoints.quorum)?;
    }
    write_archive(out, config.archive.as_ref())?;
    if let Some(witness) = &config.witness {
        writeln!(out, "witness                       {} at {}", witness.name, witness.listen)?;
        for log in &witness.logs {
            writeln!(out, "witness.log                   {}", log.origin)?;
        }
    }
    let interval = config
        .timestamping
        .interval
        .map_or_else(|| "as the network says".to_owned(), |i| Span(i).to_string());
    writeln!(out, "timestamping.interval         {interval}")?;
    let failure = config
        .timestamping
        .acceptable_failure
        .map_or_else(|| "off".to_owned(), |period| Span(period).to_string());
    writeln!(out, "timestamping.acceptable_failure {failure}")?;
    writeln!(out, "timestamping.at_once          {}", config.timestamping.at_once)?;
    let keep = match &config.monitoring.directory {
        None => "off".to_owned(),
        Some(directory) => format!("{}, in {}", Span(config.monitoring.keep), directory.display()),
    };
    writeln!(out, "monitoring.keep               {keep}")?;
    if let Some(collector) = &config.monitoring.traces {
        writeln!(out, "monitoring.traces             {}", collector.endpoint)?;
    }
    writeln!(out, "limits.connections            {}", transport.front.connections)?;
    writeln!(out, "timeouts.connect              {}", Span(transport.peers.connect_timeout))?;
    let answer =
        transport.peers.answer_timeout.map_or_else(|| "off".to_owned(), |period| Span(period).to_string());
    writeln!(out, "timeouts.answer               {answer}")?;
    write_process(out, config)
}

/// What the program says, what it gives up, and what in its settings is dangerous.
fn write_process(out: &mut String, config: &Config) -> fmt::Result {
    writeln!(out, "output                        {} ({:?})", config.output.level, config.output.format)?;
    writeln!(out, "hardening.confine             {:?}", config.hardening.confine)?;
    for name in config.dangerous.names() {
        writeln!(out, "DANGEROUS                     {name} = true")?;
    }
    Ok(())
}

/// How many strangers are greeted at once, how long a peer that has gone is believed, a request remembered, a wrong clock
/// put up with.
fn write_trust(out: &mut String, config: &Config) -> fmt::Result {
    let transport = &config.transport;
    let handshakes = (transport.front.handshakes, transport.front.handshakes_per_address);
    writeln!(out, "limits.handshakes             {}, of one address {}", handshakes.0, handshakes.1)?;
    let revocations = transport.peers.revocations;
    let revocations = revocations.map_or_else(|| "off".to_owned(), |interval| Span(interval).to_string());
    writeln!(out, "peers.revocations             {revocations}")?;
    let replays = match config.replays.handling {
        None => "off".to_owned(),
        Some(Handling::Warn) => format!("warn, for {}", Span(config.replays.window)),
        Some(Handling::Reject) => format!("reject, for {}", Span(config.replays.window)),
    };
    writeln!(out, "peers.replays                 {replays}")?;
    let refuse = config.clock.refuse.map_or_else(|| "off".to_owned(), |limit| Span(limit).to_string());
    writeln!(out, "clock.alarm, refuse           {}, {refuse}", Span(config.clock.alarm))?;
    Ok(())
}

fn write_keys(out: &mut String, keys: &Keys) -> fmt::Result {
    writeln!(out, "keys.directory                {}", keys.directory.display())?;
    match &keys.signer {
        None => Ok(()),
        Some(socket) => writeln!(out, "keys.signer                   {}", socket.display()),
    }
}

fn write_archive(out: &mut String, archive: Option<&Archive>) -> fmt::Result {
    match archive {
        None => writeln!(out, "archive                       off")?,
        Some(archive) => {
            match &archive.place {
                Place::Directory(directory) => {
                    writeln!(out, "archive.directory             {}", directory.display())?;
                }
                Place::Bucket(at) => {
                    writeln!(
                        out,
                        "archive.s3                    {}/{}/{}",
                        at.endpoint, at.bucket, at.prefix
                    )?;
                    writeln!(out, "archive.s3.credentials        {}", at.credentials.display())?;
                }
            }
            writeln!(out, "archive.grouping              {:?}", archive.settings.grouping)?;
            writeln!(out, "archive.rotate                {} bytes", archive.settings.rotate_at)?;
            writeln!(out, "archive.every                 {}", Span(archive.every))?;
            let keep = |keep: Option<Duration>| {
                keep.map_or_else(|| "for ever".to_owned(), |keep| Span(keep).to_string())
            };
            writeln!(out, "archive.keep_bodies           {}", keep(archive.keep_bodies))?;
            writeln!(out, "archive.keep_records          {}", keep(archive.keep_records))?;
            match &archive.settings.recipients {
                None => writeln!(out, "archive.recipients            everybody: not encrypted")?,
                Some(recipients) => writeln!(out, "archive.recipients            {recipients}")?,
            }
        }
    }
    Ok(())
}

fn write_clients(out: &mut String, config: &Config) -> fmt::Result {
    for client in &config.clients {
        writeln!(
            out,
            "\nclient {}: known by {:?}, {} certificates",
            client.id,
            client.authentication,
            client.certificates.len()
        )?;
        for group in &client.groups {
            let members: Vec<String> = group.members.iter().map(ToString::to_string).collect();
            writeln!(out, "  group {}: {}", group.id, members.join(", "))?;
        }
        for service in &client.services {
            let trust = match &service.trust {
                None => String::new(),
                Some(ServiceTrust::Pinned(certificate)) => {
                    format!(", certificate pinned: {}", certificate.subject())
                }
                Some(ServiceTrust::Authorities(all)) => {
                    format!(", issued by one of {} authorities", all.len())
                }
            };
            writeln!(
                out,
                "  service {} -> {} (waits {}{trust})",
                service.code,
                service.url,
                Span(service.timeout)
            )?;
            if let Some(description) = &service.description {
                let taken_up = description.document.as_ref().map_or_else(
                    || "none taken up".to_owned(),
                    |document| format!("SHA-256 {}", document.sha256),
                );
                writeln!(out, "    described by {}: {taken_up}", description.source)?;
            }
            if let Some(notice) = &service.disabled {
                writeln!(out, "    disabled: {notice}")?;
            }
            if service.allow.is_empty() {
                writeln!(out, "    nobody may call it")?;
            }
            for Allow { to, endpoints } in &service.allow {
                let what = endpoints.as_ref().map_or_else(
                    || "everything".to_owned(),
                    |endpoints| {
                        let each: Vec<String> =
                            endpoints.iter().map(|e| format!("{} {}", e.method, e.path)).collect();
                        each.join(", ")
                    },
                );
                writeln!(out, "    {to} may call {what}")?;
            }
        }
    }
    Ok(())
}

impl Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(id) => write!(f, "{id}"),
            Self::LocalGroup(id) => write!(f, "group {id}"),
            Self::GlobalGroup(id) => write!(f, "global group {id}"),
        }
    }
}

/// A duration with the unit that people would use.
struct Span(Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{} ms", self.0.as_millis()),
            s if s % 3600 == 0 => write!(f, "{} h", s / 3600),
            s if s % 60 == 0 => write!(f, "{} min", s / 60),
            s => write!(f, "{s} s"),
        }
    }
}
