//! Sends what the README tells a person to type with `curl`, and compares the answers with those that it shows.

use xtask::{
    http::{Request, send},
    shell::{Result, root},
};

use crate::{demo::Nodes, service::Service};

/// A `curl` line of the README, and the status below it.
struct Example<'a> {
    line: &'a str,
    status: u16,
}

pub(crate) fn run() -> Result {
    println!("== curl lines of the README");
    let readme = std::fs::read_to_string(root().join("README.md")).map_err(|error| format!("README.md: {error}"))?;
    let examples = examples(&readme)?;
    if examples.is_empty() {
        return Err("the README shows no `curl` line".to_owned());
    }
    let service = Service::start()?;
    for Example { line, status } in examples {
        let words = words(line);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let (node, request) = parse(&words).map_err(|error| format!("`{line}`: {error}"))?;
        let answer = send(service.port(node), &request)?;
        if answer.status != status {
            return Err(format!("`{line}` is answered with {}, not with {status}: {}", answer.status, answer.body));
        }
        println!("  ✓ {status} {} {}", request.method, request.path);
    }
    Ok(())
}

fn examples(readme: &str) -> Result<Vec<Example<'_>>> {
    let mut lines = readme.lines();
    let mut examples = Vec::new();
    while let Some(line) = lines.next() {
        let Some(line) = line.strip_prefix("$ ").filter(|line| line.starts_with("curl ")) else { continue };
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok());
        let status = status.ok_or_else(|| format!("the README shows no status below `{line}`"))?;
        examples.push(Example { line, status });
    }
    Ok(examples)
}

/// The words of a line; single quotes keep one together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words
}

/// The node that a `curl` line asks, and what it asks.
fn parse<'a>(words: &[&'a str]) -> Result<(usize, Request<'a>)> {
    let mut request = Request { method: "GET", path: "/", ..Request::default() };
    let mut node = None;
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        let mut value = || rest.next().copied().ok_or(format!("`{word}` has no value"));
        match *word {
            "-i" => {}
            "-H" => request.headers.push(value()?),
            "-d" => (request.method, request.body) = ("POST", value()?),
            address => {
                // The README names the ports that the service has by itself: 5001 to 5003.
                let address = address.strip_prefix("localhost:500").ok_or(format!("what is `{address}`?"))?;
                let (number, path) = address.split_at(1);
                node = number.parse::<usize>().ok().filter(|number| (1..=3).contains(number)).map(|number| number - 1);
                request.path = path;
            }
        }
    }
    Ok((node.ok_or("it asks none of the three nodes")?, request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curl_line_is_read_as_a_shell_and_curl_read_it() {
        let words = words("curl -i localhost:5002/orders -H 'Idempotency-Key: 42' -d '{\"a\": 1}'");
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let (node, request) = parse(&words).expect("it is well formed");
        let expected =
            Request { method: "POST", path: "/orders", headers: vec!["Idempotency-Key: 42"], body: "{\"a\": 1}" };
        assert_eq!((node, request), (1, expected));
    }
}
