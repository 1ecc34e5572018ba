use super::*;
use crate::messagelog::{beside::Folder, disk::SystemDisk, key};
use cert_authority::clock::{FixedClock, UnixTime};
use futures_util::TryStreamExt;
use std::os::unix::fs::FileExt as _;

fn vault(directory: &Path, quota: u64) -> Vault {
    let kek = directory.join("kek");
    key::create_kek(&SystemDisk, &kek).unwrap();
    for name in ["keys", "bodies"] {
        let _ = std::fs::create_dir(directory.join(name));
    }
    let keys = KeyRing::open(Arc::new(Folder::new(directory, Arc::new(SystemDisk))), &kek).unwrap();
    let clock = FixedClock::new(UnixTime::from_secs(1_770_000_000));
    Vault::new(
        keys,
        directory.join("bodies"),
        KeyGrouping::Period,
        quota,
        Arc::new(clock),
        Arc::new(SystemDisk),
    )
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

async fn seal(vault: &Vault, content: &[u8], piece: usize) -> SealedBody {
    let mut writer = vault.writer().unwrap();
    for piece in content.chunks(piece) {
        writer.write(piece).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn read(body: &SealedBody) -> Result<Vec<u8>, LogError> {
    let pieces: Vec<Bytes> = body.stream().try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn bodies_of_every_length_are_read_as_they_were_written_any_number_of_times() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault(directory.path(), 1 << 30);
    for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 4 * FRAME, 4 * FRAME + 1, 9 * FRAME, 700_001] {
        let plain = content(length);
        for piece in [1000, FRAME, 1 << 20] {
            let body = seal(&vault, &plain, piece).await;
            assert_eq!(body.length(), u64::try_from(length).unwrap());
            assert_eq!(body.in_memory().is_some(), length <= FRAME, "{length}");
            assert_eq!(read(&body).await.unwrap(), plain, "{length} by {piece}");
            assert_eq!(body.read().unwrap(), plain, "again");
        }
    }
}

#[tokio::test]
async fn no_plain_text_and_no_name_is_in_the_directory_until_a_body_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault(directory.path(), 1 << 30);
    let body = seal(&vault, &content(200_000), 5000).await;
    let folder = directory.path().join("bodies").join(body.key_id());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    let stored = vault.keep(&body).unwrap();
    assert_eq!(stored.place, Place::File);
    let path = folder.join(hex::encode(stored.ciphertext));
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(tree::sha256(&bytes), stored.ciphertext);
    assert!(!bytes.windows(16).any(|window| window == &content(16)[..]));
    drop(body);
    let kept = vault.open(&stored, 200_000, None).unwrap();
    assert_eq!(read(&kept).await.unwrap(), content(200_000));
}

#[tokio::test]
async fn a_changed_shortened_or_lengthened_body_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault(directory.path(), 1 << 30);
    let body = seal(&vault, &content(3 * FRAME), 1 << 20).await;
    let stored = vault.keep(&body).unwrap();
    let path = body_file(&directory.path().join("bodies"), &stored.key, &stored.ciphertext);
    let whole = std::fs::read(&path).unwrap();
    const LENGTH: u64 = 3 * 65_536;
    let judge = |bytes: Vec<u8>, stored: Stored| {
        let (vault, path) = (vault.clone(), path.clone());
        async move {
            let file = std::fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            read(&vault.open(&stored, LENGTH, None).unwrap()).await
        }
    };
    assert_eq!(judge(whole.clone(), stored.clone()).await.unwrap(), content(3 * FRAME));
    for at in [0, 5, HEAD, HEAD + SEALED_FRAME, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(matches!(judge(changed, stored.clone()).await, Err(LogError::Body(_))), "changed at {at}");
    }
    let mut cut = stored.clone();
    cut.length -= u64::try_from(SEALED_FRAME).unwrap();
    assert!(matches!(judge(whole.clone(), cut).await, Err(LogError::Body(_))), "a frame less");
    assert!(matches!(judge(whole[..1000].to_vec(), stored.clone()).await, Err(LogError::Body(_))), "cut off");
    let swapped = [
        &whole[..HEAD],
        &whole[HEAD + SEALED_FRAME..HEAD + 2 * SEALED_FRAME],
        &whole[HEAD..HEAD + SEALED_FRAME],
        &whole[HEAD + 2 * SEALED_FRAME..],
    ]
    .concat();
    assert!(matches!(judge(swapped, stored).await, Err(LogError::Body(_))), "frames swapped");
}

#[tokio::test]
async fn the_quota_bounds_what_is_in_flight_and_is_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault(directory.path(), 1000);
    let first = seal(&vault, &content(900), 100).await;
    assert_eq!((vault.in_flight(), vault.ready()), (900, Ok(())));
    let mut second = vault.writer().unwrap();
    assert_eq!(second.write(&content(200)).await, Err(LogError::Quota(1000)));
    assert_eq!(vault.ready(), Err(LogError::Quota(1000)));
    drop((first, second));
    assert_eq!((vault.in_flight(), vault.ready()), (0, Ok(())));
    // At the quota, and one byte past it.
    let mut whole = vault.writer().unwrap();
    assert_eq!(whole.write(&content(1000)).await, Ok(()));
    assert_eq!(whole.write(&content(1)).await, Err(LogError::Quota(1000)));
}

#[tokio::test]
async fn bodies_of_a_destroyed_key_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let vault = vault(directory.path(), 1 << 30);
    let small = vault.seal(b"small").unwrap();
    let large = seal(&vault, &content(200_000), 5000).await;
    let (small_stored, large_stored) = (vault.keep(&small).unwrap(), vault.keep(&large).unwrap());
    vault.destroy_key(small.key_id()).unwrap();
    for stored in [small_stored, large_stored] {
        let opened = vault.open(&stored, 5, small.in_memory());
        assert_eq!(opened.unwrap_err(), LogError::KeyGone(stored.key));
    }
    assert!(!directory.path().join("bodies").join(small.key_id()).exists());
}
