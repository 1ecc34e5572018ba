//! Looks into a process that runs: for secrets in its memory, and what Linux shows of its threads.
//!
//! Its memory needs root, or a process that may be traced: ours may not be.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;

use memchr::memmem;

/// How much is read at once; what lies across two pieces is found, too.
const PIECE: usize = 4 << 20;
const PAGE: u64 = 4096;

/// A line of `status` below `/proc`, of each thread.
///
/// # Errors
/// The system's.
pub fn of_threads(process: u32, name: &str) -> io::Result<Vec<String>> {
    let of_one = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    let threads = fs::read_dir(format!("/proc/{process}/task"))?;
    threads.map(|thread| Ok(of_one(fs::read_to_string(thread?.path().join("status"))?))).collect()
}

/// How often each of the needles stands in what the process can write: heap, stacks, data.
///
/// # Errors
/// The system's: `PermissionDenied` where the memory is none of ours to read.
pub fn hits(process: u32, needles: &[&[u8]]) -> io::Result<Vec<usize>> {
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let overlap = needles.iter().map(|needle| needle.len()).max().unwrap_or(1).saturating_sub(1);
    let mut found = vec![0; needles.len()];
    let mut piece = vec![0; PIECE];
    for (mut at, end) in maps.lines().filter_map(writable) {
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let read = memory.read_at(piece.get_mut(..wanted).unwrap_or_default(), at).unwrap_or(0);
            let text = piece.get(..read).unwrap_or_default();
            let read_to = at + u64::try_from(read).unwrap_or(0);
            // What begins in the overlap is counted with the next piece.
            let counted = if read_to >= end || read <= overlap { read } else { read - overlap };
            for (needle, found) in needles.iter().zip(&mut found) {
                *found += memmem::find_iter(text, needle).filter(|begin| *begin < counted).count();
            }
            // A page that is gone meanwhile, or that is a device's, is passed over.
            at += if read == 0 { PAGE } else { u64::try_from(counted).unwrap_or(PAGE) };
        }
    }
    Ok(found)
}

/// Where a mapping of `/proc/<pid>/maps` lies, if the process can write it.
fn writable(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    let (begin, end) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    rest.starts_with("rw").then_some((number(begin)?, number(end)?))
}

/// The forms in which a private key of P-256 can stand in memory: as in its file, the other way round, and as ring
/// computes with it (multiplied by 2^256 modulo the order of the curve, lowest word first).
#[must_use]
pub fn p256_forms(scalar: &[u8; 32]) -> [Vec<u8>; 3] {
    let mut words = [0_u64; 4];
    for (word, bytes) in words.iter_mut().rev().zip(scalar.chunks_exact(8)) {
        *word = bytes.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
    }
    for _ in 0..256 {
        words = doubled(words);
    }
    let in_use = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    [scalar.to_vec(), scalar.iter().rev().copied().collect(), in_use]
}

/// The order of P-256, lowest word first.
const ORDER: [u64; 4] =
    [0xf3b9_cac2_fc63_2551, 0xbce6_faad_a717_9e84, 0xffff_ffff_ffff_ffff, 0xffff_ffff_0000_0000];

/// Twice the number, modulo the order.
fn doubled(number: [u64; 4]) -> [u64; 4] {
    let mut carried = 0;
    let twice = number.map(|word| {
        let sum = (word << 1) | carried;
        carried = word >> 63;
        sum
    });
    let mut borrowed = false;
    let mut less = [0; 4];
    for ((less, twice), order) in less.iter_mut().zip(twice).zip(ORDER) {
        let (difference, first) = twice.overflowing_sub(order);
        let (difference, second) = difference.overflowing_sub(u64::from(borrowed));
        (*less, borrowed) = (difference, first || second);
    }
    if borrowed && carried == 0 { twice } else { less }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_in_memory_is_found_and_what_is_not_is_not() {
        let here: Vec<u8> = (0..64).map(|n: u8| n.wrapping_mul(37) ^ 0x5a).collect();
        let found = hits(std::process::id(), &[&here]).unwrap();
        assert!(found[0] > 0, "{found:?}");
        let child = std::process::Command::new("sleep").arg("60").spawn();
        let mut child = child.unwrap();
        let elsewhere = hits(child.id(), &[&here]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(elsewhere.unwrap(), [0]);
    }

    #[test]
    fn one_in_the_form_of_ring_is_two_to_the_256_modulo_the_order() {
        let mut one = [0; 32];
        one[31] = 1;
        let [_, _, in_use] = p256_forms(&one);
        // 2^256 - order, lowest byte first.
        let expected =
            [0x0c46_353d_039c_daaf_u64, 0x4319_0552_58e8_617b, 0x0000_0000_0000_0000, 0x0000_0000_ffff_ffff];
        assert_eq!(in_use, expected.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>());
    }
}
