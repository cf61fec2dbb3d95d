//! Whole runs of the program: caller and callee face to face, through the relay, and with what must fail.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_load");

fn free_port() -> String {
    let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
    probe.local_addr().unwrap().port().to_string()
}

/// Play a short run and return what it printed.
fn run(middle: &str, caller: &str, callee: &str, more: &str) -> String {
    let ports = ["--middle", middle, "--caller", caller, "--callee", callee];
    let times = "--rate 200 --seconds 0.5 --warm-up 0.1 --patience 2";
    let done = Command::new(PROGRAM)
        .arg("run")
        .args(ports)
        .args(times.split_whitespace().chain(more.split_whitespace()))
        .output()
        .unwrap();
    assert!(done.status.success());
    String::from_utf8(done.stdout).unwrap()
}

/// A figure of the report.
fn figure(report: &str, name: &str) -> u64 {
    let (_, rest) = report.split_once(&format!("\"{name}\":")).unwrap();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
    rest[..end].parse().unwrap()
}

struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn face_to_face_every_call_goes_well() {
    let (caller, callee) = (free_port(), free_port());
    let said = run(
        &callee,
        &caller,
        &callee,
        "--flow mixed --expected 603 --live 20",
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["live 20", "measuring", "measured"]);
    assert!(figure(&said, "placed") > 20);
    assert_eq!(figure(&said, "succeeded"), figure(&said, "placed"));
    assert_eq!((figure(&said, "failed"), figure(&said, "strays")), (0, 0));
}

#[test]
fn through_the_relay_too() {
    let (port, caller, callee) = (free_port(), free_port(), free_port());
    let ports = ["--port", &port, "--caller", &caller, "--callee", &callee];
    let relay = Command::new(PROGRAM)
        .arg("relay")
        .args(ports)
        .stdout(Stdio::null())
        .spawn();
    let _relay = Relay(relay.unwrap());
    // What is lost before the relay listens is sent again.
    let said = run(&port, &caller, &callee, "--flow answered");
    assert_eq!(figure(&said, "succeeded"), figure(&said, "placed"));
    assert!(figure(&said, "placed") > 20);
}

#[test]
fn another_status_than_expected_fails_each_call() {
    let (caller, callee) = (free_port(), free_port());
    let said = run(&callee, &caller, &callee, "--expected 404");
    assert_eq!(figure(&said, "failed"), figure(&said, "placed"));
    assert_eq!(figure(&said, "status"), figure(&said, "placed"));
}

#[test]
fn silence_is_met_with_retransmissions_and_then_failure() {
    let (nobody, caller, callee) = (free_port(), free_port(), free_port());
    let said = run(&nobody, &caller, &callee, "");
    assert_eq!(
        figure(&said, "the INVITE was lost"),
        figure(&said, "placed")
    );
    // After 0.5 s at the latest, and once more if the machine has time (RFC 3261 17.1.1.2).
    assert!(figure(&said, "retransmissions") >= figure(&said, "placed"));
}

#[test]
fn a_wrong_option_is_said() {
    let done = Command::new(PROGRAM)
        .args(["run", "--flow", "sideways"])
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("sideways"));
}

#[test]
fn each_ping_that_is_answered_is_timed() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let middle = server.local_addr().unwrap().port().to_string();
    let answering = std::thread::spawn(move || {
        let mut room = [0; 2048];
        for number in 0..20 {
            let (length, peer) = server.recv_from(&mut room).unwrap();
            let said = String::from_utf8_lossy(&room[..length]).into_owned();
            let (line, rest) = said.split_once("\r\n").unwrap();
            assert!(line.starts_with("OPTIONS "));
            if number > 0 {
                let answer = format!("SIP/2.0 403 Forbidden\r\n{rest}");
                server.send_to(answer.as_bytes(), peer).unwrap();
            }
        }
    });
    let done = Command::new(PROGRAM)
        .args(["ping", "--port", &free_port(), "--middle", &middle])
        .args(["--every", "5", "--seconds", "0.1"])
        .output()
        .unwrap();
    answering.join().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!((figure(&said, "sent"), figure(&said, "answered")), (20, 19));
}
