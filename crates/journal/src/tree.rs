//! The RFC 6962 Merkle tree: hashing, growing, proving, and checking proofs. Nothing here reads a file or knows a tile.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// A SHA-256 Merkle tree hash.
pub type Hash = [u8; 32];

/// Why a proof does not show what it claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The claim itself is impossible: the index or old size lies outside the tree.
    #[error("position {position} does not lie in a tree of {size} leaves")]
    OutOfRange {
        /// The leaf index or old size claimed.
        position: u64,
        /// The size of the (newer) tree.
        size: u64,
    },
    /// The proof has too few or too many hashes for these sizes.
    #[error("proof of {hashes} hashes has the wrong length for these tree sizes")]
    Length {
        /// How many hashes were given.
        hashes: usize,
    },
    /// The proof leads to another root than the one given.
    #[error("proof leads to a different root: the leaf or tree is not the one that was signed")]
    Root,
}

/// RFC 6962 §2.1: `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(entry);
    fixed(context.finish().as_ref())
}

/// RFC 6962 §2.1: `SHA-256(0x01 || left || right)`.
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut joined = [1u8; 65];
    joined[1..33].copy_from_slice(left);
    joined[33..].copy_from_slice(right);
    sha256(&joined)
}

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    fixed(digest(&SHA256, bytes).as_ref())
}

fn fixed(bytes: &[u8]) -> Hash {
    bytes.try_into().expect("SHA-256 output is 32 bytes")
}

