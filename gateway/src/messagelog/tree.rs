//! The Merkle tree over the frames, grown leaf by leaf.
//!
//! Specification: RFC 6962 2.1 (RFC 9162 2.1.1), SHA-256.
//! Not here: signing its head, proofs.

use cert_authority::{algorithm::DigestAlgorithm, crypto};

/// A hash of the tree.
pub type Hash = [u8; 32];

/// The leaf hash of `data` that lies in several pieces.
pub fn leaf_hash(data: &[&[u8]]) -> Hash {
    let mut hasher = crypto::Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(&[0]);
    data.iter().for_each(|piece| hasher.update(piece));
    to_hash(&hasher.finish())
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    to_hash(&crypto::digest_parts(DigestAlgorithm::Sha256, &[&[1], left, right]))
}

/// SHA-256 as an array.
pub(crate) fn sha256(data: &[u8]) -> Hash {
    to_hash(&crypto::digest(DigestAlgorithm::Sha256, data))
}

pub(crate) fn to_hash(digest: &crypto::Digest) -> Hash {
    digest.as_ref().try_into().unwrap_or([0; 32])
}

/// A tree of which only the right edge is kept: the roots of its perfect subtrees, the biggest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    edge: Vec<Hash>,
}

impl Tree {
    /// The tree without leaves.
    pub const EMPTY: Self = Self { size: 0, edge: Vec::new() };

    /// The tree of `size` leaves with this right edge; none when the edge has the wrong number of hashes.
    pub fn from_edge(size: u64, edge: Vec<Hash>) -> Option<Self> {
        (usize::try_from(size.count_ones()).ok()? == edge.len()).then_some(Self { size, edge })
    }

    /// How many leaves it has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its perfect subtrees, the biggest first: as many as `size` has binary ones.
    pub fn edge(&self) -> &[Hash] {
        &self.edge
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.edge.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.edge.push(node);
        self.size += 1;
    }

    /// The root; of the empty tree the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut smaller = self.edge.iter().rev();
        let Some(mut root) = smaller.next().copied() else { return sha256(&[]) };
        for bigger in smaller {
            root = node_hash(bigger, &root);
        }
        root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 2.1 word by word: splits at the largest power of two smaller than n.
    fn by_definition(leaves: &[&[u8]]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [one] => leaf_hash(&[one]),
            more => {
                let k = more.len().next_power_of_two() / 2;
                node_hash(&by_definition(&more[..k]), &by_definition(&more[k..]))
            }
        }
    }

    #[test]
    fn roots_are_those_of_the_published_test_vectors() {
        // The reference vectors of certificate-transparency (merkletree tests).
        let leaves: [&str; 8] = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        for (leaf, root) in leaves.iter().zip(roots) {
            tree.push(leaf_hash(&[&hex::decode(leaf).unwrap()]));
            assert_eq!(hex::encode(tree.root()), root);
        }
    }

    #[test]
    fn the_grown_tree_is_the_defined_tree_and_goes_on_from_its_edge() {
        let data: Vec<Vec<u8>> = (0u8..70).map(|i| vec![i; usize::from(i)]).collect();
        let leaves: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let mut tree = Tree::default();
        assert_eq!(tree.root(), by_definition(&[]));
        for n in 0..leaves.len() {
            tree.push(leaf_hash(&[leaves[n]]));
            assert_eq!(tree.root(), by_definition(&leaves[..=n]), "{n}");
            let again = Tree::from_edge(tree.size(), tree.edge().to_vec()).unwrap();
            assert_eq!(again, tree);
        }
        assert_eq!(Tree::from_edge(3, vec![[0; 32]]), None);
    }
}
