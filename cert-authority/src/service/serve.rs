//! `serve`: OCSP, time-stamps, revocation lists and certificates over HTTP on one port.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::config::Config;
use super::crl::Lists;
use super::house::House;
use super::responder::Responder;
use super::routes::{Services, answer};
use super::stamping::Stamping;
use crate::error::PkiError;
use crate::http;
use crate::x509::Certificate;

/// A certificate of the house that ends sooner than this is worth a warning.
const SOON: Duration = Duration::from_secs(30 * 86_400);

/// Serves until `shutdown` completes, then finishes what is under way.
///
/// # Errors
/// [`PkiError::Store`] if the house lacks a part.
pub async fn serve(
    house: &House,
    config: &Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), PkiError> {
    let services = Arc::new(services(house, config)?);
    match listener.local_addr() {
        Ok(address) => tracing::info!("listening on {address}"),
        Err(error) => tracing::warn!(%error, "listening, but on an unknown address"),
    }
    let handler = move |request| answer(Arc::clone(&services), request);
    http::serve(listener, handler, shutdown).await;
    tracing::info!("stopped");
    Ok(())
}

fn services(house: &House, config: &Config) -> Result<Services, PkiError> {
    let authorities = house.authorities();
    let responders = authorities
        .iter()
        .map(|authority| Ok((Arc::clone(authority), house.responder(authority.certificate())?)))
        .collect::<Result<Vec<_>, PkiError>>()?;
    let stamper = house.stamper(config)?;

    let authorities_pem: String =
        authorities.iter().map(|authority| authority.certificate().to_pem()).collect();
    let responders_pem: String = responders.iter().map(|(_, signer)| signer.certificate.to_pem()).collect();
    let stamper_pem = stamper.certificate.to_pem();
    let ours = responders.iter().map(|(_, signer)| &signer.certificate);
    for certificate in ours.chain(authorities.iter().map(|authority| authority.certificate())) {
        warn_of_end(house, certificate);
    }
    warn_of_end(house, &stamper.certificate);

    let signer = Arc::clone(&house.signer);
    let clock = Arc::clone(&house.clock);
    let times = (config.ocsp.next_update, config.ocsp.reuse);
    let lists = Lists::new(authorities, config.crl.next_update, &clock);
    Ok(Services {
        responder: Responder::new(responders, Arc::clone(&signer), Arc::clone(&clock), times),
        stamping: Stamping::new(stamper, signer, clock),
        lists: lists.ok_or_else(|| PkiError::Store("no authority".into()))?,
        authorities_pem,
        responders_pem,
        stamper_pem,
    })
}

fn warn_of_end(house: &House, certificate: &Certificate) {
    if certificate.not_after() < house.clock.now() + SOON {
        let (subject, end) = (certificate.subject().rfc2253(), certificate.not_after());
        tracing::warn!(%subject, %end, "a certificate of the authority ends soon");
    }
}
