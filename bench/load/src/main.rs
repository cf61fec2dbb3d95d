//! `load run`: places calls through a server and takes them on the other side, open loop, each message checked.
//! `load relay`: a server that only copies datagrams.
//! `load ping`: asks a server for a sign of life on a fixed beat, and prints how long each took: one line of JSON.
//!
//! `run` prints a line when a phase begins, so that whoever measures the server knows when to look:
//! `live` when the calls that stay up are up, `measuring` after the warm-up, `measured` when the last call has
//! been placed; and last one line of JSON.

mod arrivals;
mod callee;
mod caller;
mod calls;
mod histogram;
mod message;
mod options;
mod ping;
mod relay;
mod run;
mod sockets;
mod timers;

use std::process::ExitCode;

use options::Options;

const USAGE: &str = "\
usage: load run --middle PORT --caller PORT --callee PORT [options]
       load relay --port PORT --caller PORT --callee PORT
       load ping --port PORT --middle PORT [--every MS] [--seconds N]
options of run:
  --flow rejected|answered|mixed  what becomes of the calls [rejected]
  --rate N        calls a second, on average [1000]
  --seconds N     how long calls are placed and counted [5]
  --warm-up N     seconds of the same load before, not counted [2]
  --live N        calls that are set up before everything else and stay up [0]
  --live-rate N   how many of them a second, at most [1000]
  --expected N    the status that a rejected call must end with [404]
  --patience N    seconds after which a call that is not over has failed [10]
  --seed N        another seed, other arrivals [1]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done =
        match arguments.split_first() {
            Some((command, rest)) if command == "run" => Options::read(rest, &options::RUN)
                .and_then(|options| {
                    run::run(&run::Plan::new(&options)?).map_err(|error| error.to_string())
                }),
            Some((command, rest)) if command == "relay" => Options::read(rest, &options::RELAY)
                .and_then(|options| {
                    let (port, left, right) = (
                        options.port("--port")?,
                        options.port("--caller")?,
                        options.port("--callee")?,
                    );
                    relay::run(port, left, right).map_err(|error| error.to_string())
                }),
            Some((command, rest)) if command == "ping" => Options::read(rest, &options::PING)
                .and_then(|options| {
                    ping::run(&ping::Plan::new(&options)?).map_err(|error| error.to_string())
                }),
            _ => Err(USAGE.to_owned()),
        };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}
