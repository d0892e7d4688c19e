// What Rust sources of an image need: how to export a function, how to ask the host, and what
// happens when the program panics.
// Must not know what the functions do. virtine-cc compiles it as the crate `virtine`.
// SPDX-License-Identifier: MIT

//! A guest in Rust:
//!
//! ```
//! #![no_std]
//!
//! virtine::export! {
//!     /// Adds up.
//!     pub fn sum(values: &[i32]) -> i64 {
//!         values.iter().map(|&value| i64::from(value)).sum()
//!     }
//! }
//! ```
//!
//! The host calls it by `virtine_fn<long(std::span<const int>), guests::NAME::sum>`. The types say
//! the same on both sides, or the host does not compile:
//!
//! | Rust | C++ |
//! |---|---|
//! | `i8`... `u64`, `isize`, `usize`, `f32`, `f64`, `bool` | the type of that size and kind |
//! | [`Enum<u32>`] | an enum of that underlying type |
//! | what [`plain!`] declares, `[T; N]` of these | a trivially copyable class of that size and alignment |
//! | [`Bytes<N>`] | `virtine::bytes<N>` |
//! | `&[T]`, `&mut [T]` | `std::span<const T>`, `std::span<T>` (arguments only) |
//! | [`Text`]; `&str` as an argument of a hypercall | `std::string_view` (arguments only) |

#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::marker::PhantomData;
use core::mem::{align_of, size_of};
use core::ops::Deref;
use core::panic::{Location, PanicInfo};

/// Exports functions, each by its own name. They stay ordinary functions that others can call.
#[macro_export]
macro_rules! export {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
        $body:block
    )+) => {$(
        $(#[$attribute])*
        $visibility fn $name($($argument: $type),*) $(-> $result)? $body

        const _: () = {
            const ID: $crate::detail::Id =
                <$crate::result_type!($($result)?) as $crate::Reply>::ID.add(b"(")
                    $(.argument(<$type as $crate::Argument<'static>>::ID))*
                    .add(b")");

            #[used]
            #[link_section = ".virtine.exports"]
            static RECORD: [u8; stringify!($name).len() + ID.size() + 2] =
                $crate::detail::export_record(stringify!($name), &ID);

            #[export_name = concat!("virtine_entry_", stringify!($name))]
            unsafe extern "C" fn virtine_entry(call_frame: *mut u8) {
                let mut call = $crate::detail::Call(call_frame);
                let mut frame = call.frame::<$crate::result_type!($($result)?)>();
                let result = $name($(frame.next::<$type>()),*);
                frame.finish(result);
            }
        };
    )+};
}

/// Names the function that runs once, before the snapshot that all calls of the image begin with.
/// What it leaves in statics is there in every call. It may make no hypercall. Once per image.
#[macro_export]
macro_rules! init {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident() $body:block) => {
        $(#[$attribute])*
        $visibility fn $name() $body

        const _: () = {
            #[export_name = "virtine_initialiser"]
            extern "C" fn virtine_initialiser() {
                $name();
            }
        };
    };
}

/// Declares hypercalls: `fn lookup(key: u32) -> i32 = 2;` makes a function that asks the host by
/// number 2. It does not return if the host's policy denies it. The host cannot compare the
/// signature with its own: keep both alike.
#[macro_export]
macro_rules! hypercall {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
        = $number:literal;
    )+) => {$(
        // A function of its own, so that its record goes when the linker drops its code.
        core::arch::global_asm!(
            concat!(".pushsection .text.virtine_hypercall_", stringify!($name), ",\"ax\",@progbits"),
            concat!(".globl virtine_hypercall_", stringify!($name)),
            concat!(".type virtine_hypercall_", stringify!($name), ",@function"),
            concat!("virtine_hypercall_", stringify!($name), ":"),
            concat!("mov eax, ", $number),
            "out 0xe4, eax",
            "ret",
            concat!(".size virtine_hypercall_", stringify!($name),
                    ", . - virtine_hypercall_", stringify!($name)),
            concat!(".pushsection .virtine.imports,\"o\",@progbits,virtine_hypercall_",
                    stringify!($name)),
            concat!(".long ", $number),
            ".popsection",
            ".popsection",
        );

        $(#[$attribute])*
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            extern "C" {
                #[link_name = concat!("virtine_hypercall_", stringify!($name))]
                fn leave(call_frame: *mut u8);
            }
            const SIZE: usize =
                $crate::detail::Size::of::<$crate::result_type!($($result)?)>()
                    $(.then::<<$type as $crate::HypercallArgument>::Slot>())*
                    .bytes();
            #[allow(unused_mut)]
            let mut request = $crate::detail::Request::<SIZE>::new::<$crate::result_type!($($result)?)>();
            $(request.put($argument);)*
            // Sound: the frame is laid out for this hypercall, and what it refers to is borrowed
            // until the host has answered.
            unsafe {
                leave(request.frame());
                request.result()
            }
        }
    )+};
}

