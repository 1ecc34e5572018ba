//! The tree of hashes: roots, proofs that a leaf is in a tree, proofs that one tree is the beginning of another.
//!
//! Specification: RFC 9162 2.1.1 to 2.1.4 (RFC 6962 2.1), SHA-256.
//!
//! Proofs are made from the hashes of perfect subtrees, which [`HashReader`] gives: subtree `index` of `level` is over the
//! leaves from `index << level` to `(index + 1) << level`.
//!
//! Not here: where those hashes are kept; who has signed a root.

use crate::{
    algorithm::DigestAlgorithm,
    crypto::{Digest, Hasher, digest, digest_parts},
};

/// A hash of the tree.
pub type Hash = [u8; 32];

/// The hash of a leaf.
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(&[0]);
    hasher.update(data);
    to_hash(&hasher.finish())
}

/// The hash of the tree of two subtrees.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    to_hash(&digest_parts(DigestAlgorithm::Sha256, &[&[1], left, right]))
}

/// The root of the tree without leaves: the hash of nothing.
pub fn empty_root() -> Hash {
    to_hash(&digest(DigestAlgorithm::Sha256, &[]))
}

fn to_hash(digest: &Digest) -> Hash {
    digest.as_ref().try_into().unwrap_or([0; 32])
}

/// Where the hashes of perfect subtrees come from.
pub trait HashReader {
    /// Why a hash cannot be had.
    type Error;

