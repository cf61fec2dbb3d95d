//! The caller: places calls, checks each answer, acknowledges, and hangs up what was answered.

#![forbid(unsafe_code)]

use std::io::Write;

use crate::calls::{Call, Caller, Calls, Dialog, Flow, Wake, T1, T2};
use crate::message::{parameter, parse, route_set, uri, Message, Start};
use crate::sockets::Outbox;
use crate::timers::Time;

const SDP: &str =
    "v=0\r\no=alice 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\n\
    t=0 0\r\nm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

/// What stays the same from call to call.
pub struct Identity {
    /// Distinguishes this run's Call-IDs, tags and branches from another's.
    pub run: u32,
    pub port: u16,
    /// Where its requests go, as its Request-URIs say.
    pub middle: u16,
    /// The final response that a rejected call must end with.
    pub expected: u16,
}

/// The steps of a call that have a branch of their own.
#[derive(Clone, Copy)]
enum Step {
    Invite = 0,
    Ack = 1,
    Bye = 2,
}

pub fn place(
    me: &Identity,
    calls: &mut Calls,
    out: &mut Outbox,
    flow: Flow,
    live: bool,
    now: Time,
) {
    let number = calls.place(flow, live, now);
    invite(me, number, out.datagram());
    calls.timers.set(now, T1, Wake::Invite(number, 0));
}

/// Send a request again if nothing has been heard (RFC 3261 17.1.1.2 timer A, 17.1.2.2 timer E).
pub fn again(me: &Identity, calls: &mut Calls, out: &mut Outbox, wake: Wake, now: Time) {
    let (number, count, waits, longest) = match wake {
        Wake::Invite(number, count) => (number, count, Caller::Calling, Time::MAX),
        Wake::Bye(number, count) => (number, count, Caller::Leaving, T2),
        Wake::LastWord(..) | Wake::Patience(_) => return,
    };
    let call = calls.get(number).filter(|call| !call.failed);
    let Some(call) = call.filter(|call| call.caller == waits) else {
        return;
    };
    calls.tally.retransmissions += u64::from(call.measured);
    let next = if waits == Caller::Calling {
        invite(me, number, out.datagram());
        Wake::Invite(number, count + 1)
    } else {
        in_dialog(me, calls, number, Step::Bye, out);
        Wake::Bye(number, count + 1)
    };
    let delay = (T1 << (count + 1)).min(longest);
    calls.timers.set(now, delay, next);
}

/// Take one datagram in.
pub fn hear(me: &Identity, calls: &mut Calls, out: &mut Outbox, data: &[u8], now: Time) {
    let heard = parse(data).and_then(|message| Some((number_of(me, message.call_id)?, message)));
    let Some((number, message)) = heard.filter(|(number, _)| *number < calls.placed()) else {
        calls.tally.strays += 1;
        return;
    };
    let Start::Response { status } = message.start else {
        calls.fail(number, "a request to the caller");
        return;
    };
    match check(me, number, &message) {
        Err(fault) => calls.fail(number, fault),
        Ok(Step::Bye) => bye_answered(calls, number, status, now),
        Ok(_) if status < 200 => {
            if let Some(call) = calls
                .get(number)
                .filter(|call| call.caller == Caller::Calling)
            {
                call.caller = Caller::Ringing;
            }
        }
        Ok(_) => answered(me, calls, out, number, status, &message, now),
    }
}

/// Whether a response is one to a request of this call, and to which (RFC 3261 17.1.3, 8.2.6.2).
fn check(me: &Identity, number: usize, message: &Message) -> Result<Step, &'static str> {
    let step = match message.cseq {
        b"1 INVITE" => Step::Invite,
        b"2 BYE" => Step::Bye,
        _ => return Err("CSeq"),
    };
    let wanted = branch(me, number, step);
    if message.via.len() != 1 || parameter(message.via[0], b"branch") != Some(wanted.as_bytes()) {
        return Err("Via");
    }
    if parameter(message.from, b"tag") != Some(from_tag(me, number).as_bytes()) {
        return Err("From tag");
    }
    let trying = message.start == Start::Response { status: 100 };
    if !trying && parameter(message.to, b"tag").is_none_or(<[u8]>::is_empty) {
        return Err("To tag");
    }
    Ok(step)
}

/// A final response to the INVITE has come.
fn answered(
    me: &Identity,
    calls: &mut Calls,
    out: &mut Outbox,
    number: usize,
    status: u16,
    message: &Message,
    now: Time,
) {
    let Some(call) = calls.get(number) else {
        return;
    };
    let first = matches!(call.caller, Caller::Calling | Caller::Ringing);
    if status >= 300 {
        rejected_ack(me, number, message.to, out.datagram());
    }
    let wanted = match call.flow {
        Flow::Answered => 200,
        Flow::Rejected => me.expected,
    };
    if status != wanted {
        calls.fail(number, "status");
        return;
    }
    let measured = call.measured;
    if !first {
        repeated(me, calls, out, number, message);
        return;
    }
    let took = now.saturating_sub(call.placed);
    if status >= 300 {
        call.caller = Caller::Over;
    } else {
        up(call, message, now);
        let leaves = !call.live;
        in_dialog(me, calls, number, Step::Ack, out);
        if leaves {
            in_dialog(me, calls, number, Step::Bye, out);
            calls.timers.set(now, T1, Wake::Bye(number, 0));
        }
    }
    if measured {
        calls.tally.setup.record(took);
    }
    calls.settle(number);
}

