//! Whatever the bytes: the parts that `scan` finds, put together again, are the head of the message; and a body
//! that `body_end` ends is within it.

#![no_main]

#[path = "../../src/plain.rs"]
mod plain;

use plain::{body_end, scan, Start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(plain) = scan(data, |_| u8::MAX) else {
        return;
    };
    let mut head = match plain.start {
        Start::Request { method, uri } => [&data[method], b" ", &data[uri], b" SIP/2.0"].concat(),
        Start::Response { status, phrase } => {
            assert!((100..700).contains(&status));
            let space: &[u8] = if data[11] == b' ' { b" " } else { b"" };
            [
                b"SIP/2.0 ",
                status.to_string().as_bytes(),
                space,
                &data[phrase],
            ]
            .concat()
        }
    };
    for field in plain.fields {
        assert!(field.line().start == field.name().start && field.line().end >= field.value().end);
        assert!(field.name().end < field.value().start || field.value().is_empty());
        let value = &data[field.value()];
        if let Some(end) = body_end(data, plain.body, value) {
            assert!((plain.body..=data.len()).contains(&end));
        }
        head.extend(b"\r\n");
        head.extend(&data[field.line()]);
    }
    head.extend(b"\r\n\r\n");
    assert_eq!(head, &data[..plain.body]);
});
