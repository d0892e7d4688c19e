//! What needs no KVM, and, where there is KVM, calls. VIRTINE_TEST_PLUGIN names the image file.
// SPDX-License-Identifier: MIT
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use virtine_host::{Error, Function, Image, LoadOptions, Policy, Value};

fn plugin() -> Image {
    Image::load(std::env::var("VIRTINE_TEST_PLUGIN").expect("VIRTINE_TEST_PLUGIN")).unwrap()
}
fn why<T>(of: Result<T, Error>) -> Error {
    of.err().expect("it failed")
}

#[test]
fn misuse_is_told() {
    let image = plugin();
    assert_eq!(why(Image::load("/nowhere")).name, "os_error");
    assert_eq!(why(Image::load("a\0b")).name, "misuse");
    assert!(why(image.function("cube")).text.contains("has no function cube"));
    assert!(why(image.function("asks")).text.contains("can make hypercall 7"));
    let square = image.function("square").unwrap();
    drop(image);
    assert!(why(square.call(&mut [])).text.contains("takes 1 argument, and 0 are given"));
    assert_eq!(why(square.call(&mut ["x".into()])).name, "bad_argument");
    assert_eq!(why(square.call(&mut [i64::MAX.into()])).name, "bad_argument");
    let mut policy = Policy::new().unwrap();
    policy.clock().unwrap().entropy().unwrap();
    assert_eq!(why(policy.clock()).name, "bad_grant");
    assert_eq!(why(policy.hypercall(7, "what", |_| None)).name, "bad_grant");
    assert_eq!(why(policy.environment(&[("A", "b\0c")])).name, "misuse");
    policy.environment(&[("A", "12")]).unwrap().others_fail().unwrap();
    assert_eq!(why(policy.environment(&[])).name, "bad_grant");
    policy.output(9, |_| ()).unwrap();
    assert_eq!(why(policy.output(9, |_| ())).name, "bad_grant");
}

virtine_host::functions! {
    /// Some functions of the plug-in.
    struct Plugin {
        fn square(n: i32) -> i32;
        fn total(of: &[f64]) -> f64;
        fn scale(of: &mut [f64], by: f32);
        fn length(text: &str) -> u64;
        fn hello();
        fn variable(name: &str) -> i32;
    }
}
virtine_host::functions! {
    struct Wrong {
        fn square(n: i64) -> i32;
    }
}
virtine_host::functions! {
    struct Missing {
        fn cube(n: i32) -> i32;
    }
}

#[test]
fn misuse_of_types_is_told() {
    let (image, policy) = (plugin(), Policy::new().unwrap());
    assert_eq!(why(Wrong::of(&image, &policy)).text, "square is int(int), and not int(long)");
    assert!(why(Missing::of(&image, &policy)).text.contains("has no function cube"));
    can_be_shared(&(&policy, Plugin::of(&image, &policy).unwrap()));
    let (name, signature) = &image.exports().unwrap()[0];
    assert_eq!((name.as_str(), signature.as_str()), ("asks", "i4(i4)"));

    let path = std::env::var("VIRTINE_TEST_PLUGIN").unwrap();
    let small = LoadOptions { max_memory: 4096, ..Default::default() };
    assert!(why(Image::load_with(&path, &small)).text.contains("max_memory allows 4096"));
    let bytes = std::fs::read(&path).unwrap();
    assert!(Image::from_bytes(&bytes).is_ok());
    assert_eq!(why(Image::from_bytes(&bytes[..bytes.len() / 2])).name, "image_refused");
    assert_eq!(why(Image::from_bytes(&[])).name, "image_refused");
}

fn can_be_shared<T: Send + Sync>(_: &T) {}

#[test]
fn calls() {
    let image = plugin();
    let square: Function = image.function("square").unwrap();
    can_be_shared(&image);
    can_be_shared(&square);
    match square.call(&mut [(-7).into()]) {
        Err(error) if error.name == "no_kvm" => {
            eprintln!("no calls: {}", error);
            std::process::exit(77)
        }
        result => assert_eq!(result.unwrap(), Value::Uint(49)),
    }
    let mut numbers: Vec<u8> = [1.0f64, 2.5].iter().flat_map(|each| each.to_ne_bytes()).collect();
    image.function("scale").unwrap().call(&mut [Value::Buffer(&mut numbers), 2.into()]).unwrap();
    let total = image.function("total").unwrap();
    assert_eq!(total.call(&mut [Value::Bytes(&numbers)]).unwrap(), Value::Double(7.0));
    let list = Value::List(vec![1.into(), 0.5.into()]);
    assert_eq!(total.call(&mut [list]).unwrap(), Value::Double(1.5));
    let greet = image.function("greet").unwrap();
    assert_eq!(greet.call(&mut ["you".into()]).unwrap(), Value::Owned(b"hi, you".to_vec()));
    let both = image.function("both").unwrap();
    let one = Value::List(vec![1.into(), 2.5.into()]);
    assert_eq!(both.call(&mut [one]).unwrap(), Value::List(vec![Value::Uint(1), 2.5.into()]));
    let divide = image.function("divide").unwrap();
    assert_eq!(why(divide.call(&mut [1.into(), 0.into()])).name, "guest_fault");
    let spin = image.function("spin").unwrap();
    assert_eq!(why(spin.call_within(Duration::from_millis(50), &mut [])).name, "timed_out");

    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let mut policy = Policy::new().unwrap();
    policy
        .hypercall(7, "i4(i4,s,[=u2])", move |arguments| {
            counter.fetch_add(1, Ordering::Relaxed);
            assert_eq!(arguments[1], Value::Owned(b"question".to_vec()));
            match &mut arguments[2] {
                Value::Buffer(room) => room[0] = 20,
                _ => return None,
            }
            match arguments[0] {
                Value::Uint(number) => Some(Value::Uint(2 * number)),
                _ => panic!("a panic rejects"),
            }
        })
        .unwrap();
    let asks = image.function_with("asks", &policy).unwrap();
    drop(policy);
    assert_eq!(asks.call(&mut [3.into()]).unwrap(), Value::Uint(26));
    assert_eq!(why(asks.call(&mut [(-1).into()])).name, "hypercall_rejected");
    assert_eq!(asked.load(Ordering::Relaxed), 2);

    let printed = Arc::new(Mutex::new(Vec::new()));
    let lines = printed.clone();
    let mut policy = Policy::new().unwrap();
    policy.output(100, move |text| lines.lock().unwrap().extend_from_slice(text)).unwrap();
    policy.environment(&[("A", "12")]).unwrap().others_fail().unwrap();
    let typed = Plugin::of(&image, &policy).unwrap();
    assert_eq!(typed.square(-7).unwrap(), 49);
    let mut numbers = [1.0, 2.5];
    typed.scale(&mut numbers, 2.0).unwrap();
    assert_eq!(numbers, [2.0, 5.0]);
    assert_eq!(typed.total(&numbers).unwrap(), 7.0);
    assert_eq!(typed.total(&[]).unwrap(), 0.0);
    assert_eq!(typed.length("h\u{eb}llo").unwrap(), 6);
    assert_eq!(typed.variable("A").unwrap(), 12);
    typed.hello().unwrap();
    assert_eq!(*printed.lock().unwrap(), b"hello\n");

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..20u64 {
                    assert_eq!(square.call(&mut [i.into()]).unwrap(), Value::Uint(i * i));
                }
            });
        }
    });
}
