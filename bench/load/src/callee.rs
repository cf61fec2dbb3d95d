//! The callee: refuses or answers each call, and checks what reaches it.

#![forbid(unsafe_code)]

use std::io::Write;

use crate::calls::{Callee, Calls, Flow, Wake, T1, T2};
use crate::message::{number, parameter, parse, Message, Start};
use crate::sockets::Outbox;
use crate::timers::Time;

const SDP: &str =
    "v=0\r\no=carrier 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\n\
    t=0 0\r\nm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";
const DECLINED: &str = "Server: carrier\r\nReason: Q.850;cause=1;text=\"Unallocated number\"\r\n";

/// Take one datagram in; `port` is the callee's own.
pub fn hear(port: u16, calls: &mut Calls, out: &mut Outbox, data: &[u8], now: Time) {
    let heard = parse(data).and_then(|message| match message.start {
        Start::Request { method, uri } => Some((method, number(uri)?, message)),
        Start::Response { .. } => None,
    });
    let Some((method, number, message)) = heard.filter(|(_, number, _)| *number < calls.placed())
    else {
        calls.tally.strays += 1;
        return;
    };
    if let Err(fault) = check(method, number, &message) {
        calls.fail(number, fault);
        return;
    }
    match method {
        b"INVITE" => invited(port, calls, out, number, &message, now),
        b"ACK" => acknowledged(calls, number),
        b"BYE" => {
            respond(port, number, &message, "200 OK", "", "", out.datagram());
            left(calls, number);
        }
        _ => calls.fail(number, "a method that was not asked for"),
    }
}

/// Whether a request has what one of this call must have.
fn check(method: &[u8], number: usize, message: &Message) -> Result<(), &'static str> {
    if parameter(message.from, b"tag").is_none_or(<[u8]>::is_empty) {
        return Err("From tag at the callee");
    }
    let tag = parameter(message.to, b"tag");
    let wanted = (method != b"INVITE").then(|| to_tag(number));
    if tag != wanted.as_ref().map(String::as_bytes) {
        return Err("To tag at the callee");
    }
    let named = message.cseq.split(|byte| *byte == b' ').next_back();
    (named == Some(method))
        .then_some(())
        .ok_or("CSeq at the callee")
}

fn to_tag(number: usize) -> String {
    format!("b{number}")
}

fn invited(
    port: u16,
    calls: &mut Calls,
    out: &mut Outbox,
    number: usize,
    message: &Message,
    now: Time,
) {
    let Some(call) = calls.get(number) else {
        return;
    };
    if call.callee != Callee::Waiting {
        out.datagram().extend(&call.last_word);
        calls.tally.repeats += 1;
        return;
    }
    let mut last_word = Vec::with_capacity(768);
    match call.flow {
        Flow::Rejected => {
            call.callee = Callee::Refused;
            respond(
                port,
                number,
                message,
                "603 Decline",
                DECLINED,
                "",
                &mut last_word,
            );
        }
        Flow::Answered => {
            call.callee = Callee::Answered;
            respond(port, number, message, "180 Ringing", "", "", out.datagram());
            respond(
                port,
                number,
                message,
                "200 OK",
                "Server: carrier\r\n",
                SDP,
                &mut last_word,
            );
        }
    }
    out.datagram().extend(&last_word);
    call.last_word = last_word;
    calls.timers.set(now, T1, Wake::LastWord(number, 0));
}

/// Send the final response again if it was not acknowledged (RFC 3261 17.2.1 timer G, 13.3.1.4).
pub fn last_word_again(calls: &mut Calls, out: &mut Outbox, number: usize, count: u32, now: Time) {
    let Some(call) = calls.get(number) else {
        return;
    };
    if call.last_word.is_empty() {
        return;
    }
    out.datagram().extend(&call.last_word);
    let measured = call.measured;
    calls.tally.retransmissions += u64::from(measured);
    let delay = (T1 << (count + 1)).min(T2);
    calls
        .timers
        .set(now, delay, Wake::LastWord(number, count + 1));
}

fn acknowledged(calls: &mut Calls, number: usize) {
    let Some(call) = calls.get(number) else {
        return;
    };
    call.callee = match call.callee {
        Callee::Refused => Callee::Over,
        Callee::Answered => Callee::Up,
        Callee::Waiting => {
            calls.fail(number, "ACK before INVITE");
            return;
        }
        Callee::Up | Callee::Over => {
            calls.tally.repeats += 1;
            return;
        }
    };
    call.last_word = Vec::new();
    calls.settle(number);
}

fn left(calls: &mut Calls, number: usize) {
    let Some(call) = calls.get(number) else {
        return;
    };
    if call.callee == Callee::Over {
        calls.tally.repeats += 1;
        return;
    }
    call.callee = Callee::Over;
    call.last_word = Vec::new();
    calls.settle(number);
}

/// Write a response as RFC 3261 8.2.6.2 asks.
fn respond(
    port: u16,
    number: usize,
    request: &Message,
    status: &str,
    more: &str,
    body: &str,
    buffer: &mut Vec<u8>,
) {
    _ = write!(buffer, "SIP/2.0 {status}\r\n");
    let copied = request.via.iter().map(|via| (&b"Via: "[..], via));
    let routed = request.record_route.iter();
    for (name, value) in copied.chain(routed.map(|route| (&b"Record-Route: "[..], route))) {
        buffer.extend(name);
        buffer.extend(*value);
        buffer.extend(b"\r\n");
    }
    for (name, value) in [
        (&b"From: "[..], request.from),
        (b"\r\nCall-ID: ", request.call_id),
        (b"\r\nCSeq: ", request.cseq),
        (b"\r\nTo: ", request.to),
    ] {
        buffer.extend(name);
        buffer.extend(value);
    }
    if parameter(request.to, b"tag").is_none() {
        _ = write!(buffer, ";tag={}", to_tag(number));
    }
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    _ = write!(
        buffer,
        "\r\nContact: <sip:+49301{number:08}@127.0.0.1:{port}>\r\n{more}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
}
