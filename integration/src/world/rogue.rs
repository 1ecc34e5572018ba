//! A registered peer with good certificates that does as it pleases: it sends what no gateway would send, and answers
//! what no gateway would answer.
//!
//! Good messages are made with the gateway's own builders, then spoilt.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use bytes::Bytes;
use cert_authority::algorithm::{DigestAlgorithm, SignatureAlgorithm};
use cert_authority::clock::Clock as _;
use cert_authority::crypto::digest;
use cert_authority::x509::issue::Profile;
use gateway::evidence::signature::{self, SignatureBundle, SigningKey};
use gateway::message::Protocol;
use gateway::message::digests::PartDigests;
use gateway::message::multipart::Boundary;
use gateway::message::rest::{PathRules, RestRequest, RestResponse, request_hash};
use gateway::message::transport::{Direction, Incoming, Item, header, part};
use gateway::transport::tls::{self, Identity};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::authority::{Holder, OcspMode, Trust};
use super::http1::{Message, find};
use super::{INSTANCE, TurnedClock, lock, sign_subject, within};

/// The boundary of its messages.
pub const BOUNDARY: &str = "xtopRogue";

/// Who signs a message, and with which OCSP response.
#[derive(Clone)]
pub struct Signatory {
    /// Certificate and key.
    pub holder: Holder,
    /// The response that goes into the signature.
    pub ocsp: Bytes,
}

impl Signatory {
    /// Signs.
    pub async fn sign(&self, digests: &PartDigests, clock: &TurnedClock) -> SignatureBundle {
        let key = SigningKey::new(
            self.holder.key.id.clone(),
            self.holder.certificate.clone(),
            &[],
            std::slice::from_ref(&self.ocsp),
            SignatureAlgorithm::EcdsaSha256,
        );
        signature::sign(digests, &key, self.holder.key.as_ref(), clock.now()).await.unwrap()
    }
}

/// A transport message, in pieces that can be moved about.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// HTTP headers.
    pub headers: Vec<(String, String)>,
    /// Media type and content of each part.
    pub parts: Vec<(String, Bytes)>,
    /// Its first line, for answers.
    pub first: String,
    /// Leave this much of the multipart body's end away, and end the HTTP body well.
    pub cut_short: usize,
    /// Promise more HTTP body than is sent, then close.
    pub broken_off: bool,
}

impl Envelope {
    /// A message of these parts.
    pub fn new(parts: Vec<(String, Bytes)>) -> Self {
        let content_type = Boundary::new(BOUNDARY).unwrap().content_type();
        let headers = vec![
            ("content-type".to_owned(), content_type),
            (header::HASH_ALGORITHM.to_owned(), "SHA-512".to_owned()),
        ];
        Self { headers, parts, first: "HTTP/1.1 200 OK".to_owned(), cut_short: 0, broken_off: false }
    }

    /// The place of the first part of this type.
    pub fn place(&self, media_type: &str) -> usize {
        self.parts.iter().position(|(known, _)| known == media_type).expect("there is such a part")
    }

    /// Changes a part.
    pub fn change(&mut self, media_type: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let place = self.place(media_type);
        let part = self.parts.get_mut(place).unwrap();
        let mut content = part.1.to_vec();
        change(&mut content);
        part.1 = content.into();
    }

    /// Changes a part that is text.
    pub fn replace(&mut self, media_type: &str, from: &str, to: &str) {
        self.change(media_type, |content| {
            let text = String::from_utf8(content.clone()).unwrap();
            assert!(text.contains(from), "{from} is not in the part: {text}");
            *content = text.replacen(from, to, 1).into_bytes();
        });
    }

    /// Takes a part away.
    pub fn remove(&mut self, media_type: &str) {
        let place = self.place(media_type);
        self.parts.remove(place);
    }

    /// Lets a part stand there twice.
    pub fn double(&mut self, media_type: &str) {
        let place = self.place(media_type);
        let part = self.parts.get(place).unwrap().clone();
        self.parts.insert(place, part);
    }

