//! Mutual TLS with authentication certificates that name no host, as gateways use them: each side looks at
//! the certificate itself, and rustls proves that the other side holds its key.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use cert_authority::{
        crypto::tls_provider,
        keys::KeyType,
        x509::{Certificate, chain, issue::Profile},
    };
    use rustls::{
        ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
        ServerConnection, SignatureScheme, SupportedProtocolVersion,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
        server::danger::{ClientCertVerified, ClientCertVerifier},
    };

    use crate::support::{Holder, World, now};

    /// Believes what our own chain building believes.
    #[derive(Debug)]
    struct Ours(Certificate);

    impl Ours {
        fn check(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
            let failed = |e: String| Error::General(e);
            let leaf = Certificate::from_der(leaf).map_err(|e| failed(e.to_string()))?;
            chain::build(&leaf, &[], std::slice::from_ref(&self.0), now())
                .map(|_| ())
                .map_err(|e| failed(e.to_string()))
        }
    }

    impl ServerCertVerifier for Ours {
        fn verify_server_cert(
            &self,
            leaf: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            self.check(leaf).map(|()| ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = tls_provider().signature_verification_algorithms;
            verify_tls12_signature(message, leaf, signed, &algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = tls_provider().signature_verification_algorithms;
            verify_tls13_signature(message, leaf, signed, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            tls_provider().signature_verification_algorithms.supported_schemes()
        }
    }

    impl ClientCertVerifier for Ours {
        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            &[]
        }

        fn verify_client_cert(
            &self,
            leaf: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: UnixTime,
        ) -> Result<ClientCertVerified, Error> {
            self.check(leaf).map(|()| ClientCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            ServerCertVerifier::verify_tls12_signature(self, message, leaf, signed)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            ServerCertVerifier::verify_tls13_signature(self, message, leaf, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            ServerCertVerifier::supported_verify_schemes(self)
        }
    }

    /// Shakes hands; each side trusts certificates of `root`.
    fn handshake(
        world: &World,
        root: &Holder,
        server: &Holder,
        client: &Holder,
        version: &'static SupportedProtocolVersion,
    ) -> Result<(), Error> {
        let chain = |h: &Holder| vec![CertificateDer::from(h.certificate.der().to_vec())];
        let key = |h: &Holder| world.keys.tls_private_key(&h.key).unwrap();
        let trust = Arc::new(Ours(root.certificate.clone()));
        let clients: Arc<dyn ClientCertVerifier> = trust.clone();
        let server = ServerConfig::builder_with_provider(tls_provider())
            .with_protocol_versions(&[version])?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain(server), key(server))?;
        let client = ClientConfig::builder_with_provider(tls_provider())
            .with_protocol_versions(&[version])?
            .dangerous()
            .with_custom_certificate_verifier(trust)
            .with_client_auth_cert(chain(client), key(client))?;
        let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from("no.name").unwrap())?;
        let mut server = ServerConnection::new(Arc::new(server))?;
        while client.is_handshaking() || server.is_handshaking() {
            carry(|out| client.write_tls(out), |wire| server.read_tls(wire));
            server.process_new_packets()?;
            carry(|out| server.write_tls(out), |wire| client.read_tls(wire));
            client.process_new_packets()?;
        }
        assert_eq!(server.peer_certificates().map(<[_]>::len), Some(1));
        Ok(())
    }

    /// Takes everything that one side has to say to the other.
    fn carry(
        mut from: impl FnMut(&mut dyn io::Write) -> io::Result<usize>,
        mut to: impl FnMut(&mut dyn io::Read) -> io::Result<usize>,
    ) {
        let mut wire = Vec::new();
        while from(&mut wire).unwrap() > 0 {}
        let mut rest = &wire[..];
        while !rest.is_empty() {
            to(&mut rest).unwrap();
        }
    }

    #[tokio::test]
    async fn certificates_without_names_carry_mutual_tls_of_both_versions() {
        for key_type in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
            let world = World::new();
            let root = world.root(KeyType::EcP256, "CN=Root,C=EE", None).await;
            let one = world.issue_with(&root, Profile::Auth, "CN=ss1,C=EE", key_type, |_| ()).await;
            let two = world.issue_with(&root, Profile::Auth, "CN=ss2,C=EE", key_type, |_| ()).await;
            for version in rustls::ALL_VERSIONS {
                assert_eq!(handshake(&world, &root, &one, &two, version), Ok(()), "{key_type}");
            }
        }
    }

    #[tokio::test]
    async fn a_certificate_of_another_root_shakes_no_hands() {
        let world = World::new();
        let root = world.root(KeyType::EcP256, "CN=Root,C=EE", None).await;
        let stranger = world.root(KeyType::EcP256, "CN=Stranger,C=EE", None).await;
        let ours = world.issue(&root, Profile::Auth, "CN=ss1,C=EE").await;
        let theirs = world.issue(&stranger, Profile::Auth, "CN=ss2,C=EE").await;
        for version in rustls::ALL_VERSIONS {
            assert!(handshake(&world, &root, &ours, &theirs, version).is_err());
            assert!(handshake(&world, &root, &theirs, &ours, version).is_err());
        }
    }

    #[tokio::test]
    async fn a_certificate_is_no_use_without_its_key() {
        let world = World::new();
        let root = world.root(KeyType::EcP256, "CN=Root,C=EE", None).await;
        let ours = world.issue(&root, Profile::Auth, "CN=ss1,C=EE").await;
        let mut stolen = world.issue(&root, Profile::Auth, "CN=ss2,C=EE").await;
        stolen.key = ours.key.clone();
        for version in rustls::ALL_VERSIONS {
            assert!(handshake(&world, &root, &ours, &stolen, version).is_err());
        }
    }
}