/// Declares structs that hosts and guests can pass, laid out as C++ lays them out: `repr(C)`, `Copy`,
/// of [`Plain`] members only.
#[macro_export]
macro_rules! plain {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$member_attribute:meta])* $member_visibility:vis $member:ident: $type:ty),* $(,)?
        }
    )+) => {$(
        $(#[$attribute])*
        #[derive(Clone, Copy)]
        #[repr(C)]
        $visibility struct $name {
            $($(#[$member_attribute])* $member_visibility $member: $type),*
        }

        // Sound: it is Copy and repr(C), and each of its members is Plain.
        unsafe impl $crate::Plain for $name {
            const ID: $crate::detail::Id = {
                $($crate::detail::check_plain::<$type>();)*
                $crate::detail::Id::of_class::<$name>()
            };
        }
    )+};
}

#[doc(hidden)]
#[macro_export]
macro_rules! result_type {
    () => { () };
    ($result:ty) => { $result };
}

/// A type that crosses the boundary as its bytes, of which all are a value of it.
///
/// # Safety
///
/// Any bytes are a value, and C++ lays the type out in the same way. [`plain!`] implements it for
/// structs, which is safe.
pub unsafe trait Plain: Copy + 'static {
    const ID: detail::Id;
}

/// What an exported function may take.
///
/// # Safety
///
/// `take` is given what a host writes to a frame for a parameter of this id.
pub unsafe trait Argument<'a>: Sized {
    const ID: detail::Id;
    type Slot: Copy;
    /// # Safety
    ///
    /// The host wrote `slot`, and what it refers to, for a call that lasts as long as 'a.
    unsafe fn take(slot: Self::Slot) -> Self;
}

/// What an exported function may return, and a hypercall as well.
///
/// # Safety
///
/// C++ lays the type out in the same way.
pub unsafe trait Reply: Copy {
    const ID: detail::Id;
}

/// What a hypercall may be given.
pub trait HypercallArgument {
    type Slot: Copy;
    fn slot(self) -> Self::Slot;
}

macro_rules! plain_numbers {
    ($($kind:literal $($type:ty)+;)+) => {$($(
        // Sound: a number of this size has no invalid bytes.
        unsafe impl Plain for $type {
            const ID: detail::Id = detail::Id::new().add($kind).number(size_of::<$type>());
        }
    )+)+};
}
plain_numbers! {
    b"i" i8 i16 i32 i64 isize;
    b"u" u8 u16 u32 u64 usize;
    b"f" f32 f64;
}

// Sound: elements of an array lie as they do in C++, and each is Plain.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {
    const ID: detail::Id = detail::Id::of_class::<[T; N]>();
}

/// An enum of C++, as its number: it may be none that the enum names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Enum<T>(pub T);

// Sound: it is the number.
unsafe impl<T: Plain> Plain for Enum<T> {
    const ID: detail::Id = detail::Id::new().add(b"e").append(T::ID);
}

/// Up to N bytes by value. `write!` appends text.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Bytes<const N: usize> {
    size: u64,
    data: [u8; N],
}

impl<const N: usize> Bytes<N> {
    pub const fn new() -> Self {
        Bytes { size: 0, data: [0; N] }
    }

    /// Appends all of `from`, or nothing and returns false if there is no room for it.
    pub fn append(&mut self, from: &[u8]) -> bool {
        let at = self.len();
        if from.len() > N - at {
            return false;
        }
        self.data[at..at + from.len()].copy_from_slice(from);
        self.size = (at + from.len()) as u64;
        true
    }
}

impl<const N: usize> Deref for Bytes<N> {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        // Whoever wrote the size may have lied.
        &self.data[..if self.size < N as u64 { self.size as usize } else { N }]
    }
}

impl<const N: usize> fmt::Write for Bytes<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.append(text.as_bytes()) { Ok(()) } else { Err(fmt::Error) }
    }
}

// Sound: repr(C), of numbers; deref() does not trust the size.
unsafe impl<const N: usize> Plain for Bytes<N> {
    const ID: detail::Id = detail::Id::new().add(b"y").number(N);
}