fn up(call: &mut Call, message: &Message, now: Time) {
    call.dialog = Some(Box::new(Dialog {
        to: message.to.to_vec(),
        target: uri(message.contact).to_vec(),
        routes: route_set(&message.record_route),
    }));
    call.left = now;
    call.caller = if call.live {
        Caller::Up
    } else {
        Caller::Leaving
    };
}

/// A final response has come again: its ACK was lost, or late. A 2xx is acknowledged anew by the dialog.
fn repeated(me: &Identity, calls: &mut Calls, out: &mut Outbox, number: usize, message: &Message) {
    calls.tally.repeats += 1;
    let dialog = calls.get(number).and_then(|call| call.dialog.as_deref());
    match dialog {
        Some(dialog) if dialog.to != message.to => calls.fail(number, "another To tag"),
        Some(_) => in_dialog(me, calls, number, Step::Ack, out),
        None => {}
    }
}

fn bye_answered(calls: &mut Calls, number: usize, status: u16, now: Time) {
    let Some(call) = calls.get(number) else {
        return;
    };
    if status < 200 {
        return;
    }
    if status != 200 {
        calls.fail(number, "status of BYE");
    } else if call.caller == Caller::Leaving {
        call.caller = Caller::Over;
        let (measured, took) = (call.measured, now.saturating_sub(call.left));
        if measured {
            calls.tally.hangup.record(took);
        }
        calls.settle(number);
    } else {
        calls.tally.repeats += 1;
    }
}

fn number_of(me: &Identity, call_id: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(call_id).ok()?;
    let (run, rest) = text.split_once('-')?;
    let (number, _) = rest.split_once('@')?;
    (run.parse() == Ok(me.run)).then(|| number.parse().ok())?
}

fn branch(me: &Identity, number: usize, step: Step) -> String {
    format!("z9hG4bK-{}-{number}-{}", me.run, step as u8)
}

fn from_tag(me: &Identity, number: usize) -> String {
    format!("{}a{number}", me.run)
}

/// Write what is put in a buffer; memory does not fail.
macro_rules! put {
    ($buffer:expr, $($text:tt)*) => { _ = write!($buffer, $($text)*) };
}

/// Write the lines that all requests of a call share; To and the rest follow.
fn head(me: &Identity, number: usize, step: Step, buffer: &mut Vec<u8>) {
    let port = me.port;
    put!(
        buffer,
        "Via: SIP/2.0/UDP 127.0.0.1:{port};branch={}\r\n\
        From: \"Alice\" <sip:+49301000@127.0.0.1:{port}>;tag={}\r\n\
        Call-ID: {}-{number}@127.0.0.1\r\nMax-Forwards: 70\r\n",
        branch(me, number, step),
        from_tag(me, number),
        me.run
    );
}

fn invite(me: &Identity, number: usize, buffer: &mut Vec<u8>) {
    let (port, middle) = (me.port, me.middle);
    put!(
        buffer,
        "INVITE sip:+49301{number:08}@127.0.0.1:{middle} SIP/2.0\r\n"
    );
    head(me, number, Step::Invite, buffer);
    put!(
        buffer,
        "To: <sip:+49301{number:08}@127.0.0.1:{middle}>\r\nCSeq: 1 INVITE\r\n\
        Contact: <sip:+49301000@127.0.0.1:{port}>\r\nUser-Agent: bench\r\n\
        Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\nSupported: timer, replaces\r\n\
        Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    );
}

/// The ACK of a final response that is not 2xx belongs to the INVITE's transaction (RFC 3261 17.1.1.3).
fn rejected_ack(me: &Identity, number: usize, to: &[u8], buffer: &mut Vec<u8>) {
    put!(
        buffer,
        "ACK sip:+49301{number:08}@127.0.0.1:{} SIP/2.0\r\n",
        me.middle
    );
    head(me, number, Step::Invite, buffer);
    finish(to, "1 ACK", buffer);
}

/// Send a request inside the dialog of a call (RFC 3261 12.2.1.1).
fn in_dialog(me: &Identity, calls: &mut Calls, number: usize, step: Step, out: &mut Outbox) {
    let Some(dialog) = calls.get(number).and_then(|call| call.dialog.as_deref()) else {
        return;
    };
    let buffer = out.datagram();
    let (method, seq) = match step {
        Step::Bye => ("BYE ", "2 BYE"),
        Step::Invite | Step::Ack => ("ACK ", "1 ACK"),
    };
    buffer.extend(method.as_bytes());
    buffer.extend(&dialog.target);
    buffer.extend(b" SIP/2.0\r\n");
    head(me, number, step, buffer);
    for route in &dialog.routes {
        buffer.extend(b"Route: ");
        buffer.extend(route);
        buffer.extend(b"\r\n");
    }
    finish(&dialog.to, seq, buffer);
}

fn finish(to: &[u8], seq: &str, buffer: &mut Vec<u8>) {
    buffer.extend(b"To: ");
    buffer.extend(to);
    put!(buffer, "\r\nCSeq: {seq}\r\nContent-Length: 0\r\n\r\n");
}
