// Rust guests with a heap: collections, strings, large alignments, and no more memory.
// SPDX-License-Identifier: MIT
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use virtine::{Bytes, Text};

#[repr(align(256))]
#[derive(Clone)]
struct Wide(#[allow(dead_code)] u8);

virtine::export! {
    fn count_words(text: Text) -> Bytes<100> {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for word in text.to_str().unwrap().split_whitespace() {
            *counts.entry(word.into()).or_insert(0) += 1;
        }
        let lines: Vec<String> = counts.iter().map(|(word, n)| format!("{}={}", word, n)).collect();
        let mut out = Bytes::new();
        out.append(lines.join(",").as_bytes());
        out
    }

    fn is_aligned() -> bool {
        let mut many = vec![Wide(7); 3];
        many.resize(100, Wide(8));
        let one = Box::new(Wide(9));
        let zeros = vec![0u128; 1000];
        many.as_ptr() as usize % 256 == 0
            && many[2].0 == 7
            && many[99].0 == 8
            && &*one as *const Wide as usize % 256 == 0
            && zeros.iter().all(|&zero| zero == 0)
    }

    /// Grows a vector to `size` bytes, piece by piece.
    fn hoard(size: usize) -> usize {
        let mut all: Vec<u8> = Vec::new();
        while all.len() < size {
            all.extend_from_slice(&[1; 1000]);
        }
        all.iter().map(|&byte| usize::from(byte)).sum()
    }
}