/// A `std::string_view` of the host's: characters that need not be UTF-8.
#[derive(Clone, Copy)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Returns the text if it is UTF-8.
    #[inline]
    pub fn to_str(self) -> Result<&'a str, core::str::Utf8Error> {
        core::str::from_utf8(self.0)
    }
}

impl Deref for Text<'_> {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        self.0
    }
}

// Sound: the host writes values of T, any bytes of which are one.
unsafe impl<'a, T: Plain> Argument<'a> for T {
    const ID: detail::Id = T::ID;
    type Slot = T;
    unsafe fn take(slot: T) -> T {
        slot
    }
}

// Sound: the host's type is bool, since nothing else has its id.
unsafe impl<'a> Argument<'a> for bool {
    const ID: detail::Id = detail::Id::new().add(b"b");
    type Slot = bool;
    #[inline]
    unsafe fn take(slot: bool) -> bool {
        slot
    }
}

// Sound: the host puts the elements, aligned for their type, into memory of the call.
unsafe impl<'a, T: Plain> Argument<'a> for &'a [T] {
    const ID: detail::Id = detail::Id::new().add(b"[").append(T::ID).add(b"]");
    type Slot = detail::Reference<T>;
    unsafe fn take(slot: detail::Reference<T>) -> &'a [T] {
        slot.elements()
    }
}

// Sound: as above; the elements of two arguments do not overlap.
unsafe impl<'a, T: Plain> Argument<'a> for &'a mut [T] {
    const ID: detail::Id = detail::Id::new().add(b"[=").append(T::ID).add(b"]");
    type Slot = detail::Reference<T>;
    unsafe fn take(slot: detail::Reference<T>) -> &'a mut [T] {
        slot.elements()
    }
}

// Sound: as above.
unsafe impl<'a> Argument<'a> for Text<'a> {
    const ID: detail::Id = detail::Id::new().add(b"s");
    type Slot = detail::Reference<u8>;
    #[inline]
    unsafe fn take(slot: detail::Reference<u8>) -> Text<'a> {
        Text(slot.elements())
    }
}

// Sound: it has no bytes.
unsafe impl Reply for () {
    const ID: detail::Id = detail::Id::new().add(b"v");
}

// Sound: one byte, 0 or 1, in both languages.
unsafe impl Reply for bool {
    const ID: detail::Id = detail::Id::new().add(b"b");
}

// Sound: so says Plain.
unsafe impl<T: Plain> Reply for T {
    const ID: detail::Id = T::ID;
}

impl<T: Plain> HypercallArgument for T {
    type Slot = T;
    fn slot(self) -> T {
        self
    }
}

impl HypercallArgument for bool {
    type Slot = bool;
    #[inline]
    fn slot(self) -> bool {
        self
    }
}

impl<T: Plain> HypercallArgument for &[T] {
    type Slot = detail::Reference<T>;
    fn slot(self) -> detail::Reference<T> {
        detail::Reference::to(self.as_ptr() as u64, self.len())
    }
}

impl<T: Plain> HypercallArgument for &mut [T] {
    type Slot = detail::Reference<T>;
    fn slot(self) -> detail::Reference<T> {
        detail::Reference::to(self.as_mut_ptr() as u64, self.len())
    }
}

impl HypercallArgument for &str {
    type Slot = detail::Reference<u8>;
    #[inline]
    fn slot(self) -> detail::Reference<u8> {
        self.as_bytes().slot()
    }
}

impl HypercallArgument for Text<'_> {
    type Slot = detail::Reference<u8>;
    #[inline]
    fn slot(self) -> detail::Reference<u8> {
        self.0.slot()
    }
}

hypercall! {
    /// Fills `out` with random bytes, if the host's policy has `virtine::allow_entropy()`.
    pub fn entropy(out: &mut [u8]) = 0xffff0000;
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    let place = info.location().and_then(place_of).unwrap_or(panic as *const () as usize);
    // `ud1 eax, [rax + reason]`, as virtine/abi/abort_reason.hpp has it: panicked, at what is before RCX.
    // Sound: it ends the call.
    unsafe {
        core::arch::asm!(
            ".byte 0x0f, 0xb9, 0x80",
            ".short 8, 0x5649",
            in("rcx") place + 1,
            options(noreturn, nostack)
        )
    }
}

