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
//! It stands on `libvirtine`, of which `<virtine/c/virtine.h>` is the description.
// SPDX-License-Identifier: MIT
#![warn(missing_docs)]

use std::ffi::{c_char, c_int, c_void, CStr, CString};
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
    pub struct CallOptions {
        pub size: usize,
        pub timeout: u64,
        pub hypercalls: u64,
    }
    pub type Handler =
        unsafe extern "C" fn(*mut c_void, *mut Value, usize, *mut Value) -> c_int;

    extern "C" {
        pub fn virtine_code_name(code: c_int) -> *const c_char;
        pub fn virtine_value_clear(value: *mut Value);
        pub fn virtine_load(path: *const c_char, options: *const c_void, image: *mut *mut c_void,
                            error: *mut Error) -> c_int;
        pub fn virtine_image_free(image: *mut c_void);
        pub fn virtine_policy_create(policy: *mut *mut c_void, error: *mut Error) -> c_int;
        pub fn virtine_policy_free(policy: *mut c_void);
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
        let Some(mut given) = handler(&mut values) else { return 1 };
        let mut kept = Vec::new();
        *result = lend(&mut given, &mut kept);
        LAST.with(|last| *last.borrow_mut() = Some((given, kept)));
        0
    }))
    .unwrap_or(1)
}

/// What a guest may ask for; nothing, as it is made.
pub struct Policy {
    handle: Handle,
    handlers: Vec<Arc<Box<Answer>>>,
}

impl Policy {
    /// Grants nothing.
    pub fn new() -> Result<Self, Error> {
        let handle = make(raw::virtine_policy_free, |to, error| unsafe {
            raw::virtine_policy_create(to, error)
        })?;
        Ok(Policy { handle, handlers: Vec::new() })
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
        self.handlers.push(boxed);
        Ok(self)
    }
}

/// An image file that was loaded.
pub struct Image(Handle);

impl Image {
    /// Loads an image file. Nothing in it is trusted.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = c_text(path.as_ref().as_os_str().as_bytes())?;
        make(raw::virtine_image_free, |to, error| unsafe {
            raw::virtine_load(path.as_ptr(), ptr::null(), to, error)
        })
        .map(Image)
    }
    /// Returns a function whose guest may ask for nothing.
    pub fn function(&self, name: &str) -> Result<Function, Error> {
        self.create(name, ptr::null(), Vec::new())
    }
    /// Returns a function whose guest gets what `policy` grants.
    pub fn function_with(&self, name: &str, policy: &Policy) -> Result<Function, Error> {
        self.create(name, policy.handle.at, policy.handlers.clone())
    }
    fn create(&self, name: &str, policy: *const c_void, handlers: Vec<Arc<Box<Answer>>>)
        -> Result<Function, Error> {
        let name = c_text(name)?;
        let handle = make(raw::virtine_function_free, |to, error| unsafe {
            raw::virtine_function_create(self.0.at, name.as_ptr(), policy, ptr::null(), to, error)
        })?;
        Ok(Function { handle, _handlers: handlers })
    }
}

/// A function of an image. Any number of threads may call it.
pub struct Function {
    handle: Handle,
    _handlers: Vec<Arc<Box<Answer>>>, // Freed after the handle, which waits for calls.
}

impl Function {
    /// Calls it, for ten seconds at most.
    pub fn call(&self, arguments: &mut [Value<'_>]) -> Result<Value<'static>, Error> {
        self.call_within(Duration::ZERO, arguments)
    }
    /// Calls it; zero is the default of ten seconds.
    pub fn call_within(&self, timeout: Duration, arguments: &mut [Value<'_>])
        -> Result<Value<'static>, Error> {
        let mut kept = Vec::new();
        let values: Vec<_> = arguments.iter_mut().map(|each| lend(each, &mut kept)).collect();
        let options = raw::CallOptions {
            size: std::mem::size_of::<raw::CallOptions>(),
            timeout: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
            hypercalls: 0,
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
