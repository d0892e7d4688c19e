//! The guest: runs in a virtual machine, and gets nothing of the host but prices.
// SPDX-License-Identifier: MIT
#![no_std]

use virtine::Text;

virtine::hypercall! {
    /// Returns what a thing costs, in cents; less than nothing if nobody knows.
    fn price(thing: &str) -> i64 = 1;
}

virtine::export! {
    /// Returns what the things of a list cost in all, one a line.
    pub fn total(list: Text) -> i64 {
        list.to_str().unwrap_or("").lines().map(price).filter(|&cents| cents > 0).sum()
    }

    /// Panics if there is no such line.
    pub fn line_length(list: Text, line: u32) -> u64 {
        list.to_str().unwrap_or("").lines().nth(line as usize).unwrap().len() as u64
    }
}