/// Returns the address of the instruction that refers to `location`: who panics names it by the
/// address, and core hands that through to the handler, while nobody on the way need have left
/// anything else on the stack by which the one could be found.
fn place_of(location: &Location) -> Option<usize> {
    const CODE: usize = 0x20000;
    let wanted = location as *const Location as usize as u32;
    // Sound: the code of an image begins there and can be read; this function is of it, and comes
    // after that of the crates that use it.
    (CODE..place_of as *const () as usize - 4).find(|&at| {
        let word = unsafe { (at as *const u32).read_unaligned() };
        word == wanted || word.wrapping_add(at as u32 + 4) == wanted
    })
}

extern "C" {
    fn malloc(size: usize) -> *mut u8;
    fn aligned_alloc(alignment: usize, size: usize) -> *mut u8;
    fn calloc(count: usize, size: usize) -> *mut u8;
    fn realloc(old: *mut u8, size: usize) -> *mut u8;
    fn free(old: *mut u8);
}

/// The heap of the guest's C library, for crates that have `extern crate alloc`. What uses no heap
/// links none of it.
struct Heap;

impl Heap {
    /// Says whether malloc aligns as the layout asks.
    const fn is_enough(layout: Layout) -> bool {
        layout.align() <= 16
    }
}

// Sound: these are what malloc and its kin promise.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Heap::is_enough(layout) {
            malloc(layout.size())
        } else {
            aligned_alloc(layout.align(), layout.pad_to_align().size())
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Heap::is_enough(layout) {
            return calloc(1, layout.size());
        }
        let new = self.alloc(layout);
        if !new.is_null() {
            new.write_bytes(0, layout.size());
        }
        new
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if Heap::is_enough(layout) {
            return realloc(old, size);
        }
        let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
        if !new.is_null() {
            new.copy_from_nonoverlapping(old, if size < layout.size() { size } else { layout.size() });
            free(old);
        }
        new
    }

    unsafe fn dealloc(&self, old: *mut u8, _: Layout) {
        free(old)
    }
}

#[global_allocator]
static HEAP: Heap = Heap;

/// Core's unwind tables refer to it; nothing unwinds, because a panic aborts.
#[doc(hidden)]
#[no_mangle]
extern "C" fn rust_eh_personality() {}

/// What the macros make use of. Not for others.
#[doc(hidden)]
pub mod detail {
    use super::*;

    /// The text of a signature, or of a part of it; docs/guest-abi.md has the grammar.
    #[derive(Clone, Copy)]
    pub struct Id {
        chars: [u8; 256],
        size: usize,
    }

    impl Id {
        pub const fn new() -> Id {
            Id { chars: [0; 256], size: 0 }
        }

        pub const fn size(&self) -> usize {
            self.size
        }

        pub const fn add<const N: usize>(mut self, text: &[u8; N]) -> Id {
            let mut i = 0;
            while i < N {
                self = self.character(text[i]);
                i += 1;
            }
            self
        }

        pub const fn append(mut self, other: Id) -> Id {
            let mut i = 0;
            while i < other.size {
                self = self.character(other.chars[i]);
                i += 1;
            }
            self
        }

        pub const fn number(mut self, number: usize) -> Id {
            if number >= 10 {
                self = self.number(number / 10);
            }
            self.character(b'0' + (number % 10) as u8)
        }

        /// Appends an argument, after a comma unless it is the first.
        pub const fn argument(mut self, id: Id) -> Id {
            if self.chars[self.size - 1] != b'(' {
                self = self.character(b',');
            }
            self.append(id)
        }

        pub const fn of_class<T>() -> Id {
            Id::new().add(b"{").number(size_of::<T>()).add(b".").number(align_of::<T>()).add(b"}")
        }

        const fn character(mut self, c: u8) -> Id {
            assert!(
                self.size < self.chars.len(),
                "virtine [V115]: the signature's id has more than 256 characters. Put arguments together in a struct or a slice."
            );
            self.chars[self.size] = c;
            self.size += 1;
            self
        }
    }

    /// Returns the name and the id, each ended by a zero.
    pub const fn export_record<const N: usize>(name: &str, id: &Id) -> [u8; N] {
        let mut record = [0; N];
        let name = name.as_bytes();
        let mut i = 0;
        while i < name.len() {
            record[i] = name[i];
            i += 1;
        }
        i = 0;
        while i < id.size {
            record[name.len() + 1 + i] = id.chars[i];
            i += 1;
        }
        record
    }

    pub const fn check_plain<T: Plain>() {}

    /// How a sequence lies in a frame. An empty one may have any address.
    #[repr(C)]
    pub struct Reference<T> {
        address: u64,
        count: u64,
        elements: PhantomData<T>,
    }

