//! Gateways that speak with each other over OpenSSL, for peers that have CBC suites only.
//!
//! The judge of what is agreed is the `openssl` program, as client and as server.
#![cfg(feature = "legacy-tls")]

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use integration::world::{Ask, Holder, RECORDS, Wishes, World, soon};
    use pem::Pem;

    /// What X-Road 7 offers, of those for keys of ours.
    const CBC: &str = "ECDHE-ECDSA-AES256-SHA384";

    fn legacy(wanted: bool) -> Vec<(&'static str, String)> {
        let dangerous = ("[timeouts]\n", "[dangerous]\nlegacy_tls = true\n\n[timeouts]\n".to_owned());
        if wanted { vec![dangerous] } else { Vec::new() }
    }

    async fn world(consumer: bool, provider: bool) -> World {
        World::wish(Wishes { consumer: legacy(consumer), provider: legacy(provider) }).await
    }

    fn files(folder: &Path, holder: &Holder) -> [String; 2] {
        let key = pem::encode(&Pem::new("PRIVATE KEY", holder.key.pkcs8.clone()));
        [("certificate.pem", holder.certificate.to_pem()), ("key.pem", key)].map(|(name, text)| {
            let path = folder.join(name);
            cert_authority::durable::write(&path, text.as_bytes()).unwrap();
            path.display().to_string()
        })
    }

    /// What `openssl s_client` says when it has come through, told by an answer to a request.
    fn client(address: &str, shown: Option<&Holder>, arguments: &[&str]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", address, "-ign_eof"]).args(arguments);
        if let Some(holder) = shown {
            let [certificate, key] = files(folder.path(), holder);
            command.args(["-cert", &certificate, "-key", &key]);
        }
        let request = folder.path().join("request");
        let asked = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        cert_authority::durable::write(&request, asked).unwrap();
        let output = command.stdin(std::fs::File::open(request).unwrap()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.contains("HTTP/1.1 200") {
            Ok(said)
        } else {
            Err(said + &String::from_utf8_lossy(&output.stderr))
        }
    }

    fn suite(said: &str) -> &str {
        said.split("Cipher is ").nth(1).and_then(|rest| rest.lines().next()).unwrap()
    }

    #[tokio::test]
    async fn exchanges_pass_whichever_side_uses_it() {
        for (consumer, provider) in [(true, true), (true, false), (false, true)] {
            let world = world(consumer, provider).await;
            let body = vec![b'x'; 3 << 20];
            for n in 0..3 {
                let id = format!("legacy-{n}");
                let reply = world.ask(&Ask::post(&format!("{RECORDS}/x"), body.clone()).id(&id)).await;
                assert_eq!((reply.status, reply.error()), (200, None), "{}", reply.text());
                assert!(world.service.last().body == body, "it arrives as it was sent");
                for node in [&world.consumer, &world.provider] {
                    assert_eq!(node.trace(&id), ["request", "response"]);
                    node.verifies(&id);
                    let stored = &node.records(&id)[0];
                    let agreed = stored.record.message().unwrap().circumstances.tls_suite.clone().unwrap();
                    assert!(agreed.contains("AES") && agreed.contains("GCM"), "the best of both: {agreed}");
                }
            }
            for (node, wanted) in [(&world.consumer, consumer), (&world.provider, provider)] {
                let health = node.is_well(true).await;
                assert_eq!(health.contains(r#""dangerous":["legacy_tls"]"#), wanted, "{health}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_registered_peer_with_a_cbc_suite_is_let_in_and_nobody_else() {
        let world = world(true, true).await;
        let (door, registered) = (world.provider.peers(), &world.rogue.auth);
        for (arguments, expected) in [
            (&["-tls1_2", "-cipher", CBC][..], CBC),
            (&["-tls1_2"], "ECDHE-ECDSA-AES256-GCM-SHA384"),
            (&["-tls1_3"], "TLS_AES_256_GCM_SHA384"),
            (&[], "TLS_AES_256_GCM_SHA384"),
        ] {
            let said = client(&door, Some(registered), arguments).unwrap();
            assert_eq!(suite(&said), expected, "{arguments:?}");
        }
        let stranger = &world.provider.pinned;
        for (shown, arguments) in [
            (Some(stranger), &["-tls1_2", "-cipher", CBC][..]),
            (Some(stranger), &["-tls1_3"]),
            (None, &["-tls1_2", "-cipher", CBC]),
            (Some(registered), &["-tls1_1", "-cipher", "ALL@SECLEVEL=0"]),
            (Some(registered), &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA@SECLEVEL=0"]),
        ] {
            assert!(client(&door, shown, arguments).is_err(), "{arguments:?}");
        }
        world.is_alive().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_gateway_without_it_has_no_cbc_suite() {
        let world = world(false, false).await;
        let door = world.provider.peers();
        assert!(client(&door, Some(&world.rogue.auth), &["-tls1_2", "-cipher", CBC]).is_err());
        assert!(client(&door, Some(&world.rogue.auth), &["-tls1_2"]).is_ok());
    }

    #[tokio::test]
    async fn a_provider_with_a_cbc_suite_is_reached_and_one_with_another_certificate_is_not() {
        for (legacy, registered, reached) in [(true, true, true), (true, false, false), (false, true, false)]
        {
            let world = world(legacy, true).await;
            world.is_alive().await; // its OCSP responses are known from then on
            let [a, b, c, _] = world.provider.host.octets();
            let host = Ipv4Addr::new(a, b, c, 200);
            let folder = tempfile::tempdir().unwrap();
            let shown = if registered { &world.provider.auth } else { &world.provider.pinned };
            let [certificate, key] = files(folder.path(), shown);
            let said = folder.path().join("said");
            let mut server = Command::new("openssl")
                .args([
                    "s_server",
                    "-accept",
                    &format!("{host}:5500"),
                    "-tls1_2",
                    "-cipher",
                    CBC,
                    "-Verify",
                    "1",
                ])
                .args(["-cert", &certificate, "-key", &key, "-verify_quiet"])
                .stdin(Stdio::piped())
                .stdout(std::fs::File::create(&said).unwrap())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let heard = || String::from_utf8_lossy(&std::fs::read(&said).unwrap()).into_owned();
            soon("it listens", || heard().contains("ACCEPT")).await;
            world
                .publish(|shared| {
                    for server in &mut shared.servers {
                        if server.owner == world.provider.id() {
                            server.address = Some(host.to_string());
                        }
                    }
                })
                .await;
            let reply = world.ask(&Ask::get(&format!("{RECORDS}/x"))).await;
            let error = reply.error().unwrap().to_owned();
            assert_eq!(error != "server.clientproxy.ssl_authentication_failed", reached, "{error}");
            if reached {
                // It has got the message, and gives no answer.
                assert!(heard().contains(&format!("CIPHER is {CBC}")), "{}", heard());
                assert!(heard().contains("x-proxy-version"), "{}", heard());
            } else {
                assert!(!heard().contains("x-proxy-version"), "{}", heard());
            }
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }
}
