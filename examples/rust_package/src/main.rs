//! Guest and host in one package: build.rs makes an image of guest.rs, which this program has
//! within it.
// SPDX-License-Identifier: MIT
use virtine_host::{functions, include_image, Error, Policy, Value};

functions! {
    struct Guest {
        fn total(list: &str) -> i64;
        fn line_length(list: &str, line: u32) -> u64;
    }
}

fn run() -> Result<(), Error> {
    let mut policy = Policy::new()?;
    policy.hypercall(1, "i8(s)", |arguments| match &arguments[0] {
        Value::Owned(thing) if thing == b"bread" => Some(320.into()),
        Value::Owned(thing) if thing == b"tea" => Some(450.into()),
        _ => Some((-1).into()),
    })?;
    let guest = Guest::of(&include_image!("guest.virtine")?, &policy)?;

    println!("{} cents", guest.total("bread\ntea\nair\nbread")?);
    println!("{} characters", guest.line_length("bread\ntea", 1)?);
    if let Err(why) = guest.line_length("bread\ntea", 2) {
        println!("{}", why.name);
    }
    Ok(())
}

fn main() {
    if let Err(why) = run() {
        eprintln!("{}", why);
        // Without KVM, as our tests ask for.
        std::process::exit(if why.name == "no_kvm" { 77 } else { 1 });
    }
}

// Output:
// 1090 cents
// 3 characters
// guest_fault
