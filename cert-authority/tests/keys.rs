//! Key files: readable by openssl, closed to others, and refused when anything is odd.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
        path::{Path, PathBuf},
    };

    use cert_authority::{
        algorithm::SignatureAlgorithm,
        crypto::{EcdsaForm, PublicKey},
        error::{KeyError, PkiError},
        keys::{
            KeyId, KeyType, Pin, Signer,
            inventory::{Inventory, Usage},
            software::{SoftwareKeys, read_pkcs8_pem},
        },
        x509::issue::Profile,
    };

    use crate::support::{PIN, World, now, openssl, openssl_ok, text};

    fn directory(world: &World) -> PathBuf {
        world.dir.path().join("keys")
    }

    fn key_file(world: &World, id: &KeyId) -> PathBuf {
        directory(world).join(format!("{id}.key.pem"))
    }

    fn open(directory: &Path, pin: &str) -> Result<SoftwareKeys, KeyError> {
        SoftwareKeys::open(directory, &Pin::new(pin))
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn every_kind_of_key_is_made_kept_and_opened_again() {
        let world = World::new();
        for key_type in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
            let id = world.keys.create(key_type, Usage::Sign, "member", Some("DEMO/GOV/1"), now()).unwrap();
            let again = open(&directory(&world), PIN).unwrap();
            let algorithm = key_type.default_algorithm();
            let signature = again.sign(&id, algorithm, b"message").await.unwrap();
            let public = world.keys.public_key(&id).unwrap();
            assert_eq!(public.verify(algorithm, EcdsaForm::Der, b"message", &signature), Ok(()));
            assert_eq!(public.key_id(), id);
        }
        let inventory = Inventory::load(directory(&world)).unwrap();
        assert_eq!(inventory.entries().len(), 3);
        let entry = &inventory.entries()[0];
        assert_eq!((entry.key.usage, entry.key.member.as_deref()), (Usage::Sign, Some("DEMO/GOV/1")));
        assert_eq!(entry.key.created, now());
    }

    #[test]
    fn an_ed25519_key_signs_notes_only_and_no_other_key_does() {
        let world = World::new();
        for usage in [Usage::Sign, Usage::Auth, Usage::Tls, Usage::Ca, Usage::Tsa, Usage::Configuration] {
            let refused = world.keys.create(KeyType::Ed25519, usage, "", None, now());
            assert!(matches!(refused, Err(KeyError::Unsupported(_))), "{usage:?}");
        }
        for usage in [Usage::Checkpoint, Usage::Witness] {
            let refused = world.keys.create(KeyType::EcP256, usage, "", None, now());
            assert!(matches!(refused, Err(KeyError::Unsupported(_))), "{usage:?}");
        }
        let id = world.keys.create(KeyType::Ed25519, Usage::Checkpoint, "", None, now()).unwrap();
        for algorithm in SignatureAlgorithm::ALL {
            let refused = world.keys.sign_now(&id, algorithm, b"message");
            assert!(matches!(refused, Err(KeyError::Unsupported(_))), "{algorithm:?}");
            let public = world.keys.public_key(&id).unwrap();
            assert!(public.verify(algorithm, EcdsaForm::Der, b"message", &[0; 64]).is_err());
        }
        assert!(world.keys.public_key(&id).unwrap().check_strength().is_err(), "no certificate is over it");
        let again = open(&directory(&world), PIN).unwrap();
        assert_eq!(again.public_key(&id).unwrap().key_id(), id);
    }

    #[test]
    fn openssl_and_we_read_each_others_ed25519_keys_and_signatures() {
        let world = World::new();
        let id = world.keys.create(KeyType::Ed25519, Usage::Checkpoint, "", None, now()).unwrap();
        let ours = key_file(&world, &id);
        let (pin, message) = (world.file("pin", PIN), world.file("message", "what is signed"));
        let (passin, out) = (format!("file:{}", text(&pin)), world.dir.path().join("signature"));
        let sign = |key: &Path, passin: &str| {
            let key = ["pkeyutl", "-sign", "-rawin", "-inkey", text(key), "-passin", passin];
            openssl_ok(key.into_iter().chain(["-in", text(&message), "-out", text(&out)]));
            fs::read(&out).unwrap()
        };
        // The algorithm has no chance in it: the same key makes the same signature.
        let signature = world.keys.sign_now(&id, SignatureAlgorithm::Ed25519, b"what is signed").unwrap();
        assert_eq!(sign(&ours, &passin), signature);

        let theirs = world.dir.path().join("theirs.pem");
        openssl_ok(["genpkey", "-algorithm", "ed25519", "-out", text(&theirs)]);
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).unwrap();
        let pkcs8 = read_pkcs8_pem(&theirs).unwrap();
        let id = world.keys.import(&pkcs8, Usage::Witness, "", None, now()).unwrap();
        let (public, signature) = (world.public(&id), sign(&theirs, "pass:"));
        let verify = |message: &[u8], signature: &[u8]| {
            public.verify(SignatureAlgorithm::Ed25519, EcdsaForm::Der, message, signature)
        };
        assert_eq!(verify(b"what is signed", &signature), Ok(()));
        assert!(verify(b"what is Signed", &signature).is_err());
        assert!(verify(b"what is signed", &signature[1..]).is_err());
        assert_eq!(PublicKey::from_ed25519(&public.ed25519().unwrap()), public);
    }

    #[test]
    fn a_key_file_is_closed_to_others_and_opens_in_openssl_with_the_pin() {
        let world = World::new();
        let pin = world.file("pin", format!("{PIN}\n"));
        for key_type in [KeyType::EcP256, KeyType::Rsa2048] {
            let path = key_file(&world, &world.key(key_type));
            assert_eq!(mode(&path), 0o600);
            let passin = format!("file:{}", text(&pin));
            openssl_ok(["pkey", "-in", text(&path), "-passin", &passin, "-noout", "-check"]);
            let wrong = openssl(["pkey", "-in", text(&path), "-passin", "pass:wrong", "-noout"]);
            assert!(!wrong.status.success());
        }
    }

    #[test]
    fn a_key_made_by_openssl_is_taken_in() {
        let world = World::new();
        let plain = world.dir.path().join("plain.pem");
        let curve = "ec_paramgen_curve:P-384";
        openssl_ok(["genpkey", "-algorithm", "EC", "-pkeyopt", curve, "-out", text(&plain)]);
        let pkcs8 = read_pkcs8_pem(&plain).unwrap();
        let id = world.keys.import(&pkcs8, Usage::Tls, "from openssl", None, now()).unwrap();
        assert!(world.keys.tls_private_key(&id).is_ok());
        let algorithm = SignatureAlgorithm::EcdsaSha384;
        assert!(world.keys.sign_now(&id, algorithm, b"x").is_ok());
        set_mode(&plain, 0o644);
        assert!(matches!(read_pkcs8_pem(&plain), Err(KeyError::Permissions { .. })));
        fs::remove_file(&plain).unwrap();
        openssl_ok(["genpkey", "-algorithm", "ED25519", "-out", text(&plain)]);
        let odd = world.keys.import(&read_pkcs8_pem(&plain).unwrap(), Usage::Tls, "odd", None, now());
        assert!(matches!(odd, Err(KeyError::Unsupported(_))));
    }

    #[test]
    fn the_wrong_pin_opens_nothing() {
        let world = World::new();
        for _ in 0..3 {
            world.key(KeyType::EcP256);
        }
        assert_eq!(open(&directory(&world), "wrong").err(), Some(KeyError::WrongPin));
        assert_eq!(open(&directory(&world), "").err(), Some(KeyError::WrongPin));
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let world = World::new();
        let path = key_file(&world, &world.key(KeyType::EcP256));
        for bad in [0o640, 0o604, 0o660, 0o611] {
            set_mode(&path, bad);
            let refused = open(&directory(&world), PIN).err();
            assert!(matches!(refused, Some(KeyError::Permissions { .. })), "{bad:o}: {refused:?}");
        }
        set_mode(&path, 0o400);
        assert!(open(&directory(&world), PIN).is_ok());
    }

    #[test]
    fn a_link_in_place_of_a_key_file_is_refused() {
        let world = World::new();
        let path = key_file(&world, &world.key(KeyType::EcP256));
        let elsewhere = world.dir.path().join("elsewhere.pem");
        fs::copy(&path, &elsewhere).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(matches!(open(&directory(&world), PIN).err(), Some(KeyError::Permissions { .. })));
    }

    #[test]
    fn a_swapped_cut_or_foreign_key_file_is_refused() {
        let world = World::new();
        let (one, two) = (world.key(KeyType::EcP256), world.key(KeyType::EcP256));
        fs::copy(key_file(&world, &two), key_file(&world, &one)).unwrap();
        assert!(matches!(open(&directory(&world), PIN).err(), Some(KeyError::Malformed { .. })));

        let world = World::new();
        let path = key_file(&world, &world.key(KeyType::EcP256));
        let whole = fs::read_to_string(&path).unwrap();
        for bad in
            ["", &whole[..whole.len() / 2], "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
        {
            world.file(&format!("keys/{}", path.file_name().unwrap().to_str().unwrap()), bad);
            assert!(matches!(open(&directory(&world), PIN).err(), Some(KeyError::Malformed { .. })), "{bad}");
        }
    }

    #[test]
    fn a_missing_key_file_is_an_error_and_a_new_one_is_taken_up() {
        let world = World::new();
        let other = open(&directory(&world), PIN).unwrap();
        let id = world.key(KeyType::EcP256);
        assert_eq!(other.public_key(&id).err(), Some(KeyError::NotFound(id.clone())));
        other.reload().unwrap();
        assert!(other.public_key(&id).is_ok());
        let late = world.key(KeyType::EcP256);
        fs::remove_file(key_file(&world, &late)).unwrap();
        assert!(matches!(other.reload(), Err(KeyError::Io { .. })));
        assert!(other.public_key(&id).is_ok());
    }

    #[test]
    fn a_signing_key_is_not_given_to_tls() {
        let world = World::new();
        let id = world.keys.create(KeyType::EcP256, Usage::Sign, "member", None, now()).unwrap();
        for keys in [&world.keys, &open(&directory(&world), PIN).unwrap()] {
            assert!(matches!(keys.tls_private_key(&id), Err(KeyError::Unsupported(_))));
        }
    }

    #[tokio::test]
    async fn a_certificate_goes_to_its_key_and_to_no_other() {
        let world = World::new();
        let root = world.root(KeyType::EcP256, "CN=Root,C=EE", None).await;
        let leaf = world.issue(&root, Profile::Auth, "CN=ss1,C=EE").await;
        let mut inventory = Inventory::load(directory(&world)).unwrap();
        let pem = format!("{}{}", leaf.certificate.to_pem(), root.certificate.to_pem());
        assert_eq!(inventory.import_certificate(&pem).unwrap(), leaf.key);
        let inventory = Inventory::load(directory(&world)).unwrap();
        assert_eq!(inventory.find(&leaf.key).unwrap().certificates.len(), 2);
        assert_eq!(inventory.find(&leaf.key).unwrap().certificate(), Some(&leaf.certificate));

        let stranger = World::new();
        let mut elsewhere = Inventory::load(directory(&stranger)).unwrap();
        assert_eq!(elsewhere.import_certificate(&pem), Err(PkiError::Key(KeyError::CertificateMismatch)));
        let mismatched = format!("keys/{}.cert.pem", leaf.key);
        world.file(&mismatched, root.certificate.to_pem());
        assert_eq!(Inventory::load(directory(&world)).err(), Some(KeyError::CertificateMismatch));
    }

    #[test]
    fn a_description_with_an_unknown_field_is_refused() {
        let world = World::new();
        let id = world.key(KeyType::EcP256);
        let path = directory(&world).join(format!("{id}.toml"));
        let good = fs::read_to_string(&path).unwrap();
        world.file(&format!("keys/{id}.toml"), format!("{good}colour = \"red\"\n"));
        assert!(matches!(Inventory::load(directory(&world)), Err(KeyError::Malformed { .. })));
    }

    #[test]
    fn a_pin_file_is_read_without_its_line_end_and_only_when_closed() {
        let world = World::new();
        let path = world.file("pin", "1234 \n");
        set_mode(&path, 0o600);
        assert_eq!(Pin::from_file(&path).unwrap().expose(), b"1234 ");
        set_mode(&path, 0o644);
        assert!(matches!(Pin::from_file(&path).err(), Some(KeyError::Permissions { .. })));
        let empty = world.file("empty", "\n");
        set_mode(&empty, 0o600);
        assert!(matches!(Pin::from_file(&empty).err(), Some(KeyError::Malformed { .. })));
        assert!(matches!(Pin::from_file(world.dir.path()).err(), Some(KeyError::Permissions { .. })));
        assert!(matches!(Pin::from_file("/nowhere/pin").err(), Some(KeyError::Io { .. })));
    }

    #[test]
    fn a_key_file_of_somebody_else_is_refused() {
        let world = World::new();
        let path = key_file(&world, &world.key(KeyType::EcP256));
        if std::os::unix::fs::chown(&path, Some(65534), None).is_err() {
            eprintln!("not run: only root can give a file away");
            return;
        }
        assert!(matches!(open(&directory(&world), PIN).err(), Some(KeyError::Permissions { .. })));
    }
}
