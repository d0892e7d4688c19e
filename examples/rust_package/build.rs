//! Makes the image of the guest. VIRTINE_CC names virtine-cc where PATH does not have it.
// SPDX-License-Identifier: MIT
use std::{env, path::PathBuf, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=guest.rs");
    println!("cargo:rerun-if-env-changed=VIRTINE_CC");
    let compiler = env::var_os("VIRTINE_CC").unwrap_or_else(|| "virtine-cc".into());
    let image = PathBuf::from(env::var_os("OUT_DIR").unwrap()).join("guest.virtine");
    let made = Command::new(&compiler).args(["guest.rs", "-o"]).arg(image).status();
    match made {
        Ok(status) if status.success() => (),
        problem => panic!("{:?} has not made the image: {:?}", compiler, problem),
    }
}
