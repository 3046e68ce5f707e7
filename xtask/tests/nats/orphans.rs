//! No server stays behind, also when the test that started it is killed.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use xtask::{
    nats::{Server, ServerOptions},
    shell::Result,
};

/// In the program that is killed: whether its server is paused.
const VICTIM: &str = "CATGA_TEST_VICTIM";

/// Starts a server and waits to be killed. The tests below run it in a process of its own.
#[test]
#[ignore = "it is no test, but what is killed in one"]
fn victim() -> Result {
    let Ok(paused) = env::var(VICTIM) else { return Ok(()) };
    let mut server = Server::start(&ServerOptions::default())?;
    if paused == "paused" {
        server.pause()?;
    }
    #[expect(clippy::print_stdout, reason = "the test that kills it reads this")]
    {
        println!("{VICTIM} {} {}", server.port(), server.name());
    }
    loop {
        std::thread::park();
    }
}

fn killed(paused: &str) {
    let mut victim = Command::new(env::current_exe().expect("this program is a file"))
        .args(["--exact", "orphans::victim", "--ignored", "--nocapture"])
        .env(VICTIM, paused)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be run");
    let lines = BufReader::new(victim.stdout.take().expect("it is piped")).lines().map_while(|line| line.ok());
    // The harness writes the name of the test into the same line, without an end.
    let mut said = lines.filter_map(|line| Some(line.split_once(VICTIM)?.1.trim().to_owned()));
    let said = said.next().expect("the victim starts a server");
    let (port, name) = said.split_once(' ').expect("it says two words");
    let port: u16 = port.parse().expect("that is a port");
    let directory = env::temp_dir().join(name);
    assert!(directory.is_dir(), "{}", directory.display());

    victim.kill().expect("it runs");
    victim.wait().expect("it is dead");
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() || directory.exists() {
        assert!(Instant::now() < deadline, "the server on port {port} stays behind, or {}", directory.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_ends_with_the_process_that_started_it() {
    killed("running");
}

#[test]
fn a_paused_server_ends_with_the_process_that_started_it() {
    killed("paused");
}

#[test]
fn a_server_that_is_dropped_leaves_nothing() -> Result {
    let server = Server::start(&ServerOptions::default())?;
    let (port, directory) = (server.port(), env::temp_dir().join(server.name()));
    assert!(directory.join("server.log").is_file());
    drop(server);
    assert!(fs::metadata(directory).is_err());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    Ok(())
}
