//! Signed notes, checkpoints, proofs, requests to witnesses. All of them are texts with one way to write them.

use cert_authority::tlog::{Checkpoint, InclusionProof, Note, Signature, VerifierKey, witness};

/// A signed note.
pub fn note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data, "one note, two texts");
        let again = Note::new(note.text(), note.signatures().to_vec()).unwrap();
        assert_eq!(again.to_string().as_bytes(), data);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(signature) = Signature::parse(text) {
        assert_eq!(Signature::parse(&signature.to_string()).as_ref(), Ok(&signature));
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(
            key.to_string().parse::<VerifierKey>().as_ref().map(ToString::to_string),
            Ok(key.to_string())
        );
    }
}

/// A checkpoint.
pub fn checkpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(checkpoint) = Checkpoint::parse(text) else { return };
    assert_eq!(checkpoint.to_string(), text, "one checkpoint, two texts");
}

/// A request to a witness.
pub fn witness_request(data: &[u8]) {
    let Ok(request) = witness::AddCheckpoint::parse(data) else { return };
    assert_eq!(request.to_string().as_bytes(), data, "one request, two texts");
}

/// A proof of inclusion.
pub fn inclusion_proof(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(proof) = InclusionProof::parse(text) else { return };
    assert_eq!(proof.to_string(), text, "one proof, two texts");
}
