//! One real nats-server, with JetStream and its store in files.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::ExitStatus,
    time::{Duration, Instant},
};

use super::{
    config::{Directory, Ports},
    install::find,
};
use crate::{http, ports::unique, process::Process, shell::Result};

/// How long a server may take to start or to stop; it needs milliseconds, and on a busy machine things take their time.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked whether it serves.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How often other ports are tried, when somebody else has taken those that were free.
pub(super) const TRIES: usize = 5;
/// How much of its log an error shows: the last lines say why it ended.
const SHOWN: usize = 20;
/// What its log says of a configuration that it was given while it ran.
const RELOADED: &str = "Reloaded server configuration";
const NOT_RELOADED: &str = "Failed to reload server configuration";

/// How a server is to be.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Exactly this version, such as `2.10.26`; none takes any that [`find`] finds.
    pub version: Option<String>,
    /// Further text of its configuration, such as accounts, users or TLS. What is said here counts, also where the launcher
    /// says something else.
    pub config: String,
}

/// A server that runs on this machine alone. Dropping it kills it and removes its store; if this process is killed, the
/// same happens.
#[derive(Debug)]
pub struct Server {
    /// First, so that it is dead before its directory is removed.
    process: Option<Process>,
    program: PathBuf,
    config: PathBuf,
    /// What its configuration says of the cluster that it is in.
    cluster: String,
    directory: Directory,
    name: String,
    ports: Ports,
}

impl Server {
    /// Starts a server on a free port, and waits until it serves.
    ///
    /// # Errors
    ///
    /// If there is no server of this version, or it does not start: one sentence, and the end of its log.
    pub fn start(options: &ServerOptions) -> Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut server = Self::launch(options, &format!("catga-{:x}", unique()), Ports::free()?, "")?;
            match server.serves() {
                Ok(()) => return Ok(server),
                Err(_) if tries < TRIES && server.lost_its_port() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts one and does not wait.
    pub(super) fn launch(options: &ServerOptions, name: &str, ports: Ports, cluster: &str) -> Result<Self> {
        let program = find(options.version.as_deref())?;
        let directory = Directory::new(name)?;
        let config = directory.write(name, ports, &format!("{cluster}\n{}", options.config))?;
        let mut server = Self {
            process: None,
            program,
            config,
            cluster: cluster.to_owned(),
            directory,
            name: name.to_owned(),
            ports,
        };
        server.run()?;
        Ok(server)
    }

    fn run(&mut self) -> Result {
        let log = File::options().create(true).append(true).open(self.directory.log());
        let log = log.and_then(|log| Ok((log.try_clone()?, log)));
        let (output, errors) = log.map_err(|error| format!("{}: {error}", self.directory.log().display()))?;
        let mut command = Process::command(&self.program, Some(self.directory.path()));
        command.arg("--config").arg(&self.config).stdout(output).stderr(errors);
        self.process = Some(Process::spawn(command)?);
        Ok(())
    }

    /// Waits until it answers clients and its store is there.
    pub(super) fn serves(&mut self) -> Result {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended()? {
                self.process = None;
                return Err(self.wrong(&format!("ended at its start with {status}")));
            }
            if self.is_healthy() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.wrong(&format!("does not serve after {PATIENCE:?}")));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.as_mut().map_or(Ok(None), Process::ended)
    }

    /// Whether it says that all is well. Another server that has the port says another name.
    fn is_healthy(&self) -> bool {
        let own = |answer: http::Answer| answer.field("server_name") == Some(&self.name);
        self.monitor("/varz").is_ok_and(own) && self.monitor("/healthz").is_ok_and(|answer| answer.status == 200)
    }

    pub(super) fn lost_its_port(&self) -> bool {
        self.log().contains("address already in use")
    }

    fn wrong(&self, what: &str) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let shown = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
        format!("{} on port {} {what}; its log ends with:\n{shown}", self.program.display(), self.ports.client)
    }

    /// Where clients connect to, without credentials: `nats://127.0.0.1:14222`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.ports.client
    }

    /// Its name, which no other server has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of its process; none if it does not run.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Whether it was started and neither killed nor stopped since; also while it is paused.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// What it has written to its log, over all its lives.
    pub fn log(&self) -> String {
        fs::read(self.directory.log()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Asks for a page of its monitoring, such as `/jsz` or `/connz`.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub fn monitor(&self, path: &str) -> Result<http::Answer> {
        http::get(self.ports.monitor, path)
    }

    /// Ends it as `kill -9` does. Its store stays. Does nothing if it does not run.
    pub fn kill(&mut self) {
        // Dropping a process kills it.
        self.process = None;
    }

    /// Asks it to end, and waits until it has. Its store stays. Does nothing if it does not run.
    ///
    /// # Errors
    ///
    /// If it does not end in time, as when it is paused; then it is killed.
    pub fn stop(&mut self) -> Result {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal("TERM")?;
        match process.wait(PATIENCE)? {
            Some(_) => Ok(()),
            None => Err(self.wrong(&format!("does not stop in {PATIENCE:?}"))),
        }
    }

    /// Starts it again on its port and with its store, and waits until it serves; kills it first if it runs.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn restart(&mut self) -> Result {
        self.kill();
        self.run()?;
        self.serves()
    }

    /// Stops it where it stands: its connections stay open, and nothing is answered.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn pause(&mut self) -> Result {
        self.process()?.pause()
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn resume(&mut self) -> Result {
        self.process()?.resume()
    }

    /// Gives it another [`ServerOptions::config`] while it runs, and waits until it counts.
    ///
    /// # Errors
    ///
    /// If it does not run, or refuses the configuration: the end of its log says why.
    pub fn reload(&mut self, config: &str) -> Result {
        let before = self.log().matches(RELOADED).count();
        let failed = self.log().matches(NOT_RELOADED).count();
        self.directory.write(&self.name, self.ports, &format!("{}\n{config}", self.cluster))?;
        self.process()?.signal("HUP")?;
        let deadline = Instant::now() + PATIENCE;
        while self.log().matches(RELOADED).count() == before {
            if self.log().matches(NOT_RELOADED).count() > failed || Instant::now() >= deadline {
                return Err(self.wrong("did not take another configuration"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn process(&mut self) -> Result<&mut Process> {
        let port = self.port();
        self.process.as_mut().ok_or(format!("the server on port {port} does not run"))
    }
}