/// The right edge of a growing tree: the roots of its perfect subtrees, largest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Rebuilds the edge of a tree of `size` leaves from stored nodes; `node(level, index)` is the root of the
    /// perfect subtree over leaves `index << level ..`.
    pub(crate) fn load<E>(size: u64, mut node: impl FnMut(u32, u64) -> Result<Hash, E>) -> Result<Self, E> {
        let mut peaks = Vec::new();
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            peaks.push(node(level, (size >> level) - 1)?);
        }
        Ok(Self { size, peaks })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds one leaf; `completed(level, index, hash)` is told of every perfect subtree this completes, the leaf first.
    pub(crate) fn push(&mut self, leaf: Hash, mut completed: impl FnMut(u32, u64, &Hash)) {
        let (mut node, mut level, mut index) = (leaf, 0, self.size);
        completed(level, index, &node);
        while index & 1 == 1 {
            let left = self.peaks.pop().expect("a set bit of the size has its peak");
            node = node_hash(&left, &node);
            level += 1;
            index >>= 1;
            completed(level, index, &node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    pub(crate) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => sha256(b""),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// The largest power of two smaller than `size` (RFC 6962 calls it k); `size` is at least 2.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// MTH(D[low:high]) from stored perfect subtrees. `low` must be a multiple of the range's enclosing power of two, as
/// every range of an RFC 6962 proof is.
fn subtree<E>(low: u64, high: u64, node: &mut impl FnMut(u32, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    let width = high - low;
    if width.is_power_of_two() {
        let level = width.trailing_zeros();
        return node(level, low >> level);
    }
    let middle = low + split(width);
    Ok(node_hash(&subtree(low, middle, node)?, &subtree(middle, high, node)?))
}

/// RFC 6962 §2.1.1, PATH(index, D[size]). The caller has checked `index < size`.
pub(crate) fn inclusion_proof<E>(
    index: u64,
    size: u64,
    node: &mut impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let (mut low, mut high, mut path) = (0, size, Vec::new());
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(subtree(middle, high, node)?);
            high = middle;
        } else {
            path.push(subtree(low, middle, node)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// RFC 6962 §2.1.2, PROOF(old, D[size]). The caller has checked `old <= size`.
pub(crate) fn consistency_proof<E>(
    old: u64,
    size: u64,
    node: &mut impl FnMut(u32, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut path = Vec::new();
    if old == 0 || old == size {
        return Ok(path);
    }
    let (mut low, mut high) = (0, size);
    while old != high {
        let middle = low + split(high - low);
        if old <= middle {
            path.push(subtree(middle, high, node)?);
            high = middle;
        } else {
            path.push(subtree(low, middle, node)?);
            low = middle;
        }
    }
    // When the old tree is itself this left subtree the verifier already holds its root (the `b` flag of the RFC).
    if low != 0 {
        path.push(subtree(low, high, node)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks that `leaf` is leaf number `index` of the tree of `size` leaves with `root` (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`ProofError`] says whether the claim, the proof's length or its outcome is wrong.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange { position: index, size });
    }
    let wrong_length = ProofError::Length { hashes: proof.len() };
    let (mut position, mut last, mut computed) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(wrong_length);
        }
        if position & 1 == 1 || position == last {
            computed = node_hash(sibling, &computed);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            computed = node_hash(&computed, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    match (last == 0, computed == *root) {
        (false, _) => Err(wrong_length),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}

/// Checks that the tree (`old_size`, `old_root`) is a prefix of (`size`, `root`) (RFC 9162 §2.1.4.2). From the empty
/// tree only its own root and an empty proof are accepted.
///
/// # Errors
/// [`ProofError`] says whether the claim, the proof's length or its outcome is wrong.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > size {
        return Err(ProofError::OutOfRange { position: old_size, size });
    }
    let wrong_length = ProofError::Length { hashes: proof.len() };
    if old_size == size || old_size == 0 {
        let known = if old_size == size { *root } else { sha256(b"") };
        return match (proof.is_empty(), known == *old_root) {
            (false, _) => Err(wrong_length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let (seed, rest) = match (old_size.is_power_of_two(), proof) {
        (true, rest) => (*old_root, rest),
        (false, [first, rest @ ..]) => (*first, rest),
        (false, []) => return Err(wrong_length),
    };
    let (mut position, mut last) = (old_size - 1, size - 1);
    while position & 1 == 1 {
        position >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (seed, seed);
    for sibling in rest {
        if last == 0 {
            return Err(wrong_length);
        }
        if position & 1 == 1 || position == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    match (last == 0, old == *old_root && new == *root) {
        (false, _) => Err(wrong_length),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    /// The eight leaves of the Certificate Transparency reference vectors, and the root after each.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn reference_roots() {
        let mut edge = Frontier::default();
        assert_eq!(edge.root()[..], hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
        for (leaf, root) in LEAVES.iter().zip(ROOTS) {
            edge.push(leaf_hash(&hex(leaf)), |_, _, _| {});
            assert_eq!(edge.root()[..], hex(root));
        }
    }

    /// RFC 6962 §2.1 read literally.
    fn naive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(b""),
            [one] => *one,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(&naive(left), &naive(right))
            }
        }
    }

    /// RFC 6962 §2.1.1 read literally.
    fn naive_path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() <= 1 {
            return vec![];
        }
        let k = split(leaves.len() as u64) as usize;
        let (left, right) = leaves.split_at(k);
        let (mut path, sibling) =
            if m < k { (naive_path(m, left), naive(right)) } else { (naive_path(m - k, right), naive(left)) };
        path.push(sibling);
        path
    }

    /// RFC 6962 §2.1.2 read literally.
    fn naive_subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if whole { vec![] } else { vec![naive(leaves)] };
        }
        let k = split(leaves.len() as u64) as usize;
        let (left, right) = leaves.split_at(k);
        let (mut path, sibling) = if m <= k {
            (naive_subproof(m, left, whole), naive(right))
        } else {
            (naive_subproof(m - k, right, false), naive(left))
        };
        path.push(sibling);
        path
    }

    fn nodes(leaves: &[Hash]) -> impl FnMut(u32, u64) -> Result<Hash, ()> + '_ {
        |level, index| {
            let (low, high) = ((index << level) as usize, ((index + 1) << level) as usize);
            Ok(naive(&leaves[low..high]))
        }
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn every_proof_of_every_small_tree_matches_the_rfc_and_verifies() {
        let all = leaves(40);
        for size in 1..=all.len() {
            let tree = &all[..size];
            let root = naive(tree);
            let loaded = Frontier::load(size as u64, nodes(tree)).unwrap();
            assert_eq!(loaded.root(), root);
            for index in 0..size {
                let proof = inclusion_proof(index as u64, size as u64, &mut nodes(tree)).unwrap();
                assert_eq!(proof, naive_path(index, tree));
                assert_eq!(verify_inclusion(&tree[index], index as u64, size as u64, &proof, &root), Ok(()));
            }
            for old in 1..=size {
                let proof = consistency_proof(old as u64, size as u64, &mut nodes(tree)).unwrap();
                assert_eq!(proof, naive_subproof(old, tree, true));
                assert_eq!(
                    verify_consistency(old as u64, &naive(&tree[..old]), size as u64, &root, &proof),
                    Ok(())
                );
            }
        }
    }

    #[test]
    fn empty_tree_is_consistent_only_as_itself() {
        let (empty, root) = (sha256(b""), leaf_hash(b"x"));
        assert_eq!(verify_consistency(0, &empty, 1, &root, &[]), Ok(()));
        assert_eq!(verify_consistency(0, &root, 1, &root, &[]), Err(ProofError::Root));
        assert_eq!(verify_consistency(0, &empty, 1, &root, &[root]), Err(ProofError::Length { hashes: 1 }));
        assert_eq!(
            verify_consistency(2, &root, 1, &root, &[]),
            Err(ProofError::OutOfRange { position: 2, size: 1 })
        );
        assert_eq!(
            verify_inclusion(&root, 1, 1, &[], &root),
            Err(ProofError::OutOfRange { position: 1, size: 1 })
        );
    }

    proptest! {
        #[test]
        fn a_changed_proof_never_verifies(size in 2u64..300, pick in any::<u64>(), bit in any::<u16>(), cut in any::<bool>()) {
            let tree = leaves(size);
            let root = naive(&tree);
            let index = pick % size;
            let old = 1 + pick % (size - 1);
            let old_root = naive(&tree[..old as usize]);
            let inclusion = inclusion_proof(index, size, &mut nodes(&tree)).unwrap();
            let consistency = consistency_proof(old, size, &mut nodes(&tree)).unwrap();
            prop_assert_eq!(&inclusion, &naive_path(index as usize, &tree));
            prop_assert_eq!(&consistency, &naive_subproof(old as usize, &tree, true));
            prop_assert!(verify_inclusion(&tree[index as usize], index, size, &inclusion, &root).is_ok());
            prop_assert!(verify_consistency(old, &old_root, size, &root, &consistency).is_ok());

            let damage = |proof: &[Hash]| {
                let mut proof = proof.to_vec();
                if cut { proof.pop(); } else {
                    let at = bit as usize % (proof.len() * 256);
                    proof[at / 256][at % 256 / 8] ^= 1 << (at % 8);
                }
                proof
            };
            prop_assert!(verify_inclusion(&tree[index as usize], index, size, &damage(&inclusion), &root).is_err());
            prop_assert!(verify_consistency(old, &old_root, size, &root, &damage(&consistency)).is_err());
            let other = (index + 1) % size;
            prop_assert!(verify_inclusion(&tree[other as usize], index, size, &inclusion, &root).is_err());
        }
    }
}