    /// The multipart that it is carried in.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (n, (media_type, content)) in self.parts.iter().enumerate() {
            let end = if n == 0 { "" } else { "\r\n" };
            body.extend_from_slice(
                format!("{end}--{BOUNDARY}\r\ncontent-type: {media_type}\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(content);
        }
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        body.truncate(body.len() - self.cut_short);
        body
    }

    /// All of it, as it goes over the line.
    pub fn bytes(&self) -> Vec<u8> {
        let body = self.body();
        let promised = body.len() + if self.broken_off { 1000 } else { 0 };
        let mut head = format!("{}\r\nHost: peer\r\nContent-Length: {promised}\r\n", self.first);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(body);
        bytes
    }
}

/// What a gateway answered to the rogue peer.
#[derive(Debug, Clone)]
pub struct PeerReply(pub Message);

impl PeerReply {
    /// The code of the fault in it, as a whole or as a part.
    pub fn fault(&self) -> Option<String> {
        let body = &self.0.body;
        let from = find(body, b"<faultcode>")? + "<faultcode>".len();
        let rest = body.get(from..)?;
        let text = rest.get(..find(rest, b"</faultcode>")?)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Whether it holds a signed answer.
    pub fn is_signed(&self) -> bool {
        find(&self.0.body, format!("content-type: {}", part::SIGNATURE).as_bytes()).is_some()
    }
}

/// How the rogue peer answers.
#[derive(Clone)]
pub struct AnswerPlan {
    /// Spoils the message part before it is signed.
    pub message: Arc<dyn Fn(String) -> String + Send + Sync>,
    /// Spoils the digests that are signed.
    pub digests: Arc<dyn Fn(&mut PartDigests) + Send + Sync>,
    /// Spoils the message as a whole.
    pub envelope: Arc<dyn Fn(&mut Envelope) + Send + Sync>,
    /// Who signs.
    pub signatory: Signatory,
    /// Answers nothing and closes.
    pub silent: bool,
}

/// The peer.
pub struct Rogue {
    /// Its address.
    pub host: Ipv4Addr,
    /// Its registered authentication certificate.
    pub auth: Holder,
    /// Its member's signing certificate.
    pub signatory: Signatory,
    clock: TurnedClock,
    pub(super) state: Arc<State>,
}

pub(super) struct State {
    clock: TurnedClock,
    tls: ArcSwap<ServerConfig>,
    /// What its OCSP port serves.
    ocsp: Mutex<Bytes>,
    plan: Mutex<AnswerPlan>,
    calls: AtomicU64,
    last: Mutex<Message>,
    shown: Mutex<Option<Vec<u8>>>,
    /// Changes when it shows another certificate: what was connected before is ended.
    epoch: watch::Sender<()>,
}

impl Rogue {
    pub(crate) async fn start(host: Ipv4Addr, clock: &TurnedClock, trust: &Trust) -> Self {
        let auth = trust.ca.issue(Profile::Auth, &format!("C={INSTANCE}, CN=ss3")).await;
        let holder = trust.ca.issue(Profile::Sign, &sign_subject("3003")).await;
        let ocsp = trust.ocsp(&holder.certificate).await;
        let signatory = Signatory { holder, ocsp };
        let state = Arc::new(State {
            clock: clock.clone(),
            tls: ArcSwap::from_pointee(server(&auth)),
            ocsp: Mutex::new(trust.ocsp(&auth.certificate).await),
            plan: Mutex::new(AnswerPlan {
                message: Arc::new(|text| text),
                digests: Arc::new(|_| {}),
                envelope: Arc::new(|_| {}),
                signatory: signatory.clone(),
                silent: false,
            }),
            calls: AtomicU64::new(0),
            last: Mutex::default(),
            shown: Mutex::default(),
            epoch: watch::Sender::new(()),
        });
        let peers = TcpListener::bind((host, 5500)).await.unwrap();
        let ocsp = TcpListener::bind((host, 5577)).await.unwrap();
        let (one, other) = (Arc::clone(&state), Arc::clone(&state));
        tokio::spawn(async move {
            while let Ok((stream, _)) = peers.accept().await {
                let state = Arc::clone(&one);
                tokio::spawn(async move { state.serve(stream).await });
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = ocsp.accept().await {
                let state = Arc::clone(&other);
                tokio::spawn(async move { state.serve_ocsp(stream).await });
            }
        });
        Self { host, auth, signatory, clock: clock.clone(), state }
    }

    /// How many messages it was sent.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// The last message that it was sent.
    pub fn last(&self) -> Message {
        lock(&self.state.last).clone()
    }

    /// The certificate (DER) that its last caller has shown.
    pub fn shown_to(&self) -> Option<Vec<u8>> {
        lock(&self.state.shown).clone()
    }

    /// Answers well, but for the change of its plan.
    pub fn plan(&self, change: impl FnOnce(&mut AnswerPlan)) {
        let mut plan = AnswerPlan {
            message: Arc::new(|text| text),
            digests: Arc::new(|_| {}),
            envelope: Arc::new(|_| {}),
            signatory: self.signatory.clone(),
            silent: false,
        };
        change(&mut plan);
        *lock(&self.state.plan) = plan;
    }

    /// Shows this certificate from now on, with this OCSP response beside it, and ends the connections over another.
    pub fn show(&self, holder: &Holder, ocsp: Bytes) {
        self.state.tls.store(Arc::new(server(holder)));
        *lock(&self.state.ocsp) = ocsp;
        self.state.epoch.send_replace(());
    }

    /// Shows its own certificate again.
    pub async fn show_own(&self, trust: &Trust) {
        self.show(&self.auth, trust.ocsp_as(&self.auth.certificate, OcspMode::Good).await);
    }

    /// A good request of its member: `DEMO/GOV/3003/other` asks for the provider's records.
    pub async fn request(
        &self,
        trust: &Trust,
        verb: &str,
        target: &str,
        id: &str,
        body: Option<&'static [u8]>,
    ) -> Envelope {
        self.request_signed(trust, verb, target, id, body, &self.signatory, |_| {}).await
    }

    /// The same, signed by somebody, over digests that may be spoilt.
    #[expect(clippy::too_many_arguments, reason = "one request, spelt out")]
    pub async fn request_signed(
        &self,
        trust: &Trust,
        verb: &str,
        target: &str,
        id: &str,
        body: Option<&'static [u8]>,
        signatory: &Signatory,
        spoil: impl FnOnce(&mut PartDigests),
    ) -> Envelope {
        let headers = [("X-Road-Client", "DEMO/GOV/3003/other"), ("x-road-id", id)]
            .map(|(name, value)| (Bytes::from(name.to_owned()), Bytes::from(value.to_owned())));
        let exchange = format!("exchange-{id}");
        let request =
            RestRequest::from_client(verb, target, &headers, &exchange, String::new, PathRules::default())
                .unwrap();
        let body = body.map(Bytes::from_static);
        self.request_of(trust, request.part().clone(), &exchange, body, signatory, spoil).await
    }

    /// The same of any message part, and the id of its exchange: it is signed as it is.
    pub async fn request_of(
        &self,
        trust: &Trust,
        message: Bytes,
        exchange: &str,
        body: Option<Bytes>,
        signatory: &Signatory,
        spoil: impl FnOnce(&mut PartDigests),
    ) -> Envelope {
        let ocsp = trust.ocsp(&self.auth.certificate).await;
        let mut parts = vec![(part::OCSP_RESPONSE.to_owned(), ocsp)];
        parts.extend(signed((part::REST_REQUEST, message), body, signatory, &self.clock, spoil).await);
        let mut envelope = Envelope::new(parts);
        envelope.first = "POST / HTTP/1.1".to_owned();
        envelope.headers.push((header::MESSAGE_TYPE.to_owned(), header::REST.to_owned()));
        envelope.headers.push((header::ORIGINAL_CONTENT_TYPE.to_owned(), String::new()));
        envelope.headers.push((header::REQUEST_ID.to_owned(), exchange.to_owned()));
        envelope
    }

    /// Sends a message to a peer door with its registered certificate; `None` when there is no answer.
    pub async fn send(&self, address: &str, envelope: &Envelope) -> Option<PeerReply> {
        self.send_as(&self.auth, address, envelope).await
    }

    /// The same with any certificate.
    pub async fn send_as(&self, holder: &Holder, address: &str, envelope: &Envelope) -> Option<PeerReply> {
        let mut line = self.connect_as(holder, address).await?;
        line.send(envelope).await
    }

    /// A connection that can be kept.
    pub async fn connect_as(&self, holder: &Holder, address: &str) -> Option<Line> {
        self.connect_showing(holder, &[], &[&TLS13, &TLS12], address).await.ok()
    }

    /// The same, with more certificates behind the own one, in these versions of TLS; or what the other end said.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect_showing(
        &self,
        holder: &Holder,
        behind: &[CertificateDer<'static>],
        versions: &[&'static SupportedProtocolVersion],
        address: &str,
    ) -> std::io::Result<Line> {
        let config = Arc::new(self.client_config(Some(holder), behind, versions));
        let stream = within("connecting", TcpStream::connect(address)).await?;
        let name = rustls_pki_types::ServerName::from(stream.peer_addr().unwrap().ip());
        Ok(Line(TlsConnector::from(config).connect(name, stream).await?))
    }

    /// How it greets: with this certificate, or none, and believing whoever answers.
    pub(super) fn client_config(
        &self,
        holder: Option<&Holder>,
        behind: &[CertificateDer<'static>],
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let usual = tls::peer_client(self.auth.identity()).unwrap();
        let provider = Arc::clone(usual.crypto_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        config.enable_sni = false;
        if let Some(holder) = holder {
            // Whatever is shown: rustls would look whether key and certificate belong together.
            let Identity { mut chain, key } = holder.identity();
            chain.extend_from_slice(behind);
            let key = config.crypto_provider().key_provider.load_private_key(key).unwrap();
            let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
            config.client_auth_cert_resolver = Arc::new(shown);
        }
        config
    }

    /// What somebody is told who shows this and is not let in.
    pub async fn refusal(
        &self,
        holder: &Holder,
        versions: &[&'static SupportedProtocolVersion],
        address: &str,
    ) -> String {
        let mut line = match self.connect_showing(holder, &[], versions, address).await {
            Ok(line) => line,
            Err(error) => return error.to_string(),
        };
        let mut byte = [0];
        match within("an end", line.0.read(&mut byte)).await {
            Ok(0) => "the end".to_owned(),
            Ok(_) => "an answer".to_owned(),
            Err(error) => error.to_string(),
        }
    }
}

/// Believes whoever answers.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &rustls_pki_types::ServerName<'_>,
        _ocsp: &[u8],
        _now: rustls_pki_types::UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::ED25519,
        ]
    }
}

/// A connection of the rogue peer to a peer door.
pub struct Line(tokio_rustls::client::TlsStream<TcpStream>);

impl Line {
    /// What lies below.
    pub fn stream(&mut self) -> &mut (impl AsyncRead + AsyncWrite + Unpin + Send + use<>) {
        &mut self.0
    }

    /// Sends any bytes and reads the answer; `None` when there is none.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Option<PeerReply> {
        // The far end may refuse before all is written.
        let _ = self.0.write_all(bytes).await;
        let _ = self.0.flush().await;
        within("an answer", Message::read(&mut self.0, false)).await.map(PeerReply)
    }

    /// Sends a message and reads the answer; `None` when there is none.
    pub async fn send(&mut self, envelope: &Envelope) -> Option<PeerReply> {
        let _ = self.0.write_all(&envelope.bytes()).await;
        let _ = self.0.flush().await;
        if envelope.broken_off {
            let _ = self.0.shutdown().await;
        }
        within("an answer", Message::read(&mut self.0, false)).await.map(PeerReply)
    }
}

impl State {
    async fn serve(&self, stream: TcpStream) {
        let mut epoch = self.epoch.subscribe();
        let Ok(mut stream) = TlsAcceptor::from(self.tls.load_full()).accept(stream).await else { return };
        let shown =
            stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
        *lock(&self.shown) = shown;
        loop {
            let request = tokio::select! {
                request = Message::read(&mut stream, false) => request,
                _ = epoch.changed() => None,
            };
            let Some(request) = request else { break };
            let Some(envelope) = self.answered(&request).await else { return };
            let broken_off = envelope.broken_off;
            if stream.write_all(&envelope.bytes()).await.is_err()
                || stream.flush().await.is_err()
                || broken_off
            {
                let _ = stream.shutdown().await;
                return;
            }
        }
    }

