//! What needs no KVM, and, where there is KVM, calls. VIRTINE_TEST_PLUGIN names the image file.
// SPDX-License-Identifier: MIT
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use virtine_host::{Error, Function, Image, Policy, Value};

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
}

fn can_be_shared<T: Send + Sync>(_: &T) {}

#[test]
fn calls() {
    let image = plugin();
    let square: Function = image.function("square").unwrap();
    can_be_shared(&image);
    can_be_shared(&square);
    match square.call(&mut [(-7).into()]) {
        Err(error) if error.name == "no_kvm" => return eprintln!("no calls: {error}"),
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
            let Value::Buffer(room) = &mut arguments[2] else { return None };
            room[0] = 20;
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
