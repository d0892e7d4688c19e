// The guide's guest in Rust.
// SPDX-License-Identifier: MIT
#![no_std]

virtine::export! {
    pub fn sum(values: &[i32]) -> i64 {
        values.iter().map(|&value| i64::from(value)).sum()
    }
}