    /// Its answer by its plan, if it gives one.
    pub(super) async fn answered(&self, request: &Message) -> Option<Envelope> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        *lock(&self.last) = request.clone();
        let plan = lock(&self.plan).clone();
        if plan.silent { None } else { Some(self.answer(request, &plan).await) }
    }

    async fn answer(&self, message: &Message, plan: &AnswerPlan) -> Envelope {
        let (request, digests) = read(message);
        let (ok, kind) =
            (b"Fine".as_slice(), [(Bytes::from_static(b"X-From"), Bytes::from_static(b"rogue"))]);
        let response = RestResponse::from_service(200, ok, &kind, &request, &request_hash(&digests)).unwrap();
        let text = (plan.message)(String::from_utf8(response.part().to_vec()).unwrap());
        let body = Some(Bytes::from_static(b"the answer of the rogue peer"));
        let message = (part::REST_RESPONSE, Bytes::from(text));
        let spoil = |digests: &mut PartDigests| (plan.digests)(digests);
        let mut envelope = Envelope::new(signed(message, body, &plan.signatory, &self.clock, spoil).await);
        (plan.envelope)(&mut envelope);
        envelope
    }

    async fn serve_ocsp(&self, mut stream: TcpStream) {
        let mut request = Vec::new();
        while find(&request, b"\r\n\r\n").is_none() {
            if !matches!(stream.read_buf(&mut request).await, Ok(read) if read > 0) {
                return;
            }
        }
        let response = lock(&self.ocsp).clone();
        let mut body = b"--b\r\ncontent-type: application/ocsp-response\r\n\r\n".to_vec();
        body.extend_from_slice(&response);
        body.extend_from_slice(b"\r\n--b--\r\n");
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=b\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        let _ = stream.shutdown().await;
    }
}

/// The parts of a signed message, without OCSP responses.
async fn signed(
    (media_type, message): (&str, Bytes),
    body: Option<Bytes>,
    signatory: &Signatory,
    clock: &TurnedClock,
    spoil: impl FnOnce(&mut PartDigests),
) -> Vec<(String, Bytes)> {
    let mut digests = PartDigests::of_message(DigestAlgorithm::Sha512, &message);
    let mut parts = vec![(media_type.to_owned(), message)];
    if let Some(body) = body {
        digests = digests.with_attachment(digest(DigestAlgorithm::Sha512, &body));
        parts.push((part::REST_BODY.to_owned(), body));
    }
    spoil(&mut digests);
    let bundle = signatory.sign(&digests, clock).await;
    parts.extend(bundle.hash_chain_result.map(|bytes| (part::HASH_CHAIN_RESULT.to_owned(), bytes)));
    parts.extend(bundle.hash_chain.map(|bytes| (part::HASH_CHAIN.to_owned(), bytes)));
    parts.push((part::SIGNATURE.to_owned(), bundle.signature_xml));
    parts
}

/// The request in a transport message, and its digests.
fn read(message: &Message) -> (RestRequest, PartDigests) {
    let content_type = message.header("content-type").unwrap_or_default();
    let (direction, algorithm) = (Direction::Request, DigestAlgorithm::Sha512);
    let mut incoming = Incoming::new(direction, Protocol::Rest, content_type, algorithm).unwrap();
    incoming.push(message.body.clone());
    let mut request = None;
    loop {
        match incoming.pull().unwrap() {
            Item::Message(part) => request = Some(RestRequest::parse(part.content).unwrap()),
            Item::End | Item::NeedMore => break,
            _ => {}
        }
    }
    (request.unwrap(), incoming.finish().unwrap())
}

pub(super) fn server(holder: &Holder) -> ServerConfig {
    tls::peer_server(holder.identity(), Arc::new(|_| true)).unwrap()
}
