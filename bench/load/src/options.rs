//! Options of the command line: names and values, in pairs.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

pub const RUN: [&str; 12] = [
    "--middle",
    "--caller",
    "--callee",
    "--flow",
    "--rate",
    "--seconds",
    "--warm-up",
    "--live",
    "--live-rate",
    "--expected",
    "--patience",
    "--seed",
];
pub const PING: [&str; 4] = ["--port", "--middle", "--every", "--seconds"];
pub const RELAY: [&str; 3] = ["--port", "--caller", "--callee"];

pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Read options of the `known` names; the error says which is not one, or lacks its value.
    pub fn read(arguments: &[String], known: &[&str]) -> Result<Self, String> {
        let mut options = BTreeMap::new();
        for pair in arguments.chunks(2) {
            match pair {
                [name, value] if known.contains(&name.as_str()) => {
                    options.insert(name.clone(), value.clone());
                }
                [name, _] => return Err(format!("{name} is not an option")),
                _ => return Err(format!("{} lacks a value", pair[0])),
            }
        }
        Ok(Self(options))
    }

    pub fn text(&self, name: &str, default: &str) -> String {
        self.0
            .get(name)
            .map_or_else(|| default.to_owned(), Clone::clone)
    }

    pub fn number(&self, name: &str, default: f64) -> Result<f64, String> {
        let Some(text) = self.0.get(name) else {
            return Ok(default);
        };
        let number: Option<f64> = text.parse().ok();
        number
            .filter(|number| number.is_finite() && *number >= 0.0)
            .ok_or_else(|| format!("{name} {text}: not a number of 0 or more"))
    }

    pub fn port(&self, name: &str) -> Result<u16, String> {
        let text = self.text(name, "");
        text.parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("{name} {text}: not a port"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Options, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Options::read(&words, &RUN)
    }

    #[test]
    fn options_are_read_by_name() {
        let options = read("--rate 2.5 --caller 5070").unwrap();
        assert_eq!(options.number("--rate", 1.0), Ok(2.5));
        assert_eq!(options.number("--live", 7.0), Ok(7.0));
        assert_eq!(options.port("--caller"), Ok(5070));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(read("--speed 1").err().unwrap(), "--speed is not an option");
        assert_eq!(read("--rate").err().unwrap(), "--rate lacks a value");
        let options = read("--rate -1 --caller 70000 --callee 0").unwrap();
        assert!(options.number("--rate", 1.0).is_err());
        assert!(options.port("--caller").is_err() && options.port("--callee").is_err());
        assert!(options.port("--middle").is_err());
    }
}
