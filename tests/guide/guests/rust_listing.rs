// A guest of the guide whose result has any size, in Rust.
// SPDX-License-Identifier: MIT
#![no_std]

use core::fmt::Write;

virtine::export! {
    pub fn squares(end: i32, out: &mut [u8]) -> usize {
        let mut size = 0;
        for i in 0..end {
            let mut line = virtine::Bytes::<16>::new();
            let _ = writeln!(line, "{}", i * i);
            if let Some(place) = out.get_mut(size..size + line.len()) {
                place.copy_from_slice(&line);
            }
            size += line.len();
        }
        size
    }
}
