//! Bodies are nowhere in the clear (T45): after exchanges of both protocols, with small and large bodies, refused and failed
//! ones, every file of two gateways, what they write about their work, the traces that they send and the records of their
//! monitoring are searched for what was in the bodies.

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use gateway::cli::output;
    use gateway::config::{Format, Output};
    use integration::world::{Ask, FAKE, Message, Mode, RECORDS, Wishes, World, envelope};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    /// What nobody writes by chance.
    const CANARY: &str = "canary-7f3d9b51e8-Zaungast";

    type Bytes = Arc<Mutex<Vec<u8>>>;

    struct Into(Bytes);

    impl Write for Into {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The canary as it could stand somewhere: as it is, in hex, in base64 at each of its three places, in UTF-16.
    fn guises() -> Vec<Vec<u8>> {
        let mut guises = vec![CANARY.as_bytes().to_vec(), hex::encode(CANARY).into_bytes()];
        guises.push(hex::encode_upper(CANARY).into_bytes());
        guises.push(CANARY.encode_utf16().flat_map(u16::to_le_bytes).collect());
        for front in ["", "x", "xx"] {
            let encoded = STANDARD.encode(format!("{front}{CANARY}"));
            // What stands at the ends depends on what stands beside it.
            guises.push(encoded.as_bytes()[4..encoded.len() - 4].to_vec());
        }
        guises
    }

    fn holds(bytes: &[u8], what: &[u8]) -> bool {
        memchr::memmem::find(bytes, what).is_some()
    }

    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.path() {
                path if path.is_dir() => files(&path, found),
                path => found.push(path),
            }
        }
    }

    async fn collector() -> (String, Bytes) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let taken = Bytes::default();
        let into = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = Message::read(&mut stream, false).await else { continue };
                into.lock().unwrap().extend_from_slice(&request.body);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        });
        (address, taken)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_body_is_in_the_clear_in_any_file_line_trace_or_record_of_two_gateways() {
        let lines = Bytes::default();
        let into = Arc::clone(&lines);
        // Everything that can be had of our own parts.
        let settings = Output {
            level: "info,gateway=trace,conf=trace,cert_authority=trace".to_owned(),
            format: Format::Text,
        };
        let subscriber = output::lines(&settings, move || Into(Arc::clone(&into)));
        tracing::subscriber::set_global_default(subscriber).unwrap();
        let (address, traces) = collector().await;
        let wish = vec![(
            "[timestamping]\n",
            format!("[monitoring.traces]\nendpoint = \"{address}\"\n\n[timestamping]\n"),
        )];
        let mut world = World::wish(Wishes { consumer: wish.clone(), provider: wish }).await;

        let large = CANARY.repeat(100_000);
        for body in [CANARY.to_owned(), large.clone()] {
            for target in
                [format!("{RECORDS}/x"), FAKE.to_owned(), "/r1/DEMO/GOV/2002/registry/closed/x".to_owned()]
            {
                world.ask(&Ask::post(&target, body.clone()).header("X-Canary", CANARY)).await;
            }
        }
        world.service.mode(Mode::Silent);
        world.ask(&Ask::post(&format!("{RECORDS}/x"), CANARY)).await;
        world.service.mode(Mode::Echo);
        for (service, id) in [("people", "one"), ("shut", "two")] {
            let text = envelope((service, "v1"), id, "", &format!("<{service}>{CANARY}</{service}>"));
            let ask = Ask::post("/", text)
                .without("X-Road-Client")
                .header("Content-Type", "text/xml; charset=utf-8");
            world.ask(&ask).await;
        }
        // One that breaks off leaves what had come of it.
        let ask = Ask::post(&format!("{RECORDS}/x"), large);
        drop(ask.begin(&world.consumer.http(), 200_000).await);
        let exchanges = world.provider.messages();
        assert!(exchanges >= 6, "{exchanges} messages");
        world.stop().await;

        let guises = guises();
        let (mut found, mut read, mut wrong) = (Vec::new(), 0, Vec::new());
        files(world.folder.path(), &mut found);
        for file in &found {
            let bytes = std::fs::read(file).unwrap();
            read += bytes.len();
            if guises.iter().any(|guise| holds(&bytes, guise)) {
                wrong.push(file.display().to_string());
            }
        }
        for (what, bytes) in [("lines", &lines), ("traces", &traces)] {
            let bytes = bytes.lock().unwrap();
            assert!(bytes.len() > 1000, "{what}: {} bytes", bytes.len());
            if guises.iter().any(|guise| holds(&bytes, guise)) {
                wrong.push(what.to_owned());
            }
        }
        assert_eq!(wrong, Vec::<String>::new(), "of {} files, {read} bytes", found.len());
        assert!(found.iter().any(|file| file.ends_with("segments/00000001.seg")), "{found:?}");
        assert!(found.iter().any(|file| file.to_string_lossy().contains("/monitoring/")), "{found:?}");
    }
}
