// What Rust guests can take, give back and ask for, and how they go wrong.
// SPDX-License-Identifier: MIT
#![no_std]

use core::cell::Cell;
use core::fmt::Write;

use virtine::{Bytes, Enum, Text};

virtine::hypercall! {
    fn lookup(key: u32, negative: bool) -> i32 = 2;
    fn log_line(text: &str) = 3;
    fn fill(out: &mut [u16], from: &[u16]) -> u64 = 0x04;
    // Nothing calls it, so the image does not import it.
    #[allow(dead_code)]
    fn never() = 5;
}

virtine::plain! {
    #[derive(Debug)]
    pub struct Pixel { pub red: u8, pub green: u8, pub alpha: f32 }
    pub struct Line { pub ends: [Pixel; 2], pub width: i16 }
}

struct Alone<T>(Cell<T>);
// Sound: a guest has one thread.
unsafe impl<T> Sync for Alone<T> {}

static CALLS: Alone<u64> = Alone(Cell::new(0));
static PREPARED: Alone<u64> = Alone(Cell::new(0));

virtine::init! {
    fn prepare() {
        PREPARED.0.set(42);
    }
}

virtine::export! {
    pub fn sum(values: &[i32]) -> i64 {
        log_line("summed");
        values.iter().map(|&value| i64::from(value)).sum()
    }

    fn double_all(values: &mut [u32], factor: u32) {
        for value in values {
            *value = value.wrapping_mul(factor);
        }
    }

    fn all_kinds(a: i8, b: u64, c: f32, d: bool, e: i16, f: f64, g: usize) -> f64 {
        f64::from(a) + b as f64 + f64::from(c) + f64::from(u8::from(d)) + f64::from(e) + f + g as f64
    }

    fn is_even(number: Enum<u16>) -> bool {
        number.0 % 2 == 0
    }

    fn stretch(line: Line, by: i16) -> Line {
        Line { ends: [line.ends[1], line.ends[0]], width: line.width + by }
    }

    fn spell(number: i64) -> Bytes<24> {
        let mut out = Bytes::new();
        // What has no room is left out as a whole.
        let _ = write!(out, "<{}>", number);
        out
    }

    fn characters(text: Text) -> u64 {
        text.to_str().map_or(u64::MAX, |text| text.chars().count() as u64)
    }

    fn echo(bytes: Bytes<8>) -> Bytes<8> {
        bytes
    }

    fn price(key: u32) -> i32 {
        lookup(key, false) - lookup(key, true)
    }

    fn relay(values: &[u16]) -> u64 {
        let mut out = [0; 4];
        let filled = fill(&mut out, values);
        out.iter().map(|&value| u64::from(value)).sum::<u64>() + 1000 * filled
    }

    fn draw(out: &mut [u8]) {
        virtine::entropy(out);
    }

    fn count() -> u64 {
        CALLS.0.set(CALLS.0.get() + 1);
        CALLS.0.get()
    }

    fn prepared() -> u64 {
        PREPARED.0.get()
    }

    fn at(values: &[u8], index: usize) -> u8 {
        values[index]
    }

    fn divide(a: i32, b: i32) -> i32 {
        a / b
    }

    fn parse(text: Text) -> i32 {
        text.to_str().unwrap().parse().expect("a number")
    }

    fn read(address: u64) -> u8 {
        // Not sound, so that the machine has to find out.
        unsafe { (address as *const u8).read_volatile() }
    }
}