    impl<T> Clone for Reference<T> {
        fn clone(&self) -> Self {
            *self
        }
    }
    impl<T> Copy for Reference<T> {}

    impl<T> Reference<T> {
        pub fn to(address: u64, count: usize) -> Self {
            Reference { address, count: count as u64, elements: PhantomData }
        }

        /// Returns the elements, as a slice or a mutable one.
        ///
        /// # Safety
        ///
        /// The host wrote it, or both numbers are of a slice that lives as long as the result.
        pub unsafe fn elements<S: FromParts<T>>(self) -> S {
            let empty = self.count == 0;
            let begin = if empty { align_of::<T>() as u64 } else { self.address };
            S::from_parts(begin as *mut T, self.count as usize)
        }
    }

    /// A kind of slice.
    pub trait FromParts<T> {
        /// # Safety
        ///
        /// As of `core::slice::from_raw_parts_mut`.
        unsafe fn from_parts(begin: *mut T, count: usize) -> Self;
    }
    impl<'a, T> FromParts<T> for &'a [T] {
        unsafe fn from_parts(begin: *mut T, count: usize) -> Self {
            core::slice::from_raw_parts(begin, count)
        }
    }
    impl<'a, T> FromParts<T> for &'a mut [T] {
        unsafe fn from_parts(begin: *mut T, count: usize) -> Self {
            core::slice::from_raw_parts_mut(begin, count)
        }
    }

    #[inline(always)]
    const fn align_up(at: usize, alignment: usize) -> usize {
        (at + alignment - 1) & !(alignment - 1)
    }

    /// A call from the host, whose frame is borrowed from here so that arguments cannot outlive it.
    pub struct Call(pub *mut u8);

    impl Call {
        /// # Safety
        ///
        /// The host wrote the frame for a function that returns an R.
        pub unsafe fn frame<R>(&mut self) -> Frame<'_, R> {
            Frame { begin: self.0, at: size_of::<R>(), call: PhantomData }
        }
    }

    /// The frame of a call, of which the arguments are taken in order.
    pub struct Frame<'a, R> {
        begin: *mut u8,
        at: usize,
        call: PhantomData<(&'a mut Call, R)>,
    }

    impl<'a, R: Reply> Frame<'a, R> {
        /// Returns the next argument.
        ///
        /// # Safety
        ///
        /// The host wrote one of this type there.
        #[inline(always)]
        pub unsafe fn next<A: Argument<'a>>(&mut self) -> A {
            let at = align_up(self.at, align_of::<A::Slot>());
            self.at = at + size_of::<A::Slot>();
            A::take(self.begin.add(at).cast::<A::Slot>().read())
        }

        /// Leaves the result for the host.
        #[inline(always)]
        pub fn finish(self, result: R) {
            // Sound: a frame begins with room for the result, aligned for any type.
            unsafe { self.begin.cast::<R>().write(result) }
        }
    }

    /// The size of a frame of a hypercall, summed up slot by slot.
    pub struct Size(usize);

    impl Size {
        pub const fn of<R>() -> Size {
            Size(size_of::<R>())
        }
        pub const fn then<Slot>(self) -> Size {
            Size(align_up(self.0, align_of::<Slot>()) + size_of::<Slot>())
        }
        pub const fn bytes(self) -> usize {
            align_up(self.0, 16)
        }
    }

    /// The frame of a hypercall, to which the arguments are put in order.
    #[repr(C, align(64))]
    pub struct Request<const SIZE: usize> {
        bytes: [u8; SIZE],
        at: usize,
    }

    impl<const SIZE: usize> Request<SIZE> {
        #[inline(always)]
        pub fn new<R>() -> Self {
            Request { bytes: [0; SIZE], at: size_of::<R>() }
        }

        #[inline(always)]
        pub fn put<A: HypercallArgument>(&mut self, argument: A) {
            let at = align_up(self.at, align_of::<A::Slot>());
            self.at = at + size_of::<A::Slot>();
            assert!(self.at <= SIZE);
            // Sound: it is within the bytes, which are aligned for any type.
            unsafe { self.frame().add(at).cast::<A::Slot>().write(argument.slot()) }
        }

        #[inline(always)]
        pub fn frame(&mut self) -> *mut u8 {
            self.bytes.as_mut_ptr()
        }

        /// # Safety
        ///
        /// The host has answered.
        #[inline(always)]
        pub unsafe fn result<R: Reply>(&self) -> R {
            self.bytes.as_ptr().cast::<R>().read()
        }
    }
}
