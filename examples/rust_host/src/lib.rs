//! Functions of image files, each call in a virtual machine of its own.
//!
//! ```no_run
//! # fn main() -> Result<(), virtine_host::Error> {
//! use virtine_host::{Image, Value};
//! let plugin = Image::load("plugin.virtine")?;
//! let square = plugin.function("square")?;
//! assert_eq!(square.call(&mut [3.into()])?, Value::Uint(9));
//! # Ok(())
//! # }
//! ```
//!
//! [`functions!`] gives the functions their types, which are compared with the image's once, when
//! it is loaded. A package whose build script calls `virtine-cc` has its guest within it by
//! [`include_image!`].
//!
//! It stands on `libvirtine`, of which `<virtine/c/virtine.h>` is the description.
// SPDX-License-Identifier: MIT
#![warn(missing_docs)]

use std::any::Any;
use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

mod raw {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct Block {
        pub data: *mut c_void,
        pub size: usize,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub union As {
        pub boolean: u8,
        pub integer: i64,
        pub natural: u64,
        pub floating: f64,
        pub block: Block,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub struct Value {
        pub kind: u32,
        pub owned: u32,
        pub held: As,
    }
    #[repr(C)]
    pub struct Error {
        pub size: usize,
        pub code: i32,
        pub os_error: i32,
        pub detail: u64,
        pub fault_instruction: u64,
        pub fault_address: u64,
        pub text: [c_char; 512],
    }
    #[repr(C)]
    pub struct LoadOptions {
        pub size: usize,
        pub max_memory: u64,
        pub max_stack: u64,
        pub max_arguments: u64,
        pub max_symbols: u64,
        pub initialiser_timeout: u64,
    }
    #[repr(C)]
    pub struct Export {
        pub size: usize,
        pub name: *const c_char,
        pub signature: *const c_char,
    }
    #[repr(C)]
    pub struct CallOptions {
        pub size: usize,
        pub timeout: u64,
        pub hypercalls: u64,
        pub stop_if: Option<unsafe extern "C" fn() -> bool>,
    }
    pub type Handler =
        unsafe extern "C" fn(*mut c_void, *mut Value, usize, *mut Value) -> c_int;
    pub type Output = unsafe extern "C" fn(*mut c_void, *const c_char, usize);

    extern "C" {
        pub fn virtine_code_name(code: c_int) -> *const c_char;
        pub fn virtine_value_clear(value: *mut Value);
        pub fn virtine_load(path: *const c_char, options: *const LoadOptions,
                            image: *mut *mut c_void, error: *mut Error) -> c_int;
        pub fn virtine_load_bytes(bytes: *const c_void, size: usize, options: *const LoadOptions,
                                  image: *mut *mut c_void, error: *mut Error) -> c_int;
        pub fn virtine_export_count(image: *const c_void) -> usize;
        pub fn virtine_export_at(image: *const c_void, index: usize, found: *mut Export,
                                 error: *mut Error) -> c_int;
        pub fn virtine_signature_as_cpp(signature: *const c_char, into: *mut c_char,
                                        size: usize) -> usize;
        pub fn virtine_image_free(image: *mut c_void);
        pub fn virtine_policy_create(policy: *mut *mut c_void, error: *mut Error) -> c_int;
        pub fn virtine_policy_free(policy: *mut c_void);
        pub fn virtine_policy_add_output(policy: *mut c_void, output: Output, context: *mut c_void,
                                         most: u64, error: *mut Error) -> c_int;
        pub fn virtine_policy_add_environment(policy: *mut c_void, strings: *const *const c_char,
                                              count: usize, error: *mut Error) -> c_int;
        pub fn virtine_policy_add_others_fail(policy: *mut c_void, error: *mut Error) -> c_int;
        pub fn virtine_policy_add_clock(policy: *mut c_void, error: *mut Error) -> c_int;
        pub fn virtine_policy_add_entropy(policy: *mut c_void, error: *mut Error) -> c_int;
        pub fn virtine_policy_add_directory(policy: *mut c_void, host: *const c_char,
                                            guest: *const c_char, most: u64,
                                            error: *mut Error) -> c_int;
        pub fn virtine_policy_add_hypercall(policy: *mut c_void, number: u32,
                                            signature: *const c_char, handler: Handler,
                                            context: *mut c_void, error: *mut Error) -> c_int;
        pub fn virtine_function_create(image: *const c_void, name: *const c_char,
                                       policy: *const c_void, options: *const c_void,
                                       function: *mut *mut c_void, error: *mut Error) -> c_int;
        pub fn virtine_function_free(function: *mut c_void);
        pub fn virtine_call(function: *const c_void, arguments: *const Value, count: usize,
                            result: *mut Value, options: *const CallOptions,
                            error: *mut Error) -> c_int;
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The code's name: "guest_fault".
    pub name: &'static str,
    /// One line for people.
    pub text: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.text)
    }
}
impl std::error::Error for Error {}

/// Calls a function of the library that can fail.
fn check(call: impl FnOnce(*mut raw::Error) -> c_int) -> Result<(), Error> {
    let mut error = raw::Error {
        size: std::mem::size_of::<raw::Error>(),
        code: 0,
        os_error: 0,
        detail: 0,
        fault_instruction: 0,
        fault_address: 0,
        text: [0; 512],
    };
    let code = call(&mut error);
    if code == 0 {
        return Ok(());
    }
    // Sound: names are static, and the text ends with a zero byte.
    let (name, text) =
        unsafe { (CStr::from_ptr(raw::virtine_code_name(code)), CStr::from_ptr(error.text.as_ptr())) };
    Err(Error { name: name.to_str().unwrap_or("unknown"), text: text.to_string_lossy().into_owned() })
}

fn c_text(text: impl Into<Vec<u8>>) -> Result<CString, Error> {
    CString::new(text)
        .map_err(|_| Error { name: "misuse", text: "there is a zero byte in a text".into() })
}

/// An argument or a result.
#[derive(Debug, PartialEq)]
pub enum Value<'a> {
    /// No result, or an optional without a value.
    None,
    /// A bool.
    Bool(bool),
    /// An integer; enums, too.
    Int(i64),
    /// An integer; results that are not negative are so.
    Uint(u64),
    /// A float or double.
    Double(f64),
    /// Characters.
    Text(&'a str),
    /// A struct, `virtine::bytes<N>`, or the elements of a span as they lie in memory.
    Bytes(&'a [u8]),
    /// The elements of a span that the function writes to.
    Buffer(&'a mut [u8]),
    /// Bytes of a result.
    Owned(Vec<u8>),
    /// The parts of a tuple, the elements of a span, or a variant's alternative and value.
    List(Vec<Value<'a>>),
}

macro_rules! from {
    ($kind:ident, $as:ty: $($type:ty),*) => {
        $(impl From<$type> for Value<'_> {
            fn from(value: $type) -> Self { Value::$kind(<$as>::from(value)) }
        })*
    };
}
from!(Int, i64: i8, i16, i32, i64);
from!(Uint, u64: u8, u16, u32, u64);
from!(Double, f64: f32, f64);
from!(Bool, bool: bool);
impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(value)
    }
}

/// A type of arguments or results that [`functions!`] knows.
pub trait Crosses {
    /// Returns its part of a signature, as docs/guest-abi.md has it.
    fn id() -> String;
}
/// A type of results that [`functions!`] knows.
pub trait Returned: Crosses + Sized {
    /// Returns what a value is; nothing if it is of another type.
    fn from_value(value: Value<'static>) -> Option<Self>;
}

macro_rules! crosses {
    ($($type:ty, $id:expr, $value:ident => $taken:expr;)*) => {
        $(impl Crosses for $type {
            fn id() -> String { $id.into() }
        }
        impl Returned for $type {
            fn from_value($value: Value<'static>) -> Option<Self> { $taken }
        })*
    };
}
crosses! {
    (), "v", value => if value == Value::None { Some(()) } else { None };
    bool, "b", value => if let Value::Bool(is) = value { Some(is) } else { None };
    f64, "f8", value => if let Value::Double(is) = value { Some(is) } else { None };
    f32, "f4", value => if let Value::Double(is) = value { Some(is as f32) } else { None };
}
macro_rules! numbers {
    ($($kind:literal: $($type:ty)*;)*) => {
        $($(crosses! {
            $type, format!(concat!($kind, "{}"), std::mem::size_of::<$type>()), value => match value {
                Value::Int(number) => Self::try_from(number).ok(),
                Value::Uint(number) => Self::try_from(number).ok(),
                _ => None,
            };
        })*)*
    };
}
numbers! { "i": i8 i16 i32 i64; "u": u8 u16 u32 u64; }

impl Crosses for &str {
    fn id() -> String {
        "s".into()
    }
}
macro_rules! slices {
    ($($type:ty)*) => {
        $(impl Crosses for &[$type] {
            fn id() -> String { format!("[{}]", <$type>::id()) }
        }
        impl Crosses for &mut [$type] {
            fn id() -> String { format!("[={}]", <$type>::id()) }
        }
        impl<'a> From<&'a [$type]> for Value<'a> {
            fn from(of: &'a [$type]) -> Self {
                // Sound: numbers are bytes without padding.
                Value::Bytes(unsafe {
                    std::slice::from_raw_parts(of.as_ptr().cast(), std::mem::size_of_val(of))
                })
            }
        }
        impl<'a> From<&'a mut [$type]> for Value<'a> {
            fn from(of: &'a mut [$type]) -> Self {
                // Sound: as above, and any bytes are a number.
                Value::Buffer(unsafe {
                    std::slice::from_raw_parts_mut(of.as_mut_ptr().cast(), std::mem::size_of_val(of))
                })
            }
        })*
    };
}
slices!(i8 i16 i32 i64 u8 u16 u32 u64 f32 f64);

/// Declares functions of an image with their types: a struct of them, which `of()` makes.
///
/// Arguments are numbers, `bool`, `&str`, and slices of numbers, of which `&mut` ones take outputs;
/// results are numbers, `bool` or nothing. [`Function::call`] has values of all types.
///
/// ```no_run
/// # fn main() -> Result<(), virtine_host::Error> {
/// virtine_host::functions! {
///     struct Math {
///         fn square(n: i32) -> i32;
///         fn scale(of: &mut [f64], by: f32);
///     }
/// }
/// let image = virtine_host::Image::load("plugin.virtine")?;
/// let math = Math::of(&image, &virtine_host::Policy::new()?)?;
/// assert_eq!(math.square(3)?, 9);
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! functions {
    ($(#[$about:meta])* $visible:vis struct $name:ident { $(
        $(#[$attribute:meta])*
        fn $function:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;
    )+ }) => {
        $(#[$about])*
        $visible struct $name { $($function: $crate::Function,)+ }

        #[allow(dead_code, unused_parens)]
        impl $name {
            /// Takes the functions from an image. Fails with image_refused if one is missing or is
            /// of another type.
            $visible fn of(image: &$crate::Image, policy: &$crate::Policy)
                -> Result<Self, $crate::Error> {
                Ok($name { $($function: {
                    let types: &[String] = &[$(<$type as $crate::Crosses>::id()),*];
                    let result = <($($result)?) as $crate::Crosses>::id();
                    image.function_of_type(
                        stringify!($function), &format!("{}({})", result, types.join(",")), policy)?
                },)+ })
            }
            $($(#[$attribute])*
            $visible fn $function(&self, $($argument: $type),*)
                -> Result<($($result)?), $crate::Error> {
                self.$function.call_as(&mut [$($argument.into()),*])
            })+
        }
    };
}

/// Returns the [`Image`] that the build script of this package made as `OUT_DIR/$name`.
#[macro_export]
macro_rules! include_image {
    ($name:literal) => {
        $crate::Image::from_bytes(include_bytes!(concat!(env!("OUT_DIR"), "/", $name)))
    };
}

fn block(data: *const u8, size: usize) -> raw::As {
    raw::As { block: raw::Block { data: data as *mut c_void, size } }
}

/// Returns a value as C has it, which refers to what `from` refers to; lists are put into `kept`.
fn lend(from: &mut Value<'_>, kept: &mut Vec<Vec<raw::Value>>) -> raw::Value {
    let (kind, held) = match from {
        Value::None => (0, raw::As { natural: 0 }),
        Value::Bool(value) => (1, raw::As { natural: u64::from(*value) }),
        Value::Int(value) => (2, raw::As { integer: *value }),
        Value::Uint(value) => (3, raw::As { natural: *value }),
        Value::Double(value) => (4, raw::As { floating: *value }),
        Value::Text(value) => (5, block(value.as_ptr(), value.len())),
        Value::Bytes(value) => (6, block(value.as_ptr(), value.len())),
        Value::Buffer(value) => (7, block(value.as_mut_ptr(), value.len())),
        Value::Owned(value) => (6, block(value.as_ptr(), value.len())),
        Value::List(values) => {
            let items: Vec<_> = values.iter_mut().map(|each| lend(each, kept)).collect();
            // The items stay where they are when the vector of vectors moves.
            let held = block(items.as_ptr().cast(), items.len());
            kept.push(items);
            (8, held)
        }
    };
    raw::Value { kind, owned: 0, held }
}

/// Returns a value of C's. Sound if it is one of the library's; a buffer must be nobody else's.
unsafe fn take<'a>(from: &raw::Value) -> Value<'a> {
    let block = from.held.block;
    let bytes = |size| if size == 0 { ptr::NonNull::<u8>::dangling().as_ptr() } else { block.data.cast() };
    match from.kind {
        1 => Value::Bool(from.held.boolean != 0),
        2 => Value::Int(from.held.integer),
        3 => Value::Uint(from.held.natural),
        4 => Value::Double(from.held.floating),
        // A guest may have put anything into a text.
        5 | 6 => Value::Owned(std::slice::from_raw_parts(bytes(block.size), block.size).to_vec()),
        7 => Value::Buffer(std::slice::from_raw_parts_mut(bytes(block.size), block.size)),
        8 => {
            let items = block.data.cast::<raw::Value>();
            Value::List((0..block.size).map(|i| take(&*items.add(i))).collect())
        }
        _ => Value::None,
    }
}

/// A handle of the library's.
struct Handle {
    at: *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
}
// Sound: the library lets any thread use images and functions; Policy takes &mut self.
unsafe impl Send for Handle {}
unsafe impl Sync for Handle {}
impl Drop for Handle {
    fn drop(&mut self) {
        // Sound: made by the library, and nobody else frees it.
        unsafe { (self.free)(self.at) }
    }
}
fn make(
    free: unsafe extern "C" fn(*mut c_void),
    call: impl FnOnce(*mut *mut c_void, *mut raw::Error) -> c_int,
) -> Result<Handle, Error> {
    let mut at = ptr::null_mut();
    check(|error| call(&mut at, error))?;
    Ok(Handle { at, free })
}

type Answer = dyn Fn(&mut [Value<'_>]) -> Option<Value<'static>> + Send + Sync;

unsafe extern "C" fn answer(
    context: *mut c_void,
    arguments: *mut raw::Value,
    count: usize,
    result: *mut raw::Value,
) -> c_int {
    thread_local! {
        // What the last result refers to. It is copied before this thread's next answer.
        static LAST: std::cell::RefCell<Option<(Value<'static>, Vec<Vec<raw::Value>>)>> =
            const { std::cell::RefCell::new(None) };
    }
    let handler = &*context.cast::<Box<Answer>>();
    // No panic may unwind into C.
    catch_unwind(AssertUnwindSafe(|| {
        let mut values: Vec<_> = (0..count).map(|i| take(&*arguments.add(i))).collect();
        let mut given = match handler(&mut values) {
            Some(given) => given,
            None => return 1,
        };
        let mut kept = Vec::new();
        *result = lend(&mut given, &mut kept);
        LAST.with(|last| *last.borrow_mut() = Some((given, kept)));
        0
    }))
    .unwrap_or(1)
}

type Sink = dyn Fn(&[u8]) + Send + Sync;

unsafe extern "C" fn print(context: *mut c_void, text: *const c_char, size: usize) {
    let sink = &*context.cast::<Box<Sink>>();
    // The guest goes on, and no panic may unwind into C.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        sink(if size == 0 { &[] } else { std::slice::from_raw_parts(text.cast(), size) })
    }));
}

/// What a policy calls back, kept by all that was made with it.
type Kept = Vec<Arc<dyn Any + Send + Sync>>;

/// What a guest may ask for; nothing, as it is made.
pub struct Policy {
    handle: Handle,
    kept: Kept,
}

impl Policy {
    /// Grants nothing.
    pub fn new() -> Result<Self, Error> {
        let handle = make(raw::virtine_policy_free, |to, error| unsafe {
            raw::virtine_policy_create(to, error)
        })?;
        Ok(Policy { handle, kept: Vec::new() })
    }
    /// Gives what the guest prints, `most` bytes a call, to a closure. What a panic of it lost is lost.
    pub fn output(&mut self, most: u64, sink: impl Fn(&[u8]) + Send + Sync + 'static)
        -> Result<&mut Self, Error> {
        let boxed: Arc<Box<Sink>> = Arc::new(Box::new(sink));
        let context = Arc::as_ptr(&boxed) as *mut c_void;
        check(|error| unsafe {
            raw::virtine_policy_add_output(self.handle.at, print, context, most, error)
        })?;
        self.kept.push(boxed);
        Ok(self)
    }
    /// Grants an environment of these variables.
    pub fn environment(&mut self, variables: &[(&str, &str)]) -> Result<&mut Self, Error> {
        let strings = variables
            .iter()
            .map(|(name, value)| c_text(format!("{}={}", name, value)))
            .collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<_> = strings.iter().map(|each| each.as_ptr()).collect();
        check(|error| unsafe {
            raw::virtine_policy_add_environment(
                self.handle.at, pointers.as_ptr(), pointers.len(), error)
        })?;
        Ok(self)
    }
    /// Lets system calls that nothing grants fail with ENOSYS, where they would end the call.
    pub fn others_fail(&mut self) -> Result<&mut Self, Error> {
        check(|error| unsafe { raw::virtine_policy_add_others_fail(self.handle.at, error) })?;
        Ok(self)
    }
    /// Grants time, and sleeping.
    pub fn clock(&mut self) -> Result<&mut Self, Error> {
        check(|error| unsafe { raw::virtine_policy_add_clock(self.handle.at, error) })?;
        Ok(self)
    }
    /// Grants random bytes.
    pub fn entropy(&mut self) -> Result<&mut Self, Error> {
        check(|error| unsafe { raw::virtine_policy_add_entropy(self.handle.at, error) })?;
        Ok(self)
    }
    /// Grants the files below `host`; to be written, up to `most` bytes a call, if that is not 0.
    pub fn directory(&mut self, host: &Path, guest: &str, most: u64) -> Result<&mut Self, Error> {
        let (host, guest) = (c_text(host.as_os_str().as_bytes())?, c_text(guest)?);
        check(|error| unsafe {
            raw::virtine_policy_add_directory(self.handle.at, host.as_ptr(), guest.as_ptr(), most, error)
        })?;
        Ok(self)
    }
    /// Answers a hypercall by a closure; `None` rejects it, and so does a panic. Spans to be filled
    /// come as [`Value::Buffer`].
    pub fn hypercall(
        &mut self,
        number: u32,
        signature: &str,
        handler: impl Fn(&mut [Value<'_>]) -> Option<Value<'static>> + Send + Sync + 'static,
    ) -> Result<&mut Self, Error> {
        let signature = c_text(signature)?;
        let boxed: Arc<Box<Answer>> = Arc::new(Box::new(handler));
        let context = Arc::as_ptr(&boxed) as *mut c_void;
        check(|error| unsafe {
            raw::virtine_policy_add_hypercall(
                self.handle.at, number, signature.as_ptr(), answer, context, error)
        })?;
        self.kept.push(boxed);
        Ok(self)
    }
}

/// What an image file may ask of this process at most; 0 is the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Bytes of a machine; 64 MiB.
    pub max_memory: u64,
    /// Bytes of it that are stack; 8 MiB.
    pub max_stack: u64,
    /// Bytes of it for arguments; 32 MiB.
    pub max_arguments: u64,
    /// Symbols and source lines; 1,000,000.
    pub max_symbols: u64,
    /// Time of its initialiser; 10 s.
    pub initialiser_timeout: Duration,
}

fn nanoseconds(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

impl LoadOptions {
    fn raw(&self) -> raw::LoadOptions {
        raw::LoadOptions {
            size: std::mem::size_of::<raw::LoadOptions>(),
            max_memory: self.max_memory,
            max_stack: self.max_stack,
            max_arguments: self.max_arguments,
            max_symbols: self.max_symbols,
            initialiser_timeout: nanoseconds(self.initialiser_timeout),
        }
    }
}

/// Returns a signature as C++ has it.
fn as_cpp(signature: &CStr) -> String {
    let mut text = vec![0u8; 4096];
    // Sound: it writes no more than there is room, and a zero byte at the end.
    unsafe {
        raw::virtine_signature_as_cpp(signature.as_ptr(), text.as_mut_ptr().cast(), text.len());
        CStr::from_ptr(text.as_ptr().cast()).to_string_lossy().into_owned()
    }
}

/// An image file that was loaded.
pub struct Image(Handle);

impl Image {
    /// Loads an image file. Nothing in it is trusted.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(path, &LoadOptions::default())
    }
    /// The same with other limits.
    pub fn load_with(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self, Error> {
        let path = c_text(path.as_ref().as_os_str().as_bytes())?;
        make(raw::virtine_image_free, |to, error| unsafe {
            raw::virtine_load(path.as_ptr(), &options.raw(), to, error)
        })
        .map(Image)
    }
    /// Loads an image file that is in memory, with the default limits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        make(raw::virtine_image_free, |to, error| unsafe {
            raw::virtine_load_bytes(bytes.as_ptr().cast(), bytes.len(), ptr::null(), to, error)
        })
        .map(Image)
    }
    /// Returns the names of its functions, and their signatures as docs/guest-abi.md has them.
    pub fn exports(&self) -> Result<Vec<(String, String)>, Error> {
        let count = unsafe { raw::virtine_export_count(self.0.at) };
        (0..count)
            .map(|index| {
                let mut found = raw::Export {
                    size: std::mem::size_of::<raw::Export>(),
                    name: ptr::null(),
                    signature: ptr::null(),
                };
                check(|error| unsafe {
                    raw::virtine_export_at(self.0.at, index, &mut found, error)
                })?;
                // Sound: these texts live as long as the image, and end with a zero byte.
                let text = |at| unsafe { CStr::from_ptr(at).to_string_lossy().into_owned() };
                Ok((text(found.name), text(found.signature)))
            })
            .collect()
    }
    /// Returns a function whose guest may ask for nothing.
    pub fn function(&self, name: &str) -> Result<Function, Error> {
        self.create(name, ptr::null(), Kept::new())
    }
    /// Returns a function whose guest gets what `policy` grants.
    pub fn function_with(&self, name: &str, policy: &Policy) -> Result<Function, Error> {
        self.create(name, policy.handle.at, policy.kept.clone())
    }
    /// The same if it has this signature; what [`functions!`] asks for.
    pub fn function_of_type(&self, name: &str, signature: &str, policy: &Policy)
        -> Result<Function, Error> {
        if let Some((_, is)) = self.exports()?.iter().find(|(its, _)| its == name) {
            if is != signature {
                let text = format!("{} is {}, and not {}", name, as_cpp(&c_text(is.as_str())?),
                                   as_cpp(&c_text(signature)?));
                return Err(Error { name: "image_refused", text });
            }
        }
        self.function_with(name, policy)
    }
    fn create(&self, name: &str, policy: *const c_void, kept: Kept) -> Result<Function, Error> {
        let name = c_text(name)?;
        let handle = make(raw::virtine_function_free, |to, error| unsafe {
            raw::virtine_function_create(self.0.at, name.as_ptr(), policy, ptr::null(), to, error)
        })?;
        Ok(Function { handle, _kept: kept })
    }
}

/// A function of an image. Any number of threads may call it.
pub struct Function {
    handle: Handle,
    _kept: Kept, // Freed after the handle, which waits for calls.
}

impl Function {
    /// Calls it, for ten seconds at most.
    pub fn call(&self, arguments: &mut [Value<'_>]) -> Result<Value<'static>, Error> {
        self.call_within(Duration::ZERO, arguments)
    }
    /// The same, with a result of a known type.
    pub fn call_as<R: Returned>(&self, arguments: &mut [Value<'_>]) -> Result<R, Error> {
        let value = self.call(arguments)?;
        let text = format!("the result is no {}", std::any::type_name::<R>());
        R::from_value(value).ok_or(Error { name: "bad_reply", text })
    }
    /// Calls it; zero is the default of ten seconds.
    pub fn call_within(&self, timeout: Duration, arguments: &mut [Value<'_>])
        -> Result<Value<'static>, Error> {
        let mut kept = Vec::new();
        let values: Vec<_> = arguments.iter_mut().map(|each| lend(each, &mut kept)).collect();
        let options = raw::CallOptions {
            size: std::mem::size_of::<raw::CallOptions>(),
            timeout: nanoseconds(timeout),
            hypercalls: 0,
            stop_if: None,
        };
        let mut result = raw::Value { kind: 0, owned: 0, held: raw::As { natural: 0 } };
        // Sound: all that the values refer to outlives the call.
        check(|error| unsafe {
            raw::virtine_call(self.handle.at, values.as_ptr(), values.len(), &mut result, &options, error)
        })?;
        // Sound: the library made the result, which has no buffers.
        unsafe {
            let out = take(&result);
            raw::virtine_value_clear(&mut result);
            Ok(out)
        }
    }
}