    /// The root of a perfect subtree that lies wholly in the tree.
    ///
    /// # Errors
    /// Its own.
    fn hash(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// Why a proof is not given, or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf, or no such smaller tree, in the tree.
    #[error("it is not within the tree")]
    OutOfRange,
    /// The proof does not lead from the one to the other.
    #[error("the proof does not hold")]
    Invalid,
}

/// The root of the tree of the first `size` leaves.
///
/// # Errors
/// Those of the reader.
pub fn root<R: HashReader>(reader: &R, size: u64) -> Result<Hash, R::Error> {
    if size == 0 { Ok(empty_root()) } else { range(reader, 0, size) }
}

/// The path from the leaf `index` to the root of the tree of `size` leaves, the leaf's sibling first. None when the leaf
/// is not in that tree.
///
/// # Errors
/// Those of the reader.
pub fn inclusion<R: HashReader>(reader: &R, index: u64, size: u64) -> Result<Option<Vec<Hash>>, R::Error> {
    if index >= size {
        return Ok(None);
    }
    let mut path = Vec::new();
    let (mut low, mut high) = (0, size);
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(range(reader, middle, high)?);
            high = middle;
        } else {
            path.push(range(reader, low, middle)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(Some(path))
}

/// The proof that the tree of `old` leaves is the beginning of the tree of `size` leaves. None when `old` is not within
/// `size`; empty when `old` is 0 or `size`.
///
/// # Errors
/// Those of the reader.
pub fn consistency<R: HashReader>(reader: &R, old: u64, size: u64) -> Result<Option<Vec<Hash>>, R::Error> {
    if old > size {
        return Ok(None);
    }
    if old == 0 || old == size {
        return Ok(Some(Vec::new()));
    }
    let mut path = Vec::new();
    let (mut low, mut high) = (0, size);
    // As long as the old tree begins where the range does, its root is what is to be proven and need not be told.
    while high != old {
        let middle = low + split(high - low);
        if old <= middle {
            path.push(range(reader, middle, high)?);
            high = middle;
        } else {
            path.push(range(reader, low, middle)?);
            low = middle;
        }
    }
    if low > 0 {
        path.push(range(reader, low, high)?);
    }
    path.reverse();
    Ok(Some(path))
}

/// Whether `leaf` is the leaf `index` of the tree of `size` leaves with this root.
///
/// # Errors
/// [`ProofError`].
pub fn verify_inclusion(
    path: &[Hash],
    leaf: &Hash,
    index: u64,
    size: u64,
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut first, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return Err(ProofError::Invalid);
        }
        if first & 1 == 1 || first == last {
            hash = node_hash(sibling, &hash);
            climb_while_left(&mut first, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        first >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(ProofError::Invalid) }
}

/// Whether the tree of `old` leaves with `old_root` is the beginning of the tree of `size` leaves with `root`.
///
/// # Errors
/// [`ProofError`].
pub fn verify_consistency(
    path: &[Hash],
    old: u64,
    old_root: &Hash,
    size: u64,
    root: &Hash,
) -> Result<(), ProofError> {
    if old > size {
        return Err(ProofError::OutOfRange);
    }
    if old == 0 || old == size {
        let fits = if old == 0 { *old_root == empty_root() } else { old_root == root };
        return if path.is_empty() && fits { Ok(()) } else { Err(ProofError::Invalid) };
    }
    let (mut first, mut last) = (old - 1, size - 1);
    while first & 1 == 1 {
        first >>= 1;
        last >>= 1;
    }
    // Where the old tree is a perfect one, its root is the first node itself.
    let (start, rest) =
        if first == 0 { (old_root, path) } else { path.split_first().ok_or(ProofError::Invalid)? };
    let (mut from_old, mut from_new) = (*start, *start);
    for node in rest {
        if last == 0 {
            return Err(ProofError::Invalid);
        }
        if first & 1 == 1 || first == last {
            from_old = node_hash(node, &from_old);
            from_new = node_hash(node, &from_new);
            climb_while_left(&mut first, &mut last);
        } else {
            from_new = node_hash(&from_new, node);
        }
        first >>= 1;
        last >>= 1;
    }
    if last == 0 && from_old == *old_root && from_new == *root { Ok(()) } else { Err(ProofError::Invalid) }
}

/// A node at the right edge has no sibling on the levels where it stands on the left: it goes up as it is.
const fn climb_while_left(first: &mut u64, last: &mut u64) {
    while *first & 1 == 0 && *first != 0 {
        *first >>= 1;
        *last >>= 1;
    }
}

/// The largest power of two below `count`, which is more than 1.
const fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// The root over the leaves from `low` to `high`, a range as the tree's definition splits it: perfect subtrees, the
/// biggest first.
fn range<R: HashReader>(reader: &R, low: u64, high: u64) -> Result<Hash, R::Error> {
    let level = (high - low).ilog2();
    let perfect = 1_u64 << level;
    let left = reader.hash(level, low >> level)?;
    if high - low == perfect {
        return Ok(left);
    }
    Ok(node_hash(&left, &range(reader, low + perfect, high)?))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// RFC 9162 2.1.1 word by word.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            more => {
                let k = more.len().next_power_of_two() / 2;
                node_hash(&by_definition(&more[..k]), &by_definition(&more[k..]))
            }
        }
    }

    struct Leaves(Vec<Hash>);

    impl HashReader for Leaves {
        type Error = Infallible;

        fn hash(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
            let from = usize::try_from(index << level).unwrap();
            Ok(by_definition(&self.0[from..from + (1 << level)]))
        }
    }

    fn leaves(count: u8) -> Leaves {
        Leaves((0..count).map(|i| leaf_hash(&vec![i; usize::from(i)])).collect())
    }

    /// The leaves of certificate-transparency's tests of its tree.
    fn published() -> Leaves {
        let leaves = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        Leaves(leaves.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect())
    }

    fn hashes(of: &[&str]) -> Vec<Hash> {
        of.iter().map(|hash| hex::decode(hash).unwrap().try_into().unwrap()).collect()
    }

    #[test]
    fn proofs_are_those_of_the_published_test_vectors() {
        let tree = published();
        let root8 = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
        assert_eq!(hex::encode(root(&tree, 8).unwrap()), root8);
        let expected = hashes(&[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]);
        assert_eq!(inclusion(&tree, 0, 8).unwrap().unwrap(), expected);
        let expected = hashes(&[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]);
        assert_eq!(consistency(&tree, 6, 8).unwrap().unwrap(), expected);
        assert_eq!(consistency(&tree, 1, 1).unwrap().unwrap(), hashes(&[]));
    }

    #[test]
    fn every_leaf_of_every_tree_has_a_proof_that_fits_nothing_else() {
        let all = leaves(40);
        for size in 1..=40_u64 {
            let top = root(&all, size).unwrap();
            assert_eq!(top, by_definition(&all.0[..usize::try_from(size).unwrap()]));
            assert_eq!(inclusion(&all, size, size), Ok(None));
            for index in 0..size {
                let leaf = all.0[usize::try_from(index).unwrap()];
                let path = inclusion(&all, index, size).unwrap().unwrap();
                let verify =
                    |path: &[Hash], leaf, index, size, root| verify_inclusion(path, leaf, index, size, root);
                assert_eq!(verify(&path, &leaf, index, size, &top), Ok(()), "{index} in {size}");
                let other = [7; 32];
                assert!(verify(&path, &other, index, size, &top).is_err());
                assert!(verify(&path, &leaf, index, size, &other).is_err());
                assert_eq!(verify(&path, &leaf, size, size, &top), Err(ProofError::OutOfRange));
                assert!(verify(&[path.as_slice(), &[other]].concat(), &leaf, index, size, &top).is_err());
                for at in 0..path.len() {
                    let mut changed = path.clone();
                    changed[at][5] ^= 1;
                    assert!(verify(&changed, &leaf, index, size, &top).is_err());
                    changed.remove(at);
                    assert!(verify(&changed, &leaf, index, size, &top).is_err());
                }
                for elsewhere in (0..size).filter(|elsewhere| *elsewhere != index) {
                    assert!(verify(&path, &leaf, elsewhere, size, &top).is_err(), "{index} {elsewhere}");
                }
            }
        }
    }

    #[test]
    fn every_tree_goes_on_from_every_smaller_one_and_from_no_other() {
        let all = leaves(40);
        for size in 0..=40_u64 {
            let top = root(&all, size).unwrap();
            assert_eq!(consistency(&all, size + 1, size), Ok(None));
            for old in 0..=size {
                let before = root(&all, old).unwrap();
                let path = consistency(&all, old, size).unwrap().unwrap();
                let verify = verify_consistency;
                assert_eq!(verify(&path, old, &before, size, &top), Ok(()), "{old} to {size}");
                let other = [7; 32];
                assert!(verify(&path, old, &other, size, &top).is_err(), "{old} to {size}");
                assert!(verify(&[path.as_slice(), &[other]].concat(), old, &before, size, &top).is_err());
                if old > 0 {
                    assert!(verify(&path, old, &before, size, &other).is_err(), "{old} to {size}");
                }
                for at in 0..path.len() {
                    let mut changed = path.clone();
                    changed[at][5] ^= 1;
                    assert!(verify(&changed, old, &before, size, &top).is_err(), "{old} to {size}");
                    changed.remove(at);
                    assert!(verify(&changed, old, &before, size, &top).is_err(), "{old} to {size}");
                }
            }
            assert_eq!(verify_consistency(&[], size + 1, &top, size, &top), Err(ProofError::OutOfRange));
        }
    }

    #[test]
    fn a_forked_history_has_no_proof() {
        let ours = leaves(20);
        let mut forked = Leaves(ours.0.clone());
        forked.0[6] = [9; 32];
        let before = root(&ours, 13).unwrap();
        let path = consistency(&forked, 13, 20).unwrap().unwrap();
        let top = root(&forked, 20).unwrap();
        assert_eq!(verify_consistency(&path, 13, &before, 20, &top), Err(ProofError::Invalid));
    }
}
